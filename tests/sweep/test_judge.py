"""The judge, with several trials reported in one event."""

import itertools

import pytest

from podium.sweep.judge import Judge
from podium.sweep.messages import Report
from podium.sweep.ranking import Ranking
from podium.sweep.roster import Roster
from podium.sweep.rungs import Verdict
from podium.sweep.trial import Trial
from podium.testing.simulation import toy_spec


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_order_of_lanes_does_not_matter(order):
    """All enter the rung before any is judged: 0.3 is not among the best third of the three, whoever comes first."""
    spec = toy_spec(policy="asha_stop")
    roster = Roster(Ranking(spec))
    judge = Judge(spec, roster)
    for number in range(3):
        roster.add(Trial(number=number, parameters={}, seed=0))
    for number in order:
        judge.record(Report(trial=number, epoch=1, values=((0.1, 0.2, 0.3)[number],)), 1)
    verdicts = [judge.verdict(number, 1) for number in range(3)]
    assert verdicts == [Verdict.CONTINUE, Verdict.STOP, Verdict.STOP]


def test_the_next_rung_is_above_the_values():
    spec = toy_spec()
    roster = Roster(Ranking(spec))
    judge = Judge(spec, roster)
    for number, values in enumerate(({}, {1: (0.1,)}, {1: (0.1,), 3: (0.1,)})):
        roster.add(Trial(number=number, parameters={}, seed=0, values=values))
    assert [judge.next_rung(number) for number in range(3)] == [1, 3, 9]
    assert [judge.is_last(0, rung) for rung in (1, 3, 9)] == [False, False, True]

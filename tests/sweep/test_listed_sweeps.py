"""Sweeps whose points are settled beforehand: each once, stacked by signature, a fair share for every gang."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import SpecError
from podium.search.proposer import OptunaProposer
from podium.spec.files import parse_sweep
from podium.sweep.messages import Advance, Progress, Proposed
from podium.sweep.trial import TrialState
from podium.testing.simulation import simulate

SPACE = {"kind": {"choice": ["a", "b", "c"]}, "penalty.l1": {"float": [0.0, 1.0]}}


def listed(points, **budget):
    return parse_sweep(
        {
            "sweep": "again",
            "task": "task.py:Mine",
            "search": {
                "objective": {"metric": "validation/loss", "direction": "minimize"},
                "sampler": "list",
                "space": SPACE,
                "points": points,
            },
            "budget": {"trials": len(points), "epochs": {"min": 3, "max": 3}, "policy": "none"} | budget,
        }
    )


def run(points, gangs):
    spec, advances = listed(points), list[Advance]()

    def epoch_s(advance):
        advances.append(advance)
        return 1.0

    def curve(trial):
        return [0.5] * 3

    return simulate(spec, gangs, curve, epoch_s, OptunaProposer(spec), fuses=True), advances


def finalists(kinds, seeds):
    return [{"kind": kind, "penalty.l1": 0.5} for kind in kinds for _ in range(seeds)]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12), st.integers(1, 5))
def test_every_point_is_tried_once_under_its_number(kinds, gangs):
    points = [{"kind": kind, "penalty.l1": index / 12} for index, kind in enumerate(kinds)]
    done, _ = run(points, gangs)
    assert [done.machine.trials[number].parameters for number in range(len(points))] == points
    assert {trial.state for trial in done.machine.trials.values()} == {TrialState.COMPLETE}
    assert len({trial.seed for trial in done.machine.trials.values()}) == len(points)
    assert sum(isinstance(event, Proposed) for event in done.events) == len(points)
    assert {lane.trial for event in done.events if isinstance(event, Progress) for lane in event.lanes} <= set(
        range(len(points))
    )


@pytest.mark.parametrize(("gangs", "widths"), [(1, [5, 5, 5]), (2, [5, 5, 5]), (5, [3, 3, 3, 2, 2, 2]), (15, [1] * 15)])
def test_the_seeds_of_a_finalist_are_one_stack_unless_other_gangs_would_idle(gangs, widths):
    _, advances = run(finalists("abc", 5), gangs)
    lanes = {advance.key: len(advance.lanes) for advance in advances}
    assert sorted(lanes.values(), reverse=True) == widths


def test_a_list_needs_a_whole_point_for_each_trial():
    with pytest.raises(SpecError, match=r"search\.points lists 2"):
        listed(finalists("ab", 1), trials=3)
    with pytest.raises(SpecError, match="takes whole points"):
        listed([{"kind": "a"}])

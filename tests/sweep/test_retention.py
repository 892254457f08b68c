"""Which checkpoints nothing needs, and which go first when room is short."""

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from podium.sweep.messages import Saved
from podium.sweep.ranking import Ranking
from podium.sweep.retention import superseded, surplus, useful
from podium.sweep.trial import Trial, TrialState
from podium.testing.simulation import toy_spec

RANKING = Ranking(toy_spec())
LIVING = (TrialState.WAITING, TrialState.RUNNING)


def saved(trial, epoch, step=0, size=100, name=""):
    return Saved(trial=trial, epoch=epoch, step=step, folder=f"{trial}/e{epoch}-s{step}{name}", bytes=size)


def trial(number, state, last, values=None):
    """A trial whose last checkpoint is `last`."""
    place = {"folder": last.folder, "saved_epoch": last.epoch, "saved_step": last.step} if last else {}
    return Trial(number=number, parameters={}, seed=0, state=state, values=values or {}, **place)


@st.composite
def trials_with_checkpoints(draw):
    """Trials in all states with some checkpoints, the last of which the ledger knows, and one beyond here and there."""
    trials, known = {}, {}
    for number in range(draw(st.integers(1, 8))):
        places = sorted(draw(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=4)))
        ones = [saved(number, *place, size=draw(st.integers(1, 100))) for place in places]
        values = draw(st.dictionaries(st.sampled_from([1, 3, 9]), st.tuples(st.floats(0, 1)), max_size=3))
        last = draw(st.sampled_from(ones)) if ones else None
        trials[number] = trial(number, draw(st.sampled_from(TrialState)), last, values)
        if ones:
            known[number] = ones
    return trials, known


@given(trials_with_checkpoints(), st.integers(1, 3))
def test_a_living_trial_keeps_its_newest_and_an_ended_one_its_last(drawn, keep):
    trials, known = drawn
    for number, ones in known.items():
        one = trials[number]
        left = [each for each in ones if each not in superseded(one, ones, keep)]
        assert one.folder in {each.folder for each in left}
        if one.state.is_ended:
            assert len(left) == 1
        else:
            before = [each for each in ones if (each.epoch, each.step) <= (one.saved_epoch, one.saved_step)]
            assert left == before[-keep:]


def test_of_two_at_one_place_the_one_in_the_ledger_stays():
    ones = [saved(0, 1, name="-a"), saved(0, 1, name="-b"), saved(0, 1, name="-c")]
    assert superseded(trial(0, TrialState.RUNNING, ones[1]), ones, keep=1) == [ones[0], ones[2]]


def test_without_its_last_a_trial_keeps_what_it_could_still_go_on_from():
    ones = [saved(0, 0, 5), saved(0, 0, 9), saved(0, 2)]
    assert superseded(trial(0, TrialState.RUNNING, saved(0, 1)), ones, keep=1) == [ones[0], ones[2]]


@given(trials_with_checkpoints(), st.integers(0, 500), st.sets(st.integers(0, 7)))
def test_no_more_goes_than_has_to_and_never_what_is_spared(drawn, excess, spared):
    trials, known = drawn
    gone = surplus(trials, known, spared, RANKING, excess)
    everything = surplus(trials, known, spared, RANKING, 10**9)
    freed = sum(each.bytes for each in gone)
    assert gone == everything[: len(gone)], "the order does not depend on how much has to go"
    assert freed >= excess or gone == everything
    assert not gone or freed - gone[-1].bytes < excess
    for number, ones in known.items():
        is_needed = number in spared or trials[number].state in LIVING
        left = [each for each in ones if each not in everything]
        assert left == (useful(trials[number], ones)[:1] if is_needed else [])


@given(trials_with_checkpoints())
def test_losers_go_first_and_paused_trials_last(drawn):
    trials, known = drawn
    order = [_rank(trials, known, each) for each in surplus(trials, known, (), RANKING, 10**9)]
    assert order == sorted(order)


def _rank(trials: Mapping[int, Trial], known, each):
    one = trials[each.trial]
    if one.state.is_ended:
        group = 1 if one.state is TrialState.COMPLETE else 0
    else:
        group = 3 if each == useful(one, known[each.trial])[0] else 2
    if not RANKING.is_candidate(one):
        return group, 0
    return group, 1, one.rung, -one.last_values[0], -one.number


def test_the_order_in_words():
    ones = {number: [saved(number, 1)] for number in range(7)}
    ones[5].insert(0, saved(5, 0, 3))
    states = {
        0: (TrialState.COMPLETE, {1: (0.3,), 9: (0.2,)}),
        1: (TrialState.COMPLETE, {1: (0.3,), 9: (0.4,)}),
        2: (TrialState.STOPPED, {1: (0.1,)}),
        3: (TrialState.FAILED, {}),
        4: (TrialState.PAUSED, {1: (0.5,)}),
        5: (TrialState.RUNNING, {}),
        6: (TrialState.PAUSED, {1: (0.2,)}),
    }
    trials = {number: trial(number, state, ones[number][-1], values) for number, (state, values) in states.items()}
    gone = surplus(trials, ones, {0}, RANKING, 10**9)
    assert [(each.trial, each.epoch) for each in gone] == [(3, 1), (2, 1), (1, 1), (5, 0), (4, 1), (6, 1)]
    assert surplus(trials, ones, {0}, RANKING, 0) == []
    assert [each.trial for each in surplus(trials, ones, {0}, RANKING, 150)] == [3, 2]

"""Elastic trials: gangs join advances where that ends the sweep sooner, and nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_story import Story

from podium.spec.sweep import SweepSpec
from podium.sweep.elastic import Elastic
from podium.sweep.messages import Advance, GangLost, Lane, Report
from podium.sweep.trial import Trial, TrialState
from podium.testing.simulation import simulate, toy_spec

RANGE = {"ranks": {"min": 1, "max": 4}}
TRIALS = {number: Trial(number=number, parameters={"x": 0.1 * (number // 2)}, seed=0) for number in range(6)}


def spec_of(**ranks: int) -> SweepSpec:
    return toy_spec(resources={"ranks": ranks or RANGE["ranks"]})


def begun(number: int, until: int = 3, joined: tuple[str, ...] = ()) -> Advance:
    lanes = (Lane(trial=number, parameters={}, seed=0),)
    return Advance(key=f"advance/{number}", gang="g", until=until, lanes=lanes, joined=joined)


def note(elastic: Elastic, advance: Advance, wall_s: float) -> None:
    ranks = len(advance.gangs)
    elastic.note(advance, [Report(trial=advance.lanes[0].trial, epoch=3, values=(1.0,), device_s=wall_s * ranks)])


def test_what_nobody_needs_goes_to_those_that_take_the_longest() -> None:
    elastic = Elastic(spec_of(), TRIALS)
    lent = elastic.lend([begun(0, until=3), begun(2, until=9)], ["a", "b", "c", "d"])
    assert lent == {"advance/0": ("c",), "advance/2": ("a", "b", "d")}


def test_no_more_join_than_the_range_allows() -> None:
    elastic = Elastic(spec_of(min=2, max=4), TRIALS)
    assert elastic.lend([begun(0)], ["a", "b", "c"]) == {"advance/0": ("a",)}


def test_a_gang_that_a_trial_avoids_does_not_join() -> None:
    trials = {0: Trial(number=0, parameters={}, seed=0, avoids="a")}
    assert Elastic(spec_of(), trials).lend([begun(0)], ["a", "b"]) == {"advance/0": ("b",)}


def test_what_several_do_more_slowly_is_left_to_one() -> None:
    elastic = Elastic(spec_of(), TRIALS)
    note(elastic, begun(0), 3.0)
    note(elastic, begun(1, joined=("a",)), 3.3)
    assert elastic.lend([begun(0)], ["a", "b"]) == {}
    assert elastic.lend([begun(2)], ["a", "b"]) == {}, "another kind is taken to be alike until it is measured"
    note(elastic, begun(2, joined=("a",)), 1.0)
    note(elastic, begun(3), 1.9)
    assert elastic.lend([begun(2)], ["a"]) == {"advance/2": ("a",)}
    assert elastic.lend([begun(0)], ["a"]) == {}


def test_what_was_only_tried_by_several_is_tried_by_one() -> None:
    elastic = Elastic(spec_of(), TRIALS)
    note(elastic, begun(0, joined=("a",)), 3.0)
    assert elastic.lend([begun(1)], ["a"]) == {}
    note(elastic, begun(1), 5.0)
    assert elastic.lend([begun(0)], ["a"]) == {"advance/0": ("a",)}


def test_efficiency_is_told_once_both_are_measured() -> None:
    elastic = Elastic(spec_of(), TRIALS)
    alone, pair = begun(0), begun(1, joined=("a",))
    note(elastic, pair, 2.5)
    assert elastic.efficiency(pair) is None
    note(elastic, alone, 4.0)
    assert elastic.efficiency(pair) == pytest.approx(0.8)
    assert elastic.efficiency(alone) is None


@pytest.mark.parametrize(("two_s", "four_s"), [(6.0, 4.0), (5.0, 2.5), (10.0, 10.0)])
def test_more_gangs_are_foretold_by_amdahl_s_law(two_s: float, four_s: float) -> None:
    elastic = Elastic(spec_of(), TRIALS)
    note(elastic, begun(0, until=1), 10.0)
    note(elastic, begun(1, until=1, joined=("a",)), two_s)
    assert elastic.epoch_s(begun(0), 4) == pytest.approx(four_s)


def test_advances_that_broke_off_or_took_up_a_part_of_an_epoch_teach_nothing() -> None:
    elastic = Elastic(spec_of(), TRIALS)
    short = Report(trial=0, epoch=1, values=(1.0,), device_s=0.1, ending="diverged")
    elastic.note(begun(0), [short])
    rest = begun(0)
    rest = rest.model_copy(update={"lanes": (rest.lanes[0].model_copy(update={"epoch": 2, "step": 60}),)})
    note(elastic, rest, 0.01)
    note(elastic, begun(0), 3.0)
    assert elastic.epoch_s(begun(0), 1) == pytest.approx(1.0)


def test_a_sweep_s_last_trial_gets_all_gangs_at_its_next_rung() -> None:
    story = Story(toy_spec(trials=2, epochs={"min": 1, "max": 9, "factor": 3}, resources=RANGE))
    story.ready(2)
    assert [story.advance_of(trial).joined for trial in (0, 1)] == [(), ()]
    story.finish(0, 1.0, device_s=1.0)
    story.finish(1, 2.0, device_s=1.0)
    last = story.advance_of(0)
    assert set(last.gangs) == {"g0", "g1"}
    assert set(story.machine.gangs.values()) == {last.key}


@pytest.mark.parametrize("lost", ["g0", "g1"])
def test_a_gang_that_is_lost_sets_the_others_free(lost: str) -> None:
    story = Story(toy_spec(trials=1, resources=RANGE, epochs={"min": 9, "max": 9, "factor": 3}, policy="none"))
    story.ready(2)
    joint = story.advance_of(0)
    assert set(joint.gangs) == {"g0", "g1"}
    story.tell(GangLost(gang=lost, detail="killed"))
    again = story.advance_of(0)
    assert again.key != joint.key
    assert again.gangs == tuple({"g0", "g1"} - {lost})
    assert story.machine.trials[0].state is TrialState.RUNNING
    assert story.machine.trials[0].attempts == {"worker_lost": 1}


def speedup(share: float):
    return lambda advance: share + (1 - share) / len(advance.gangs)


@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(1, 24), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 9))
def test_a_sweep_that_scales_never_ends_later(gangs: int, trials: int, share: float, seed: int) -> None:
    """At rungs only what nobody needs is lent, so that the last trial can only be faster."""

    def wall_s(ranks: object) -> float:
        spec = toy_spec(trials=trials, policy="none", resources={"ranks": ranks})
        curve = lambda lane: [lane.parameters["x"]] * 9  # noqa: E731
        return simulate(spec, gangs, curve, speedup(share)).virtual_s

    fixed, elastic = wall_s(1), wall_s({"min": 1, "max": 8})
    assert elastic <= fixed + 1e-9
    if gangs > trials == 1:
        assert elastic < fixed


@pytest.mark.parametrize("gangs", [2, 4])
def test_what_does_not_scale_costs_one_try(gangs: int) -> None:
    def slower(advance: Advance) -> float:
        return 1.0 if len(advance.gangs) == 1 else 1.5

    def wall_s(ranks: object) -> float:
        spec = toy_spec(trials=30, resources={"ranks": ranks}, search={"space": {"x": {"float": [0.0, 1.0]}}})
        return simulate(spec, gangs, lambda lane: [lane.parameters["x"]] * 9, slower).virtual_s

    assert wall_s({"min": 1, "max": gangs}) <= wall_s(1) + 0.5 * 6

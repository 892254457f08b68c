"""Which trial is best, and which are on the front."""

import math
from operator import le

from hypothesis import given
from hypothesis import strategies as st

from podium.sweep.ranking import Ranking
from podium.sweep.trial import Trial, TrialState
from podium.testing.simulation import toy_spec

TWO = {"objective": [{"metric": "a", "direction": "minimize"}, {"metric": "b", "direction": "maximize"}]}


def trial(number, values, state=TrialState.COMPLETE, **metrics):
    return Trial(number=number, parameters={}, seed=0, values=values, state=state, metrics=metrics)


def test_the_highest_rung_counts_before_the_value():
    ranking = Ranking(toy_spec())
    best = ranking.best([trial(0, {1: (0.1,)}), trial(1, {1: (0.9,), 3: (0.8,)}), trial(2, {1: (0.9,), 3: (0.7,)})])
    assert best.number == 2


def test_the_direction_is_the_objectives():
    assert Ranking(toy_spec(direction="maximize")).best([trial(0, {1: (0.1,)}), trial(1, {1: (0.9,)})]).number == 1
    assert Ranking(toy_spec()).best([trial(0, {1: (0.1,)}), trial(1, {1: (0.9,)})]).number == 0


def test_of_equal_trials_the_first_is_best():
    assert Ranking(toy_spec()).best([trial(1, {1: (0.1,)}), trial(0, {1: (0.1,)})]).number == 0


def test_nothing_diverged_failed_or_without_values_is_best():
    excluded = [trial(0, {}), trial(1, {1: (0.1,)}, TrialState.DIVERGED), trial(2, {1: (0.1,)}, TrialState.FAILED)]
    assert Ranking(toy_spec()).best(excluded) is None
    assert Ranking(toy_spec()).best([*excluded, trial(3, {1: (0.9,)}, TrialState.STOPPED)]).number == 3


def test_the_best_meets_the_constraints():
    ranking = Ranking(toy_spec(search={"constraints": ["parameters <= 100", "score >= 0.5"]}))
    trials = [
        trial(0, {1: (0.1,)}, parameters=101.0, score=0.9),
        trial(1, {1: (0.2,)}, parameters=100.0, score=0.4),
        trial(2, {1: (0.3,)}, score=0.9),
        trial(3, {1: (0.4,)}, parameters=100.0, score=0.5),
    ]
    assert ranking.best(trials).number == 3


def test_a_value_that_is_no_number_is_an_infinite_loss():
    assert Ranking(toy_spec()).loss((None,)) == math.inf
    assert Ranking(toy_spec(direction="maximize")).loss((None,)) == math.inf


def test_the_front_holds_what_nothing_beats_in_every_objective():
    ranking = Ranking(toy_spec(policy="none", search=TWO))
    values = [(0.1, 0.1), (0.5, 0.9), (0.3, 0.5), (0.4, 0.4), (0.5, 0.9), (0.1, 0.05)]
    front = ranking.front([trial(number, {9: pair}) for number, pair in enumerate(values)])
    assert [one.number for one in front] == [0, 1, 2, 4]


VALUES = st.one_of(st.none(), st.integers(0, 5).map(float))


@given(st.sampled_from([1, 2]).flatmap(lambda more: st.lists(st.tuples(*[VALUES] * (1 + more)), max_size=12)))
def test_every_trial_is_on_the_front_or_beaten_by_one_that_is_or_not_finite(values):
    third = [{"metric": "c", "direction": "minimize"}]
    objectives = TWO["objective"] + (third if values and len(values[0]) == 3 else [])
    ranking = Ranking(toy_spec(policy="none", search={"objective": objectives}))
    front = {one.number for one in ranking.front(trial(number, {9: each}) for number, each in enumerate(values))}
    losses = [ranking.losses(each) for each in values]
    for number, own in enumerate(losses):
        beaten = any(losses[other] != own and all(map(le, losses[other], own)) for other in front)
        assert (number in front) == (None not in values[number] and not beaten)


def test_a_sweep_with_several_objectives_calls_the_first_one_best(story):
    sweep = story(trials=2, policy="none", search=TWO)
    sweep.ready()
    sweep.finish(0, None, values=(0.2, 0.9))
    sweep.finish(1, None, values=(0.1, 0.1))
    assert sweep.machine.best().number == 1
    assert [one.number for one in sweep.machine.front()] == [0, 1]


def test_a_trial_that_breaks_a_constraint_later_is_best_no_more(story):
    sweep = story(trials=4, search={"constraints": ["size <= 10"]})
    sweep.ready()
    for number, value in enumerate((0.1, 0.2, 0.3)):
        sweep.finish(number, value, metrics={"size": 5.0})
    assert sweep.machine.best().number == 0
    sweep.finish(0, 0.1, metrics={"size": 50.0})
    assert sweep.machine.best().number == 1

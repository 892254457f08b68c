"""Each policy's decisions, computed by hand."""

import math

import pytest

from podium.sweep.messages import GangLost, GangReady
from podium.sweep.rungs import Verdict, make_policy
from podium.sweep.standings import Standings
from podium.sweep.trial import TrialState

RUNGS = (1, 3, 9)
PAUSE, CONTINUE, STOP = Verdict.PAUSE, Verdict.CONTINUE, Verdict.STOP


@pytest.mark.parametrize(
    ("policy", "losses", "loss", "verdict"),
    [
        ("asha", [0.1], 0.1, PAUSE),
        ("asha", [0.1, 0.2, 0.3], 0.3, PAUSE),
        ("hyperband", [0.1, 0.2, 0.3], 0.3, PAUSE),
        ("none", [0.1, 0.2, 0.3], 0.3, CONTINUE),
        ("asha_stop", [0.9], 0.9, CONTINUE),
        ("asha_stop", [0.1, 0.9], 0.9, CONTINUE),
        ("asha_stop", [0.1, 0.2, 0.3], 0.1, CONTINUE),
        ("asha_stop", [0.1, 0.2, 0.3], 0.2, STOP),
        ("asha_stop", [0.1, 0.2, 0.3, 0.4, 0.5], 0.2, STOP),
        ("asha_stop", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.2, CONTINUE),
        ("asha_stop", [0.1, 0.1, 0.1], 0.1, CONTINUE),
        ("median", [0.1, 0.9], 0.9, CONTINUE),
        ("median", [0.1, 0.2, 0.3], 0.2, CONTINUE),
        ("median", [0.1, 0.2, 0.3], 0.3, STOP),
        ("median", [0.1, 0.2, 0.3, 0.4], 0.2, CONTINUE),
        ("median", [0.1, 0.2, 0.3, 0.4], 0.3, STOP),
        ("median", [0.1, math.inf, math.inf], 0.1, CONTINUE),
    ],
)
def test_verdicts(policy, losses, loss, verdict):
    assert make_policy(policy, RUNGS, 3).verdict(loss, losses) is verdict


def test_one_in_factor_is_promoted():
    policy = make_policy("asha", RUNGS, 3)
    assert [policy.quota(entered) for entered in (0, 2, 3, 5, 6)] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("policy", ["asha_stop", "median", "none"])
def test_policies_without_pauses_promote_nobody(policy):
    assert make_policy(policy, RUNGS, 3).quota(100) == 0


def test_none_compares_at_the_full_budget_alone():
    assert make_policy("none", RUNGS, 3).rungs(0) == (9,)


@pytest.mark.parametrize("policy", ["asha", "asha_stop", "median"])
def test_the_others_compare_at_every_rung(policy):
    assert make_policy(policy, RUNGS, 3).rungs(5) == RUNGS


def test_hyperband_deals_trials_to_brackets():
    """For R = 9 and factor 3 the table of Li et al., 2018: 9 from 1 epoch, 5 from 3, 3 from 9."""
    policy = make_policy("hyperband", RUNGS, 3)
    first = [policy.rungs(number) for number in range(17)]
    assert first == [(1, 3, 9)] * 9 + [(3, 9)] * 5 + [(9,)] * 3
    assert policy.rungs(17) == (1, 3, 9)


# standings


def enter(standings, rung, losses):
    for number, loss in losses.items():
        standings.enter(number, rung, loss)
        standings.pause(number, rung, loss)


def everybody(number):
    return True


def test_promotes_the_best_third_in_order():
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {0: 0.6, 1: 0.2, 2: 0.5, 3: 0.1, 4: 0.4})
    assert next(standings.promotable(everybody), None) == 3
    standings.leave(3)
    assert next(standings.promotable(everybody), None) is None
    enter(standings, 1, {5: 0.9})
    assert next(standings.promotable(everybody), None) == 1


def test_a_promoted_trial_keeps_its_place():
    """Of six the best two: one is gone already, a better third arrives and takes the second's place."""
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {0: 0.3, 1: 0.4, 2: 0.5})
    standings.leave(0)
    enter(standings, 1, {3: 0.1, 4: 0.2, 5: 0.6})
    assert next(standings.promotable(everybody), None) == 3
    standings.leave(3)
    assert next(standings.promotable(everybody), None) == 4
    standings.leave(4)
    assert next(standings.promotable(everybody), None) is None


def test_promotes_from_the_highest_rung_first():
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {number: number / 10 for number in range(9)})
    for number in range(3):
        standings.leave(number)
    enter(standings, 3, {0: 0.3, 1: 0.2, 2: 0.4})
    enter(standings, 1, {9: 0.0, 10: 0.9, 11: 0.9})
    assert next(standings.promotable(everybody), None) == 1
    standings.leave(1)
    assert next(standings.promotable(everybody), None) == 9


def test_promotes_paused_trials_alone():
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {0: 0.1, 1: 0.2, 2: 0.3, 3: 0.4, 4: 0.5, 5: 0.6})
    assert next(standings.promotable({1, 2}.__contains__), None) == 1
    assert next(standings.promotable({2}.__contains__), None) is None


def test_equal_losses_are_taken_by_number():
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {2: 0.1, 0: 0.1, 1: 0.1})
    assert next(standings.promotable(everybody), None) == 0


def test_brackets_compete_apart():
    standings = Standings(make_policy("hyperband", RUNGS, 3))
    enter(standings, 3, {0: 0.5, 1: 0.6, 2: 0.7})
    enter(standings, 3, {9: 0.1, 10: 0.2})
    assert next(standings.promotable(everybody), None) == 0


def test_the_best_paused_needs_no_quota():
    standings = Standings(make_policy("asha", RUNGS, 3))
    enter(standings, 1, {0: 0.5, 1: 0.1})
    assert standings.best_paused(everybody) == 1
    standings.leave(0)
    enter(standings, 3, {0: 0.5})
    assert standings.best_paused(everybody) == 0
    assert standings.best_paused(lambda number: False) is None


# policies in a sweep


def test_asha_takes_promotable_trials_before_new_ones(story):
    sweep = story(trials=6)
    sweep.ready()
    for trial, value in enumerate((0.3, 0.1, 0.2)):
        sweep.finish(trial, value)
    assert (sweep.running, sweep.advance_of(1).until) == ({"g0": 1}, 3)
    sweep.finish(1, 0.1)
    assert sweep.running == {"g0": 3}


def test_asha_counts_diverged_trials_at_their_rung(story):
    sweep = story(trials=6)
    sweep.ready()
    sweep.finish(0, 0.3)
    sweep.finish(1, None)
    sweep.finish(2, None)
    assert sweep.running == {"g0": 0}


def test_asha_takes_retries_before_promotable_trials(story):
    sweep = story(trials=6, retries={"exception": 9})
    sweep.ready(2)
    for trial, value in ((0, 0.3), (2, 0.1)):
        sweep.finish(trial, value)
    sweep.tell(GangLost(gang="g0"))
    sweep.finish(1, 0.2)
    assert sweep.running == {"g1": 3}
    sweep.tell(GangReady(gang="g2"))
    assert sweep.running == {"g1": 3, "g2": 2}


def test_asha_maximizes(story):
    sweep = story(trials=6, direction="maximize")
    sweep.ready()
    for trial, value in enumerate((0.3, 0.1, 0.2)):
        sweep.finish(trial, value)
    assert sweep.running == {"g0": 0}


def test_asha_judges_a_trial_that_never_saved_at_once(story):
    sweep = story(trials=5)
    sweep.ready()
    sweep.finish(0, 0.2, saved=False)
    assert (sweep.running, sweep.advance_of(0).until) == ({"g0": 0}, 3)
    sweep.finish(0, 0.2, saved=False)
    assert sweep.advance_of(0).until == 9
    sweep.finish(0, 0.2, saved=False)
    sweep.finish(1, 0.1, saved=False)
    assert sweep.running == {"g0": 1}, "the first two at a rung go on"
    sweep.finish(1, 0.1, saved=False)
    sweep.finish(1, 0.1, saved=False)
    sweep.finish(2, 0.3, saved=False)
    assert sweep.trial(2).state is TrialState.STOPPED
    assert sweep.trial(2).reason == "not among the best at rung 1"
    sweep.finish(3, 0.05, saved=False)
    assert sweep.advance_of(3).until == 3


def test_asha_does_not_promote_a_trial_again_from_a_rung_it_passed_without_a_checkpoint(story):
    sweep = story(trials=6)
    sweep.ready()
    sweep.finish(0, 0.1, saved=False)
    sweep.finish(0, 0.1)
    assert sweep.trial(0).state is TrialState.PAUSED
    sweep.finish(1, 0.3)
    sweep.finish(2, 0.2)
    assert sweep.running == {"g0": 3}, "trial 0 leads rung 1, and has left it"


def test_asha_stop_never_pauses(story):
    sweep = story(trials=4, policy="asha_stop")
    sweep.ready()
    for trial in (0, 1):
        for _ in range(3):
            sweep.finish(trial, 0.5 + trial / 10)
    sweep.finish(2, 0.9)
    sweep.finish(3, 0.1)
    assert [state.value for state in sweep.states] == ["complete", "complete", "stopped", "running"]


def test_median_stops_the_worse_half(story):
    sweep = story(trials=3, policy="median")
    sweep.ready()
    for trial in (0, 1):
        for _ in range(3):
            sweep.finish(trial, 0.5 + trial / 10)
    sweep.finish(2, 0.7)
    assert sweep.trial(2).state is TrialState.STOPPED


def test_none_trains_everything_to_the_end_at_once(story):
    sweep = story(trials=2, policy="none")
    sweep.ready()
    assert sweep.advance_of(0).until == 9
    sweep.finish(0, 0.9)
    sweep.finish(1, 0.1)
    assert [trial.values for trial in sweep.machine.trials.values()] == [{9: (0.9,)}, {9: (0.1,)}]


def test_hyperbands_later_brackets_start_higher(story):
    sweep = story(trials=17, policy="hyperband")
    sweep.ready(17)
    untils = [sweep.advance_of(trial).until for trial in range(17)]
    assert untils == [1] * 9 + [3] * 5 + [9] * 3


def test_a_trial_that_goes_on_stays_on_its_gang(story):
    sweep = story(trials=4, policy="median")
    sweep.ready(2)
    sweep.finish(1, 0.5)
    assert sweep.running == {"g0": 0, "g1": 1}

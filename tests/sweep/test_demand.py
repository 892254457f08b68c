"""For how many gangs there is work, at moments of a sweep."""

from sweep_story import Story

from podium.sweep.demand import COMING_S
from podium.sweep.messages import Advance, GangReady, Propose, Proposed, StopRequested, TimeSpent
from podium.testing.simulation import toy_spec

FUSIBLE = {"space": {"penalty.l1": {"float": [0.0, 1.0]}}}
ONE_RUNG = {"min": 3, "max": 3}


def test_every_trial_that_could_run_wants_a_gang() -> None:
    sweep = Story(toy_spec(trials=3, policy="none", epochs=ONE_RUNG))
    assert sweep.machine.num_gangs_wanted == 3, "before the first gang"
    sweep.ready()
    assert sweep.machine.num_gangs_wanted == 3, "one trains, two could"
    sweep.tell(TimeSpent(seconds=100 * COMING_S))
    sweep.finish(0, 1.0)
    assert sweep.machine.num_gangs_wanted == 2
    sweep.tell(TimeSpent(seconds=100 * COMING_S))
    sweep.finish(1, 1.0)
    assert sweep.machine.num_gangs_wanted == 1, "the last one trains; nothing is asked for, and others shrink"
    sweep.finish(2, 1.0)
    assert sweep.machine.num_gangs_wanted == 0


def test_what_would_be_done_before_a_host_comes_wants_none() -> None:
    sweep = Story(toy_spec(trials=13, policy="none", epochs=ONE_RUNG))
    sweep.ready(2)
    sweep.tell(TimeSpent(seconds=COMING_S / 4))
    sweep.finish(0, 1.0)
    assert sweep.machine.num_gangs_wanted == 2, "ten trials are two gangs' work of a minute"
    sweep = Story(toy_spec(trials=40, policy="none", epochs=ONE_RUNG))
    sweep.ready(2)
    sweep.tell(TimeSpent(seconds=COMING_S / 4))
    sweep.finish(0, 1.0)
    assert sweep.machine.num_gangs_wanted == 37 // 4


def test_promotable_trials_want_gangs_and_paused_ones_do_not() -> None:
    sweep = Story(toy_spec(trials=3, epochs={"min": 1, "max": 3}))
    sweep.ready()
    sweep.finish(0, 3.0)
    sweep.finish(1, 2.0)
    assert sweep.machine.num_gangs_wanted == 1
    sweep.finish(2, 1.0)
    assert sweep.running == {"g0": 2}, "the best of three goes on"
    assert sweep.machine.num_gangs_wanted == 1


def test_mates_want_one_gang() -> None:
    sweep = Story(toy_spec(trials=8, fuse=4, policy="none", epochs=ONE_RUNG, search=FUSIBLE), fuses=True)
    assert sweep.machine.num_gangs_wanted == 1, "nobody knows yet how many lanes there are"
    sweep.tell(GangReady(gang="g0"))
    while asked := [each for each in sweep.machine.pending() if isinstance(each, Propose)]:
        sweep.tell(*(Proposed(number=each.number, parameters={"penalty.l1": 0.01 * each.number}) for each in asked))
    (advance,) = (each for each in sweep.machine.pending() if isinstance(each, Advance))
    assert len(advance.lanes) == 4
    assert sweep.machine.num_gangs_wanted == 2, "four train together, and four could"


def test_elastic_trials_want_as_many_gangs_as_may_train_them() -> None:
    sweep = Story(toy_spec(trials=2, policy="none", epochs=ONE_RUNG, resources={"ranks": {"min": 1, "max": 4}}))
    sweep.ready()
    assert sweep.machine.num_gangs_wanted == 8


def test_a_sweep_that_is_closing_wants_only_what_trains() -> None:
    sweep = Story(toy_spec(trials=30))
    sweep.ready(2)
    sweep.tell(StopRequested())
    assert sweep.machine.num_gangs_wanted == 2


def test_what_the_money_does_not_allow_wants_no_gang() -> None:
    sweep = Story(toy_spec(trials=30, resources={"gpus": 1.0}, budget={"gpu_hours": 1.0}))
    sweep.ready()
    sweep.tell(TimeSpent(seconds=600.0))
    sweep.finish(0, 1.0)
    assert sweep.machine.num_gangs_wanted == 1, "600 s an epoch: there is no more than the rest of trial 0 to do"

"""The machine's transitions and endings, as lists of events."""

import pytest

from podium.errors import LedgerError
from podium.sweep.machine import SweepState, replay
from podium.sweep.messages import (
    Advanced,
    AdvanceFailed,
    Enqueued,
    Exhausted,
    Extended,
    GangLost,
    GangReady,
    Halt,
    InterruptRequested,
    LaneProgress,
    Progress,
    Propose,
    Proposed,
    Report,
    Resumed,
    Saved,
    StopRequested,
    TimeSpent,
)
from podium.sweep.roster import TRANSITIONS
from podium.sweep.seeds import trial_seed
from podium.sweep.trial import TrialState

WAITING, RUNNING, PAUSED = TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED
COMPLETE, STOPPED, DIVERGED = TrialState.COMPLETE, TrialState.STOPPED, TrialState.DIVERGED
FAILED, CANCELLED = TrialState.FAILED, TrialState.CANCELLED
ONE_RUNG = {"min": 4, "max": 4}


# from a gang to an advance


def test_asks_for_nothing_before_there_is_a_gang(story):
    assert story().tell(TimeSpent(seconds=1.0)) == []


def test_asks_for_one_proposal_an_idle_gang(story):
    sweep = story(trials=8)
    assert sweep.tell(GangReady(gang="g0")) == [Propose(key="propose/0", number=0)]
    assert sweep.tell(GangReady(gang="g1")) == [Propose(key="propose/1", number=1)]


def test_asks_for_no_more_than_the_budget(story):
    sweep = story(trials=1)
    assert len(sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))) == 1


def test_trains_a_proposed_trial_to_the_first_rung(story):
    sweep = story(seed=5)
    sweep.tell(GangReady(gang="g0"))
    (advance,) = sweep.tell(Proposed(number=0, parameters={"x": 0.25}, attributes={"a": 1}))
    assert (advance.key, advance.gang, advance.until) == ("advance/1", "g0", 1)
    (lane,) = advance.lanes
    assert (lane.trial, lane.parameters, lane.seed, lane.epoch, lane.step, lane.folder) == (0, {"x": 0.25}, 5, 0, 0, "")
    assert sweep.trial(0).state is RUNNING
    assert sweep.trial(0).attributes == {"a": 1}


def test_a_searched_seed_is_the_trials_seed(story):
    sweep = story(search={"space": {"x": {"float": [0.0, 1.0]}, "seed": {"int": [0, 9]}}})
    sweep.tell(GangReady(gang="g0"), Proposed(number=0, parameters={"x": 0.0, "seed": 7}))
    assert sweep.trial(0).seed == 7


def test_trials_have_seeds_of_their_own(story):
    sweep = story()
    sweep.ready(2)
    assert [sweep.trial(n).seed for n in (0, 1)] == [trial_seed(sweep.machine.spec, n, {}) for n in (0, 1)]
    assert sweep.trial(0).seed != sweep.trial(1).seed


def test_a_promoted_trial_goes_on_from_its_checkpoint(story):
    sweep = story(trials=3)
    sweep.ready()
    for trial, value in enumerate((0.3, 0.1, 0.2)):
        sweep.finish(trial, value)
    advance = sweep.advance_of(1)
    assert advance.until == 3
    assert advance.lanes[0].model_dump(include={"epoch", "step", "folder", "reached"}) == {
        "epoch": 1, "step": 0, "folder": "1/1", "reached": 1,
    }  # fmt: skip


def test_a_report_is_kept(story):
    sweep = story()
    sweep.ready()
    sweep.finish(0, 0.5, best_epoch=1, metrics={"score": 0.6}, device_s=2.0)
    trial = sweep.trial(0)
    assert (trial.epoch, trial.values, trial.best_epoch) == (1, {1: (0.5,)}, 1)
    assert (trial.metrics, trial.device_s, trial.rung, trial.last_values) == ({"score": 0.6}, 2.0, 1, (0.5,))


# how a trial ends


def test_full_budget_is_complete(story):
    sweep = story(trials=1, epochs=ONE_RUNG)
    sweep.ready()
    sweep.finish(0, 0.5)
    assert (sweep.trial(0).state, sweep.trial(0).reason) == (COMPLETE, "full budget")
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.FINISHED, "budget spent")


@pytest.mark.parametrize("ending", ["patience", "returned"])
def test_an_own_end_is_complete_and_counts_at_all_higher_rungs(story, ending):
    sweep = story(trials=3)
    sweep.ready()
    sweep.finish(0, 0.5, ending=ending, epoch=1)
    assert sweep.trial(0).state is COMPLETE
    assert sweep.trial(0).values == {1: (0.5,), 3: (0.5,), 9: (0.5,)}
    assert sweep.machine.best() == sweep.trial(0)


def test_a_reason_for_an_own_end_is_kept(story):
    sweep = story()
    sweep.ready()
    sweep.finish(0, 0.5, ending="patience", reason="no better for 3 epochs")
    assert sweep.trial(0).reason == "no better for 3 epochs"


@pytest.mark.parametrize(
    ("value", "ending"), [(None, "until"), (None, "diverged"), (float("nan"), "until"), (0.5, "diverged")]
)
def test_no_number_is_diverged(story, value, ending):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready()
    sweep.finish(0, value, ending=ending, saved=False)
    assert (sweep.trial(0).state, sweep.trial(0).values) == (DIVERGED, {})
    assert sweep.machine.best() is None
    assert not sweep.machine.is_ended


def test_one_of_several_objectives_not_a_number_is_diverged(story):
    objectives = [{"metric": "a", "direction": "minimize"}, {"metric": "b", "direction": "maximize"}]
    sweep = story(search={"objective": objectives}, policy="none")
    sweep.ready()
    sweep.finish(0, None, values=(0.5, None))
    assert sweep.trial(0).state is DIVERGED


def test_infeasible_is_stopped_and_enters_no_rung(story):
    sweep = story(search={"constraints": ["parameters <= 10"]})
    sweep.ready()
    sweep.finish(
        0, None, values=(), epoch=0, ending="infeasible", reason="parameters is 20", metrics={"parameters": 20}
    )
    trial = sweep.trial(0)
    assert (trial.state, trial.reason, trial.metrics) == (STOPPED, "parameters is 20", {"parameters": 20})
    assert (trial.epoch, trial.values) == (0, {})


def test_an_exception_is_failed(story):
    sweep = story()
    sweep.ready()
    sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="KeyError: 'y'"))
    assert sweep.trial(0).state is FAILED
    assert sweep.trial(0).reason == "exception after 1 attempt(s): KeyError: 'y'"
    sweep.propose()
    assert sweep.running == {"g0": 1}


def test_an_exception_is_retried_as_often_as_set(story):
    sweep = story(retries={"exception": 1}, trials=1)
    sweep.ready()
    sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E"))
    assert (sweep.trial(0).state, sweep.trial(0).attempts) == (RUNNING, {"exception": 1})
    sweep.tell(AdvanceFailed(key="advance/2", gang="g0", cause="exception", detail="E"))
    assert (sweep.trial(0).state, sweep.machine.state) == (FAILED, SweepState.FINISHED)


def test_a_lost_gangs_trial_goes_back_to_its_last_checkpoint(story):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready(2)
    sweep.tell(Saved(trial=0, epoch=2, step=5, folder="f"), GangLost(gang="g0"))
    assert sweep.trial(0).state is WAITING
    (advance,) = sweep.tell(GangReady(gang="g2"))
    assert (advance.gang, advance.lanes[0].trial) == ("g2", 0)
    assert (advance.lanes[0].epoch, advance.lanes[0].step, advance.lanes[0].folder) == (2, 5, "f")


def test_gangs_are_lost_as_often_as_set(story):
    sweep = story(retries={"worker_lost": 1}, trials=1)
    sweep.ready()
    sweep.tell(GangLost(gang="g0"), GangReady(gang="g1"), GangLost(gang="g1", detail="out of memory"))
    assert (sweep.trial(0).state, sweep.trial(0).reason) == (FAILED, "worker_lost after 2 attempt(s): out of memory")


@pytest.mark.parametrize("cause", ["worker_lost", "exception", "out_of_memory", "hang"])
def test_each_cause_has_a_limit_of_its_own(story, cause):
    sweep = story(retries={"worker_lost": 2, "exception": 2, "out_of_memory": 2, "hang": 2}, trials=1)
    sweep.ready()
    for number, other in enumerate(["worker_lost", "exception", "out_of_memory", "hang", cause], start=1):
        sweep.tell(AdvanceFailed(key=f"advance/{number}", gang="g0", cause=other, detail="E", log_tail="the end"))
        assert sweep.trial(0).state is RUNNING
    sweep.tell(AdvanceFailed(key="advance/6", gang="g0", cause=cause, detail="E", log_tail="the end"))
    trial = sweep.trial(0)
    assert (trial.state, trial.reason) == (FAILED, f"{cause} after 3 attempt(s): E")
    assert (trial.cause, trial.attempts[cause], trial.log_tail) == (cause, 3, "the end")


def test_preemption_is_never_held_against_a_trial(story):
    sweep = story(retries={"worker_lost": 0}, trials=1)
    sweep.ready()
    for number in range(10):
        sweep.tell(GangLost(gang=f"g{number}", cause="preempted"), GangReady(gang=f"g{number + 1}"))
    assert (sweep.trial(0).state, sweep.trial(0).attempts) == (RUNNING, {"preempted": 10})


def test_a_storage_fault_interrupts_the_sweep_and_costs_no_trial(story):
    sweep = story(trials=2)
    sweep.ready(2)
    halts = sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="storage", detail="the disk is full"))
    assert [halt.advance for halt in halts] == ["advance/2"]
    sweep.tell(AdvanceFailed(key="advance/2", gang="g1", cause="storage", detail="the disk is full"))
    assert (sweep.machine.state, sweep.machine.reason) == (
        SweepState.INTERRUPTED,
        "the disk is full; it can be resumed",
    )
    assert sweep.states == [WAITING, WAITING]
    sweep.tell(Resumed(holder="b"), GangReady(gang="g2"))
    assert (sweep.machine.state, sweep.running) == (SweepState.RUNNING, {"g2": 0})


def test_a_retried_trial_goes_to_another_gang_if_there_is_one(story):
    sweep = story(retries={"exception": 3}, trials=3)
    sweep.ready(2)
    sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E"))
    sweep.propose()
    assert sweep.running == {"g0": 0, "g1": 1}, "nothing else is ready, and no gang waits"
    sweep = story(retries={"exception": 3}, trials=3)
    sweep.ready(2)
    sweep.finish(1, 0.5)
    sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E"))
    assert sweep.trial(0).avoids == "g0"


def test_an_idle_gang_is_lost_without_harm(story):
    sweep = story(trials=2)
    sweep.ready(2)
    sweep.finish(0, 0.5)
    assert sweep.tell(GangLost(gang="g0")) == []
    assert sweep.machine.gangs == {"g1": "advance/2"}


def test_the_best_trial_that_fails_is_best_no_more(story):
    sweep = story(trials=4)
    sweep.ready()
    for trial, value in enumerate((0.1, 0.2, 0.3)):
        sweep.finish(trial, value)
    assert sweep.running == {"g0": 0}
    sweep.tell(AdvanceFailed(key=sweep.advance_of(0).key, gang="g0", cause="exception", detail="E"))
    assert sweep.machine.best() == sweep.trial(1)


# stopping one trial


def test_a_running_trial_is_halted_then_cancelled(story):
    sweep = story()
    sweep.ready()
    assert sweep.tell(StopRequested(trial=0)) == [Halt(key="halt/advance/1", gang="g0", advance="advance/1")]
    assert sweep.tell(StopRequested(trial=0)) == []
    sweep.finish(0, None, values=(), ending="halted", epoch=0)
    assert (sweep.trial(0).state, sweep.trial(0).reason) == (CANCELLED, "stopped by a user")
    assert sweep.running == {"g0": 1}


@pytest.mark.parametrize("policy", ["asha", "median"])
def test_a_trial_that_reaches_its_rung_before_the_halt_is_cancelled(story, policy):
    sweep = story(policy=policy)
    sweep.ready()
    sweep.tell(StopRequested(trial=0))
    sweep.finish(0, 0.5)
    assert (sweep.trial(0).state, sweep.trial(0).values) == (CANCELLED, {1: (0.5,)})


def test_a_trial_that_completes_before_the_halt_is_complete(story):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready()
    sweep.tell(StopRequested(trial=0))
    sweep.finish(0, 0.5)
    assert sweep.trial(0).state is COMPLETE


@pytest.mark.parametrize("loss", [GangLost(gang="g0"), Resumed(holder="b")])
def test_a_trial_lost_before_the_halt_is_cancelled(story, loss):
    sweep = story()
    sweep.ready()
    sweep.tell(StopRequested(trial=0), loss)
    assert sweep.trial(0).state is CANCELLED
    sweep.tell(GangReady(gang="g9"))
    sweep.propose()
    assert sweep.running == {"g9": 1}


def test_a_waiting_trial_is_cancelled_at_once(story):
    sweep = story()
    sweep.ready()
    sweep.tell(GangLost(gang="g0"), StopRequested(trial=0))
    assert sweep.trial(0).state is CANCELLED


def test_a_paused_trial_is_cancelled_at_once(story):
    sweep = story()
    sweep.ready()
    sweep.finish(0, 0.5)
    assert sweep.trial(0).state is PAUSED
    sweep.tell(StopRequested(trial=0))
    assert sweep.trial(0).state is CANCELLED


@pytest.mark.parametrize("trial", [0, 99])
def test_an_ended_or_unknown_trial_is_left_alone(story, trial):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready()
    sweep.finish(0, 0.5)
    before = dict(sweep.machine.trials)
    assert sweep.tell(StopRequested(trial=trial)) == []
    assert sweep.machine.trials == before


# how a sweep ends


def test_two_trials_end_with_one_trained_to_the_end(story):
    sweep = story(trials=2)
    sweep.ready()
    sweep.finish(0, 0.2)
    sweep.finish(1, 0.1)
    assert (sweep.running, sweep.advance_of(1).until) == ({"g0": 1}, 3)
    sweep.finish(1, 0.1)
    sweep.finish(1, 0.1)
    assert sweep.states == [STOPPED, COMPLETE]
    assert sweep.trial(0).reason == "paused at rung 1 when the sweep ended"
    assert sweep.machine.state is SweepState.FINISHED


def test_the_last_promotion_takes_the_highest_rung_before_the_best_value(story):
    sweep = story(trials=4)
    sweep.ready()
    for trial, value in enumerate((0.3, 0.5, 0.4)):
        sweep.finish(trial, value)
    sweep.finish(0, 0.9)
    sweep.finish(3, 0.35)
    assert (sweep.running, sweep.advance_of(0).until) == ({"g0": 0}, 9)


def test_the_last_promotion_waits_for_running_trials(story):
    sweep = story(trials=2)
    sweep.ready(2)
    sweep.finish(0, 0.2)
    assert sweep.running == {"g1": 1}
    sweep.finish(1, 0.1)
    assert list(sweep.running.values()) == [1]


def test_the_last_promotion_passes_over_one_that_failed_to_another(story):
    sweep = story(trials=2)
    sweep.ready()
    sweep.finish(0, 0.2)
    sweep.finish(1, 0.1)
    sweep.finish(1, None)
    assert sweep.trial(1).state is DIVERGED
    assert sweep.running == {"g0": 0}


def test_the_last_promotion_waits_for_a_gang(story):
    sweep = story(trials=1)
    sweep.ready()
    sweep.tell(GangReady(gang="g1"))
    sweep.tell(GangLost(gang="g1"))
    sweep.finish(0, 0.2)
    sweep.tell(GangLost(gang="g0"))
    assert not sweep.machine.is_ended
    (advance,) = sweep.tell(GangReady(gang="g2"))
    assert advance.until == 3


def test_all_diverged_is_finished(story):
    sweep = story(trials=2)
    sweep.ready()
    sweep.finish(0, None)
    sweep.finish(1, None)
    assert (sweep.machine.state, sweep.states) == (SweepState.FINISHED, [DIVERGED, DIVERGED])


def test_a_grid_smaller_than_the_budget_is_exhausted(story):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready()
    sweep.tell(GangReady(gang="g1"), Exhausted(number=1))
    assert not sweep.machine.is_ended
    sweep.finish(0, 0.5)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.EXHAUSTED, "every point of the grid was tried")
    assert sweep.states == [COMPLETE]


def test_nothing_is_proposed_beyond_the_number_that_exhausted_the_grid(story):
    sweep = story(epochs=ONE_RUNG)
    sweep.tell(GangReady(gang="g0"), Enqueued(parameters={"x": 0.5}), GangReady(gang="g1"))
    sweep.tell(Exhausted(number=0), Proposed(number=1, parameters={"x": 0.5}))
    assert (sweep.machine.state, sweep.states) == (SweepState.EXHAUSTED, [])


@pytest.mark.parametrize(("direction", "values"), [("minimize", (0.3, 0.1)), ("maximize", (0.7, 0.9))])
def test_the_target_ends_the_sweep(story, direction, values):
    target = {"budget": {"trials": 8, "epochs": ONE_RUNG, "target": 0.2 if direction == "minimize" else 0.8}}
    sweep = story(direction=direction, **target)
    sweep.ready(2)
    sweep.finish(0, values[0])
    assert not sweep.machine.is_closing
    halts = sweep.finish(1, values[1])
    assert [halt.advance for halt in halts] == ["advance/3"]
    sweep.finish(2, None, values=(), ending="halted", epoch=0)
    assert sweep.machine.state is SweepState.FINISHED
    assert sweep.machine.reason.startswith("trial 1 reached the target")
    assert sweep.states == [COMPLETE, COMPLETE, STOPPED]


def test_the_wall_time_ends_the_sweep(story):
    sweep = story(trials=8, budget={"trials": 8, "epochs": ONE_RUNG, "wall_time": 10.0})
    sweep.ready()
    assert sweep.tell(TimeSpent(seconds=9.0)) == []
    assert len(sweep.tell(TimeSpent(seconds=1.0))) == 1
    assert sweep.machine.spent_s == 10.0
    sweep.finish(0, None, values=(), ending="halted", epoch=0)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.FINISHED, "the wall time of 10 s is spent")


def test_failures_end_the_sweep(story):
    sweep = story(budget={"trials": 8, "epochs": ONE_RUNG, "failures": 2})
    sweep.ready(3)
    sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E"))
    sweep.tell(AdvanceFailed(key="advance/2", gang="g1", cause="exception", detail="F"))
    assert sweep.machine.is_closing
    sweep.finish(2, 0.5)
    assert sweep.machine.state is SweepState.FAILED
    assert sweep.machine.reason == "2 trials failed, the last one because of exception: F"
    assert sweep.states == [FAILED, FAILED, COMPLETE]


def test_a_stopped_sweep_halts_what_runs_and_ends_what_waits(story):
    sweep = story(trials=8)
    sweep.ready(2)
    sweep.finish(0, 0.5)
    sweep.tell(GangLost(gang="g0"))
    sweep.tell(StopRequested())
    assert [command.advance for command in sweep.machine.pending() if isinstance(command, Halt)] == ["advance/2"]
    sweep.finish(1, None, values=(), ending="halted", epoch=0)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.STOPPED, "stopped by a user")
    assert sweep.states == [STOPPED, CANCELLED, CANCELLED]
    assert sweep.tell(GangReady(gang="g2")) == []


def test_an_interrupted_sweep_waits_for_its_resumption(story):
    sweep = story(trials=8)
    sweep.ready(2)
    sweep.finish(0, 0.5)
    assert len(sweep.tell(InterruptRequested())) == 2
    for trial in (1, 2):
        sweep.finish(trial, None, values=(), ending="halted", epoch=0)
    assert (sweep.machine.state, sweep.states) == (SweepState.INTERRUPTED, [PAUSED, WAITING, WAITING])
    sweep.tell(Resumed(holder="b"), GangReady(gang="h0"))
    assert (sweep.machine.state, sweep.machine.reason, sweep.running) == (SweepState.RUNNING, "", {"h0": 1})


def test_an_open_proposal_outlives_an_interruption(story):
    sweep = story(search={"points": [{"x": 0.5}]})
    sweep.tell(GangReady(gang="g0"), InterruptRequested())
    asked = [Propose(key="propose/0", number=0, given={"x": 0.5})]
    assert (sweep.machine.state, sweep.machine.pending()) == (SweepState.INTERRUPTED, asked)
    sweep.tell(Resumed(holder="b"), GangReady(gang="g1"))
    assert sweep.machine.pending() == asked


def test_an_interruption_broken_off_leaves_no_trace(story):
    sweep = story(trials=1, epochs=ONE_RUNG)
    sweep.ready()
    sweep.tell(InterruptRequested(), Resumed(holder="b"), GangReady(gang="h0"))
    sweep.finish(0, 0.5)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.FINISHED, "budget spent")


def test_a_stop_prevails_over_an_interruption(story):
    sweep = story()
    sweep.ready()
    sweep.tell(InterruptRequested(), StopRequested())
    sweep.finish(0, None, values=(), ending="halted", epoch=0)
    assert sweep.machine.state is SweepState.STOPPED


def test_a_stop_survives_the_death_of_the_driver(story):
    sweep = story()
    sweep.ready()
    sweep.tell(StopRequested())
    assert not sweep.machine.is_ended
    sweep.tell(Resumed(holder="b"))
    assert (sweep.machine.state, sweep.states) == (SweepState.STOPPED, [CANCELLED])


# resumption and extension


def test_resumption_forgets_gangs_and_keeps_checkpoints(story):
    sweep = story(trials=2)
    sweep.ready(2)
    sweep.tell(Saved(trial=1, epoch=0, step=3, folder="f"), Resumed(holder="b"))
    assert (sweep.machine.gangs, sweep.machine.pending(), sweep.states) == ({}, [], [WAITING, WAITING])
    sweep.tell(GangReady(gang="g0"), GangReady(gang="g1"))
    assert sweep.advance_of(1).lanes[0].folder == "f"
    assert sweep.trial(1).attempts == {}


@pytest.mark.parametrize("state", [SweepState.FAILED, SweepState.STOPPED])
def test_a_failed_or_stopped_sweep_goes_on_with_the_rest_of_its_budget(story, state):
    sweep = story(budget={"trials": 3, "epochs": ONE_RUNG, "failures": 1})
    sweep.ready()
    if state is SweepState.FAILED:
        sweep.tell(AdvanceFailed(key="advance/1", gang="g0", cause="exception", detail="E"))
    else:
        sweep.tell(StopRequested())
        sweep.finish(0, None, values=(), ending="halted", epoch=0)
    assert sweep.machine.state is state
    sweep.tell(Resumed(holder="b"), GangReady(gang="g1"))
    sweep.propose()
    assert sweep.running == {"g1": 1}
    sweep.finish(1, 0.5)
    sweep.finish(2, 0.5)
    assert (sweep.machine.state, len(sweep.states)) == (SweepState.FINISHED, 3)


def test_a_finished_sweep_is_not_reopened_by_resumption(story):
    sweep = story(trials=1, epochs=ONE_RUNG)
    sweep.ready()
    sweep.finish(0, 0.5)
    assert sweep.tell(Resumed(holder="b"), GangReady(gang="g1")) == []
    assert sweep.machine.state is SweepState.FINISHED


def test_a_larger_budget_extends_a_finished_sweep(story):
    sweep = story(trials=2)
    sweep.ready()
    sweep.finish(0, 0.2)
    sweep.finish(1, 0.1)
    sweep.finish(1, 0.1)
    sweep.finish(1, 0.1)
    assert sweep.machine.state is SweepState.FINISHED
    sweep.tell(Resumed(holder="b"), Extended(trials=4), GangReady(gang="h0"))
    sweep.propose()
    assert (sweep.machine.budget, sweep.running) == (4, {"h0": 2})
    sweep.finish(2, 0.05)
    assert sweep.advance_of(2).until == 3, "ended trials count at their rungs: one in three is promoted"
    sweep.finish(2, 0.05)
    sweep.finish(3, 0.3)
    assert (sweep.machine.state, sweep.states) == (SweepState.FINISHED, [STOPPED, COMPLETE, STOPPED, STOPPED])


def test_a_smaller_budget_changes_nothing(story):
    sweep = story(trials=4)
    sweep.tell(Extended(trials=2))
    assert sweep.machine.budget == 4


def test_a_running_sweep_is_extended(story):
    sweep = story(trials=1, epochs=ONE_RUNG)
    sweep.ready()
    sweep.tell(GangReady(gang="g1"))
    assert [command.number for command in sweep.tell(Extended(trials=2))] == [1]


def test_an_extension_undoes_no_stop(story):
    sweep = story(trials=2)
    sweep.ready()
    sweep.tell(StopRequested(by="ada"), Extended(trials=9))
    assert sweep.machine.is_closing
    sweep.finish(0, 0.2, epoch=0, values=(), ending="halted", saved=False)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.STOPPED, "stopped by ada")
    sweep.tell(Resumed(holder="b"))
    assert (sweep.machine.state, sweep.machine.budget) == (SweepState.RUNNING, 9)


def test_an_extension_undoes_no_stop_of_a_sweep_that_was_idle(story):
    sweep = story(trials=2)
    sweep.tell(StopRequested(by="ada"))
    sweep.tell(Extended(trials=9))
    assert sweep.machine.state is SweepState.STOPPED


def test_a_stopped_sweep_that_was_given_all_its_trials_goes_on_with_a_larger_budget(story):
    sweep = story(trials=1)
    sweep.ready()
    sweep.tell(StopRequested())
    sweep.finish(0, 0.2, epoch=0, values=(), ending="halted", saved=False)
    sweep.tell(Resumed(holder="b"))
    assert sweep.machine.state is SweepState.STOPPED
    sweep.tell(Extended(trials=2))
    assert sweep.machine.state is SweepState.RUNNING


def test_a_launch_with_a_larger_budget_goes_on_though_the_driver_died_while_it_stopped(story):
    """As ledgers of before replay: launch notes what its driver is allowed right after it took over."""
    sweep = story(trials=2)
    sweep.ready()
    sweep.tell(StopRequested())
    sweep.tell(Resumed(holder="b"), Extended(trials=9))
    assert (sweep.machine.state, sweep.machine.is_closing, sweep.machine.budget) == (SweepState.RUNNING, False, 9)


def test_a_signal_is_heard_beside_an_extension(story):
    sweep = story(trials=2)
    sweep.tell(InterruptRequested(), Extended(trials=9))
    assert (sweep.machine.state, sweep.machine.budget) == (SweepState.INTERRUPTED, 9)


# points given


def test_fixed_values_under_searched_keys_are_trial_0s(story):
    sweep = story(parameters={"x": 0.75, "y": 3})
    (first,) = sweep.tell(GangReady(gang="g0"))
    (second,) = sweep.tell(GangReady(gang="g1"))
    assert (first.given, second.given) == ({"x": 0.75}, {})


def test_starting_points_come_in_order_after_the_fixed_values(story):
    sweep = story(parameters={"x": 0.75}, search={"points": [{"x": 0.1}, {"x": 0.2}]})
    sweep.ready(4)
    assert [trial.parameters["x"] for trial in sweep.machine.trials.values()] == [0.75, 0.1, 0.2, 0.0]


def test_an_enqueued_point_is_tried_next(story):
    sweep = story(search={"points": [{"x": 0.1}]})
    sweep.tell(Enqueued(parameters={"x": 0.9}))
    sweep.ready(2)
    assert [trial.parameters["x"] for trial in sweep.machine.trials.values()] == [0.9, 0.1]


# stale and repeated events


def test_repeated_events_change_nothing(story):
    sweep = story(trials=4)
    sweep.ready(2)
    sweep.finish(0, 0.5)
    sweep.tell(GangLost(gang="g1"))
    sweep.tell(AdvanceFailed(key=sweep.advance_of(2).key, gang="g0", cause="exception", detail="E"))
    told = [event for event in sweep.events[1:] if not isinstance(event, Saved)]
    before, pending = dict(sweep.machine.trials), sweep.machine.pending()
    assert sweep.tell(*told) == []
    assert (sweep.machine.trials, sweep.machine.pending()) == (before, pending)


def test_a_lost_gang_does_not_come_back(story):
    sweep = story()
    sweep.ready()
    sweep.tell(GangLost(gang="g0"))
    assert sweep.tell(GangReady(gang="g0")) == []
    assert sweep.machine.gangs == {}


def test_an_older_checkpoint_does_not_replace_a_newer_one(story):
    sweep = story(epochs=ONE_RUNG)
    sweep.ready()
    sweep.tell(Saved(trial=0, epoch=2, folder="new"), Saved(trial=0, epoch=1, step=9, folder="old"))
    assert (sweep.trial(0).folder, sweep.trial(0).saved_epoch, sweep.trial(0).saved_step) == ("new", 2, 0)


@pytest.mark.parametrize(
    "event",
    [
        Saved(trial=0, epoch=9, folder="late"),
        Saved(trial=99, epoch=1, folder="unknown"),
        Proposed(number=7, parameters={"x": 1.0}),
        Exhausted(number=7),
        GangLost(gang="unknown"),
        AdvanceFailed(key="advance/99", gang="g0", cause="exception", detail="E"),
        Advanced(key="advance/99", gang="g0", reports=(Report(trial=0, epoch=1, values=(0.1,)),)),
        Progress(gang="g0", lanes=(LaneProgress(trial=0, epoch=1, metrics={"score": 0.1}),)),
        TimeSpent(seconds=1.0),
    ],
)
def test_an_event_about_nothing_open_changes_nothing(story, event):
    sweep = story()
    sweep.ready()
    sweep.finish(0, 0.5)
    before, pending = dict(sweep.machine.trials), sweep.machine.pending()
    assert sweep.tell(event) == []
    assert (sweep.machine.trials, sweep.machine.pending()) == (before, pending)


# contradictions


def test_a_ledger_begins_with_its_launch():
    for events in ([], [GangReady(gang="g0")]):
        with pytest.raises(LedgerError, match="must begin with its launch"):
            replay(events)


def test_a_report_on_another_trial_is_a_contradiction(story):
    sweep = story()
    sweep.ready(2)
    with pytest.raises(LedgerError, match="trained other trials"):
        sweep.tell(Advanced(key="advance/1", gang="g0", reports=(Report(trial=1, epoch=1, values=(0.1,)),)))


@pytest.mark.parametrize("state", [state for state in TrialState if state.is_ended])
def test_endings_have_no_way_out(state):
    assert not TRANSITIONS.get(state)


def test_every_other_state_can_end():
    for state in (WAITING, RUNNING, PAUSED):
        assert {STOPPED, CANCELLED} <= TRANSITIONS[state]

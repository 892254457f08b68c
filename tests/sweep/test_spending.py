"""Devices' time and money: who has taken what, what was in vain, and that a sweep keeps to its limits."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_story import Story

from podium.execution.simulated import SimulatedExecutor
from podium.spec.budget import Budget
from podium.sweep.driver import TIME_EVERY_S
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import (
    Advance,
    Advanced,
    Event,
    Extended,
    GangLost,
    GangReady,
    Host,
    Proposed,
    Report,
    Resumed,
    Saved,
    TimeSpent,
)
from podium.sweep.spending import figures, total, wasted
from podium.sweep.trial import Spent, TrialState
from podium.testing.invariants import assert_invariants, assert_same
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec

PRICES = {"H100": 4.0, "spot-h100": 1.5, "cpu": 0.25}


def budget(**more: object) -> Budget:
    return Budget.model_validate({"trials": 1, "epochs": {"max": 1}, **more})


@pytest.mark.parametrize(
    ("group", "accelerator", "gpus", "prices", "hourly"),
    [
        ("", "H100", 2.0, PRICES, 2 * 4.0 + 3 * 0.25),
        ("spot-h100", "H100", 0.5, PRICES, 0.5 * 1.5 + 3 * 0.25),
        ("", "B200", 1.0, PRICES, 4.0 + 3 * 0.25),
        ("", "B200", 1.0, {"gpu": 6.0, "H100": 4.0}, 6.0),
        ("", "H100", 0.0, PRICES, 3 * 0.25),
        ("big", "", 0.0, {"big": 0.1, "cpu": 0.25}, 3 * 0.1),
        ("", "", 1.0, {}, 0.0),
    ],
)
def test_an_hour_costs_what_the_prices_say(group, accelerator, gpus, prices, hourly):
    assert budget(prices=prices).hourly(group, accelerator, cpus=3, gpus=gpus) == pytest.approx(hourly)


def test_a_cost_needs_prices():
    with pytest.raises(ValueError, match=r"cost is 5, and `prices` has none; write `prices: \{H100: 4.1, cpu: 0.05\}`"):
        budget(cost=5)


def story(**settings: object) -> Story:
    gpus = {"resources": {"gpus": 0.5, "cpus": 2, "ranks": 2}}
    return Story(toy_spec(**{"trials": 2, "epochs": {"max": 3}, **gpus, **settings}), fuses=bool(settings.get("fuse")))


def test_time_and_money_of_a_trial():
    sweep = story(budget={"trials": 2, "epochs": {"max": 3}, "prices": PRICES})
    sweep.tell(GangReady(gang="g0", hosts=(Host(accelerator="H100"), Host(group="spot-h100"))))
    sweep.propose()
    sweep.tell(TimeSpent(seconds=1800.0))
    assert sweep.machine.spending.total == Spent(1800.0, 7200.0, (0.5 * 5.5 + 4 * 0.25) / 2)
    assert sweep.trial(0).spent == Spent(), "nothing of it is known to be of use"
    sweep.finish(0, 1.0)
    assert sweep.trial(0).spent == sweep.machine.spending.total
    assert wasted(sweep.trial(0)) == Spent()


def test_what_a_gang_had_not_saved_is_lost():
    sweep = story(trials=1)
    sweep.tell(GangReady(gang="g0"))
    sweep.propose()
    sweep.tell(TimeSpent(seconds=10.0), Saved(trial=0, epoch=0, step=5, folder="0/0"), TimeSpent(seconds=3.0))
    sweep.tell(GangLost(gang="g0"))
    assert (sweep.trial(0).spent.gpu_s, sweep.trial(0).lost.gpu_s) == (13.0, 3.0)
    sweep.tell(GangReady(gang="g1"), TimeSpent(seconds=2.0), Resumed(holder="b"))
    assert (sweep.trial(0).spent.gpu_s, sweep.trial(0).lost.gpu_s) == (15.0, 5.0)
    sweep.tell(GangReady(gang="g0"), TimeSpent(seconds=4.0))
    sweep.finish(0, 1.0)
    assert (sweep.trial(0).spent.gpu_s, wasted(sweep.trial(0)).gpu_s) == (19.0, 5.0)
    assert figures(sweep.trial(0).spent, wasted(sweep.trial(0)))["wasted_share"] == pytest.approx(5 / 19)


@pytest.mark.parametrize(("ending", "is_void"), [("diverged", True), ("infeasible", True), ("patience", False)])
def test_a_trial_that_comes_to_nothing_was_in_vain(ending, is_void):
    sweep = story()
    sweep.ready()
    sweep.tell(TimeSpent(seconds=6.0))
    sweep.finish(0, None if ending == "diverged" else 1.0, ending=ending, reason="it is so")
    assert wasted(sweep.trial(0)).gpu_s == 6.0 * is_void


def test_lanes_share_in_equal_parts():
    spec = toy_spec(trials=4, fuse=4, epochs={"max": 1}, search={"space": {"penalty.l1": {"float": [0.0, 1.0]}}})
    sweep = Story(spec, fuses=True)
    sweep.tell(GangReady(gang="g0"))
    while asked := [each for each in sweep.machine.pending() if not isinstance(each, Advance)]:
        sweep.tell(*(Proposed(number=each.number, parameters={"penalty.l1": 0.1 * each.number}) for each in asked))
    advance = sweep.advance_of(0)
    lanes = [lane.trial for lane in advance.lanes]
    assert len(lanes) == 4
    sweep.tell(TimeSpent(seconds=8.0))
    reports = tuple(Report(trial=number, epoch=1, values=(1.0,)) for number in lanes)
    sweep.tell(Advanced(key=advance.key, gang="g0", reports=reports))
    assert [sweep.trial(number).spent.cpu_s for number in lanes] == [2.0] * 4


class Slow(SimulatedExecutor):
    """Its clock goes on by no more than the driver counts at once, and at some waits a gang dies."""

    deaths: Iterator[bool] = itertools.repeat(False)

    def wait(self, timeout_s: float) -> list[Event]:
        if self._living and next(self.deaths, False):
            self.lose(min(self._living))
        if self._news or timeout_s == 0:
            return list(super().wait(0))
        due = min((end for end, _, command in self._due if command.key in self._running), default=math.inf)
        if due > self.clock.now + TIME_EVERY_S:
            self.clock.now += TIME_EVERY_S
            return []
        return list(super().wait(timeout_s))


LIMITS = ({"gpu_hours": 0.02}, {"cost": 0.03}, {"cost": 0.1, "gpu_hours": 0.05}, {"gpu_hours": 1.0})
SPACES = ({"x": {"float": [0.0, 1.0]}}, {"x": {"choice": [0.25, 0.75]}}, {"penalty.l1": {"float": [0.0, 1.0]}})
"""In which each trial is a kind of its own, there are two, and there is one whose trials are stacked."""


class DriverDied(Exception):
    """In the middle of a sweep."""


def dying(machine: Machine, turn: float) -> Callable[[Sequence[Event]], None]:
    """Watches over a driver that dies at its turn of that number."""
    turns = itertools.count(1)

    def watch(events: Sequence[Event]) -> None:
        if events:
            assert_invariants(machine)
        if next(turns) == turn and not machine.is_ended:
            raise DriverDied

    return watch


@settings(max_examples=30)
@given(
    limits=st.sampled_from(LIMITS),
    gangs=st.integers(1, 6),
    policy=st.sampled_from(["asha", "asha_stop", "hyperband", "none"]),
    ranks=st.sampled_from([1, {"min": 1, "max": 3}]),
    space=st.sampled_from(SPACES),
    deaths=st.one_of(
        st.just(([], [])), st.tuples(st.lists(st.booleans(), max_size=60), st.lists(st.integers(1, 40), max_size=2))
    ),
    epoch_s=st.sampled_from([0.7, 3.0, 20.0]),
)
def test_no_sweep_takes_more_than_its_limit_and_a_tick(limits, gangs, policy, ranks, space, deaths, epoch_s):
    spec = toy_spec(
        trials=30,
        policy=policy,
        resources={"gpus": 1.0, "ranks": ranks},
        retries={"worker_lost": 100},
        budget={"prices": {"gpu": 2.0}, **limits},
        search={"space": space},
        fuse=3,
    )
    gangs_die, driver_dies_at = iter(deaths[0]), deaths[1]
    machine, ledger = Machine(spec), MemoryBook().hold(spec.sweep)
    opening: Event = launched(spec, fuses="penalty.l1" in space)
    for turn in [*driver_dies_at, math.inf]:
        executor = Slow(spec, gangs, lambda lane: [*lane.parameters.values()] * 9, lambda advance: epoch_s)
        executor.deaths = gangs_die
        executor.start()
        proposer, watch = RandomProposer(spec.space()), dying(machine, turn)
        with contextlib.suppress(DriverDied):
            drive(machine, ledger, proposer, executor, executor.clock, [opening], watch)
        assert machine.is_ended or turn < math.inf
        again = replay(ledger.events())
        assert_same(again, machine)
        machine, opening = again, Resumed(holder="b")
        if machine.is_ended:
            break
    spent, tick_s = machine.spending.total, 2 * TIME_EVERY_S * gangs
    assert spent.gpu_s <= limits.get("gpu_hours", math.inf) * 3600 + tick_s
    assert spent.cost <= limits.get("cost", math.inf) + 2.0 * tick_s / 3600
    assert machine.state is SweepState.FINISHED
    if len(machine.trials) < 30:
        assert machine.reason.startswith(("budget.gpu_hours", "budget.cost"))
    drawn_in_vain = [trial for trial in machine.trials.values() if not trial.gang]
    assert len(drawn_in_vain) <= gangs * machine.cohorts.most
    first = 1 if policy == "asha" else 9
    limit_s = min(limits.get("gpu_hours", math.inf) * 3600, limits.get("cost", math.inf) * 1800)
    is_enough = (gangs * first + 9) * epoch_s + tick_s <= limit_s
    if is_enough and policy != "asha_stop" and ranks == 1 and not any(deaths[0]) and not driver_dies_at:
        assert any(trial.state is TrialState.COMPLETE for trial in machine.trials.values())
    booked = total(trial.spent for trial in machine.trials.values())
    assert booked.gpu_s == pytest.approx(spent.gpu_s)


def test_trials_that_cannot_be_paid_for_are_not_drawn():
    spec = toy_spec(trials=500, policy="none", resources={"gpus": 1.0}, budget={"gpu_hours": 60 / 3600})
    executor = Slow(spec, 1, lambda lane: [lane.parameters["x"]] * 9, lambda advance: 1.0)
    executor.start()
    machine, ledger = Machine(spec), MemoryBook().hold(spec.sweep)
    drive(machine, ledger, RandomProposer(spec.space()), executor, executor.clock, [launched(spec)])
    assert [trial.state for trial in machine.trials.values()] == [TrialState.COMPLETE] * 6
    assert machine.spending.total.gpu_s == pytest.approx(54.0)
    assert machine.reason == "budget.gpu_hours 0.0166667: 0.015 is spent, and the rest does not suffice to train on"


def test_a_sweep_narrows_before_its_money_is_gone():
    """A whole trial of nine epochs is worth more than new ones that could not be trained on."""
    spec = toy_spec(trials=1000, resources={"gpus": 1.0}, budget={"prices": {"gpu": 3600.0}, "cost": 60.0})
    executor = Slow(spec, 1, lambda lane: [lane.parameters["x"]] * 9, lambda advance: 1.0)
    executor.start()
    machine, ledger = Machine(spec), MemoryBook().hold(spec.sweep)
    drive(machine, ledger, RandomProposer(spec.space()), executor, executor.clock, [launched(spec)])
    assert machine.state is SweepState.FINISHED
    assert machine.reason == f"budget.cost 60 reached at {machine.spending.total.cost:.4g}"
    assert 55 < machine.spending.total.cost <= 60.0
    assert any(trial.state is TrialState.COMPLETE for trial in machine.trials.values())
    assert not any(trial.state is TrialState.RUNNING for trial in machine.trials.values())


def test_a_sweep_that_ends_for_want_of_money_goes_on_when_it_gets_more():
    sweep = Story(toy_spec(trials=9, resources={"gpus": 1.0}, budget={"prices": {"gpu": 3600.0}, "cost": 2.0}))
    sweep.ready()
    sweep.tell(TimeSpent(seconds=2.5))
    assert sweep.machine.is_closing
    sweep.tell(Extended(trials=9, cost=2.25, by="ada"))
    assert sweep.machine.is_closing, "that is spent, too"
    sweep.tell(Extended(trials=9, cost=99.0, by="ada"))
    assert (sweep.machine.is_closing, sweep.machine.reason) == (False, "")
    sweep.finish(0, None, epoch=0, values=(), ending="halted", saved=False)
    assert (sweep.machine.state, sweep.running) == (SweepState.RUNNING, {"g0": 0}), "the halted trial goes on"


def test_a_sweep_that_has_spent_its_money_goes_on_with_more():
    sweep = Story(toy_spec(trials=9, resources={"gpus": 1.0}, budget={"prices": {"gpu": 3600.0}, "cost": 2.0}))
    sweep.ready()
    sweep.tell(TimeSpent(seconds=2.5))
    sweep.finish(0, 1.0)
    assert (sweep.machine.state, sweep.machine.reason) == (SweepState.FINISHED, "budget.cost 2 reached at 2.5")
    sweep.tell(Resumed(holder="b"), Extended(trials=9, cost=1.0))
    assert sweep.machine.state is SweepState.FINISHED, "that is less"
    sweep.tell(Extended(trials=9, cost=99.0, gpu_hours=0.1))
    assert sweep.machine.spending.limits == {"cost": 99.0}
    sweep.ready()
    assert sweep.running == {"g0": 1}

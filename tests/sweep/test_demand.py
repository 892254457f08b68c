"""For how many gangs there is work, at moments of a sweep."""

from collections.abc import Iterator, Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st
from sweep_story import Story

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.demand import COMING_S
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import (
    Advance,
    Event,
    Extended,
    GangLost,
    GangReady,
    Propose,
    Proposed,
    Resumed,
    StopRequested,
    TimeSpent,
)
from podium.testing.invariants import assert_invariants, assert_same
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec

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


def test_paused_trials_without_a_gang_want_one_if_one_of_them_is_to_be_trained_to_the_end() -> None:
    sweep = Story(toy_spec(trials=3, retries={"worker_lost": 0}))
    sweep.ready(2)
    sweep.finish(0, 3.0)
    sweep.finish(1, 2.0)
    sweep.tell(GangLost(gang="g1", cause="preempted"), GangLost(gang="g0"))
    assert (sweep.machine.gangs, sweep.machine.num_gangs_wanted) == ({}, 1)
    sweep.tell(GangReady(gang="g2"))
    assert sweep.running == {"g2": 1}


def short_of_money() -> Story:
    """The last of three trials has trained for half its 600 s; there are 500 s left, and it has saved nothing."""
    spec = toy_spec(
        trials=3, policy="none", epochs=ONE_RUNG, resources={"gpus": 1.0}, budget={"gpu_hours": 2000 / 3600}
    )
    sweep = Story(spec)
    sweep.ready(2)
    sweep.tell(TimeSpent(seconds=600.0))
    sweep.finish(0, 3.0)
    sweep.finish(1, 2.0)
    assert sweep.running == {"g0": 2}
    sweep.tell(GangLost(gang="g1", cause="preempted"), TimeSpent(seconds=300.0))
    return sweep


def test_a_sweep_ends_without_a_gang_if_nothing_can_be_trained_any_more() -> None:
    sweep = short_of_money()
    sweep.tell(GangLost(gang="g0"))
    assert (sweep.machine.state, sweep.machine.num_gangs_wanted) == (SweepState.FINISHED, 0)
    sweep.tell(Resumed(holder="b"), Extended(trials=9))
    assert sweep.machine.state is SweepState.FINISHED, "more trials need more money"


def test_a_sweep_that_is_taken_over_waits_for_what_it_may_be_given() -> None:
    sweep = short_of_money()
    sweep.tell(Resumed(holder="b"))
    assert (sweep.machine.state, sweep.machine.num_gangs_wanted) == (SweepState.RUNNING, 1)
    sweep.tell(TimeSpent(seconds=1.0))
    assert sweep.machine.state is SweepState.FINISHED


class Hosted(SimulatedExecutor):
    """Has a gang for what there is work for, and no other: none comes by itself, and idle ones are given back."""

    deaths: Iterator[bool] = iter(())
    expected = 0

    def start(self) -> None:
        """There is none at first."""

    def expect(self, gangs: int) -> None:
        self.expected = gangs

    def lose(self, gang: str, cause: str = "worker_lost") -> None:
        self._living.discard(gang)
        self._running = {key: entry for key, entry in self._running.items() if gang not in entry[1].gangs}
        self._news.append(GangLost(gang=gang, cause=cause, detail="killed"))

    def wait(self, timeout_s: float) -> Sequence[Event]:
        busy = {gang for _, advance in self._running.values() for gang in advance.gangs}
        for gang in sorted(self._living - busy)[: max(0, len(self._living) - self.expected)]:
            self.lose(gang, "preempted")
        if busy and next(self.deaths, False):
            self.lose(min(busy))
        coming = 0 if self._news else min(self._gangs, self.expected) - len(self._living)
        for _ in range(coming):
            self._start_gang()
        return super().wait(timeout_s)


@settings(max_examples=40)
@given(
    trials=st.integers(2, 8),
    limits=st.sampled_from([{}, {"gpu_hours": 0.02}, {"gpu_hours": 0.005}, {"gpu_hours": 1.0}]),
    gangs=st.integers(1, 4),
    policy=st.sampled_from(["asha", "asha_stop", "hyperband", "none"]),
    retries=st.integers(0, 2),
    deaths=st.lists(st.sampled_from([False, False, False, True]), max_size=40),
    epoch_s=st.sampled_from([0.7, 20.0]),
)
@example(3, {}, 1, "asha", 0, [False, False, True], 0.7)
@example(8, {"gpu_hours": 0.02}, 1, "none", 2, [False, True], 4.0)
def test_no_sweep_waits_for_ever_for_gangs_that_it_does_not_want(
    trials, limits, gangs, policy, retries, deaths, epoch_s
):
    spec = toy_spec(
        trials=trials,
        policy=policy,
        resources={"gpus": 1.0},
        retries={"worker_lost": retries},
        budget={"failures": 100, **limits},
    )
    executor = Hosted(spec, gangs, lambda lane: [lane.parameters["x"]] * 9, lambda advance: epoch_s)
    executor.deaths = iter(deaths)
    machine, ledger = Machine(spec), MemoryBook().hold(spec.sweep)

    def watch(events: Sequence[Event]) -> None:
        if events:
            assert_invariants(machine)

    drive(machine, ledger, RandomProposer(spec.space()), executor, executor.clock, [launched(spec)], watch)
    assert machine.state is SweepState.FINISHED
    assert_same(replay(ledger.events()), machine)

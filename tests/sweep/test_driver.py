"""The loop: ledger first, then the machine, then commands."""

import pytest

from podium.errors import Interrupted, LeaseLost
from podium.execution.simulated import SimulatedExecutor
from podium.sweep.driver import Driver
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import Enqueued, InterruptRequested, Resumed, StopRequested
from podium.sweep.trial import TrialState
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, launched, toy_spec


class Rig:
    """A driver over a simulated executor and a ledger in memory; each life of it goes on where the last one left."""

    def __init__(self, **settings):
        self.spec, self.book = toy_spec(**settings), MemoryBook()
        self.ledger = self.book.hold("toy")
        self.told, self.interrupted = [], False

    def run(self, opening, executor_type=SimulatedExecutor):
        self.machine = replay(self.ledger.events()) if self.ledger.events() else Machine(self.spec)
        executor = executor_type(self.spec, 2, lambda lane: [lane.parameters["x"]] * 9, lambda advance: 1.0)
        executor.start()
        Driver(
            self.machine,
            ledger=self.ledger,
            proposer=RandomProposer(self.spec.space()),
            executor=executor,
            clock=executor.clock,
            watch=self.watch,
            is_interrupted=lambda: self.interrupted,
        ).run(opening)

    def watch(self, events):
        assert list(events) == self.ledger.events()[len(self.ledger.events()) - len(events) :], "told before appended"
        self.told += events


def test_runs_to_the_end_and_tells_all_that_it_appended():
    rig = Rig(trials=4)
    rig.run([launched(rig.spec)])
    assert rig.machine.state is SweepState.FINISHED
    assert rig.told == rig.ledger.events()


class DeafExecutor(SimulatedExecutor):
    """Its workers do not hear halts, since each of their steps takes very long."""

    def advance(self, command):
        super().advance(command)
        self.clock.now += 1.0

    def halt(self, command):
        self.clock.now += 20.0


class ImpatientRig(Rig):
    """Its user wants to leave as soon as there is a trial."""

    def watch(self, events):
        super().watch(events)
        self.interrupted = self.interrupted or bool(self.machine.trials)


def test_a_driver_leaves_after_the_grace_period():
    rig = ImpatientRig(trials=4, limits={"grace_s": 10.0})
    with pytest.raises(Interrupted, match=r"left after the grace period of 10 s \(limits.grace_s\).*podium resume toy"):
        rig.run([launched(rig.spec)], DeafExecutor)
    assert rig.told == rig.ledger.events()
    assert len(rig.machine.trials) == 2
    rig.run([Resumed(holder="b")])
    assert rig.machine.state is SweepState.INTERRUPTED


def test_an_interruption_is_asked_for_once_and_can_be_resumed():
    rig = Rig(trials=4)
    rig.interrupted = True
    rig.run([launched(rig.spec)])
    assert rig.machine.state is SweepState.INTERRUPTED
    assert rig.ledger.events().count(InterruptRequested()) == 1
    rig.interrupted = False
    rig.run([Resumed(holder="b")])
    assert rig.machine.state is SweepState.FINISHED
    assert len(rig.machine.trials) == 4


def test_the_time_of_advances_is_counted():
    rig = Rig(trials=4)
    rig.run([launched(rig.spec)])
    trials = rig.machine.trials.values()
    assert [trial.spent.cpu_s for trial in trials] == [float(trial.epoch) for trial in trials]
    assert sum(trial.spent.cpu_s for trial in trials) == rig.machine.spending.total.cpu_s > 0


def test_the_wall_time_ends_a_sweep():
    limited = Rig(budget={"trials": 40, "wall_time": 5.0})
    limited.run([launched(limited.spec)])
    assert limited.machine.state is SweepState.FINISHED
    assert limited.machine.reason == "the wall time of 5 s is spent"
    assert limited.machine.spent_s >= 5.0
    assert len(limited.machine.trials) < 40


def test_requests_reach_the_machine():
    rig = Rig(trials=8)
    rig.book.request("toy", Enqueued(parameters={"x": 0.125}))
    rig.book.request("toy", StopRequested(trial=0))
    rig.run([launched(rig.spec)])
    assert rig.machine.trials[0].state is TrialState.CANCELLED
    assert 0.125 in [trial.parameters["x"] for trial in rig.machine.trials.values()]
    assert rig.ledger.requests() == []


def test_nothing_is_carried_out_after_a_takeover():
    rig = Rig(trials=4)
    stale = rig.ledger
    stale.release()
    rig.book.hold("toy")
    with pytest.raises(LeaseLost):
        rig.run([launched(rig.spec)])
    assert stale.events() == []
    assert rig.told == []

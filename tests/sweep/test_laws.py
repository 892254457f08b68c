"""The laws of exactly once, replay, fidelity and capacity, on simulated sweeps that everything goes wrong for."""

import math
import zlib
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.execution.simulated import SimulatedExecutor
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import (
    EVENT,
    Advance,
    AdvanceFailed,
    Enqueued,
    Event,
    Exhausted,
    Extended,
    GangLost,
    Lane,
    Measured,
    Propose,
    Proposed,
    Resumed,
    Saved,
    StopRequested,
)
from podium.sweep.trial import Trial, TrialState
from podium.testing.faults import (
    ChaosExecutor,
    DriverKilled,
    FragileExecutor,
    FragileLedger,
    FragileProposer,
    Killer,
)
from podium.testing.invariants import assert_endings_kept, assert_invariants, assert_same
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec

POLICIES = ("asha", "asha_stop", "hyperband", "median", "none")
PATIENT = {"worker_lost": 10_000, "exception": 10_000, "out_of_memory": 10_000, "hang": 10_000}


def curves(seed: int, diverging: float) -> Callable[[Lane], Sequence[float | None]]:
    """Curves that fall or rise, cross each other, and now and then end in no number."""

    def curve(lane: Lane) -> list[float | None]:
        def draw(purpose: object) -> float:
            return zlib.crc32(f"{seed}/{lane.trial}/{purpose}".encode()) / 2**32

        level, speed = draw("level"), draw("speed")
        end = int(draw("epoch") * 30) if draw("diverges") < diverging else 30
        return [level * math.exp(-speed * epoch) + 0.01 * draw(epoch) if epoch < end else None for epoch in range(30)]

    return curve


def measures(seed: int) -> Callable[[tuple[Lane, ...]], Measured | None]:
    """Now and then a cohort is found to be best at another width, or not to be stackable."""

    def measure(lanes: tuple[Lane, ...]) -> Measured | None:
        draw = zlib.crc32(f"{seed}/{[lane.trial for lane in lanes]}".encode())
        tried = [width for width in (1, 2, 4, 8, 16, 32) if width <= len(lanes)]
        return (
            None,
            Measured(trial=lanes[0].trial, width=tried[draw % len(tried)], rates=dict.fromkeys(tried, 1.0)),
            Measured(trial=lanes[-1].trial, width=1, reason="no rule for sort") if draw % 7 == 0 else None,
        )[draw % 3]

    return measure


class ForgetfulProposer:
    """Draws one in four mates as if it were free."""

    def __init__(self, inner: RandomProposer) -> None:
        self._inner = inner

    def propose(self, command: Propose, trials: Mapping[int, Trial]) -> Proposed | Exhausted:
        forgets = command.number % 4 == 3
        return self._inner.propose(command.model_copy(update={"mates_of": None}) if forgets else command, trials)


class Watched:
    """A ledger that checks, with each event appended, a machine that is fed nothing else."""

    def __init__(self, spec: SweepSpec) -> None:
        self._book = MemoryBook()
        self._sweep, self._held = spec.sweep, self._book.hold(spec.sweep)
        self.asking: list[tuple[int, Extended]] = []
        self.machine = Machine(spec)
        self._saved: dict[int, tuple[int, int]] = {}
        self.widest = 0

    def events(self) -> list[Event]:
        return self._held.events()

    def append(self, events: Sequence[Event]) -> int:
        for event in events:
            before = dict(self.machine.trials)
            if isinstance(event, Saved) and before[event.trial].state is TrialState.RUNNING:
                self._saved[event.trial] = max(self._saved.get(event.trial, (0, 0)), (event.epoch, event.step))
            commands = self.machine.handle(EVENT.validate_json(event.model_dump_json()))
            assert_invariants(self.machine)
            assert_endings_kept(before, self.machine.trials)
            for command in commands:
                if isinstance(command, Advance):
                    self._check(command)
        sequence = self._held.append(events)
        while self.asking and self.asking[0][0] <= sequence:
            self._book.request(self._sweep, self.asking.pop(0)[1])
        return sequence

    def take_over(self) -> None:
        """Another driver holds it now, and hears again what the last one has heard and not written down."""
        self._held.release()
        self._held = self._book.hold(self._sweep)

    def _check(self, advance: Advance) -> None:
        for lane in advance.lanes:
            assert (lane.epoch, lane.step) == self._saved.get(lane.trial, (0, 0)), "not from the last checkpoint"
        assert len(advance.lanes) <= self.machine.cohorts.limit(advance.lanes[0].trial), "wider than what is best"
        self.widest = max(self.widest, len(advance.lanes))

    def requests(self) -> Sequence[Event]:
        return self._held.requests()

    def renew(self) -> None:
        self._held.renew()


class Run:
    """One sweep, however often its driver is killed."""

    def __init__(
        self,
        spec: SweepSpec,
        gangs: int,
        curve: Callable[[Lane], Sequence[float | None]],
        points: int | None = None,
        *,
        fuses: bool = False,
        measure: Callable[[tuple[Lane, ...]], Measured | None] = lambda lanes: None,
    ) -> None:
        self.spec, self.gangs, self.curve, self.fuses, self.measure = spec, gangs, curve, fuses, measure
        self.points = points
        self.proposer = ForgetfulProposer(RandomProposer(spec.space(), most=points))
        self.ledger = Watched(spec)
        self.live = Machine(spec)
        self._lives = 0

    def live_once(self, killer: Killer, *, chaos: tuple[int, int] | None = None, opening: Sequence[Event] = ()) -> None:
        """Drives the sweep until it ends or the killer strikes; each life has gangs of its own."""
        self._lives += 1
        self.ledger.take_over()
        events = self.ledger.events()
        if events:
            self.live = replay(events)
            assert_same(self.live, self.ledger.machine)
            opening = (Resumed(holder=f"life {self._lives}"), *opening)
        else:
            opening = (launched(self.spec, self.fuses), *opening)
        simulated = SimulatedExecutor(
            self.spec,
            self.gangs,
            self.curve,
            lambda advance: 1.0 + sum(lane.trial for lane in advance.lanes) % 3,
            self.measure,
        )
        executor = simulated if chaos is None else ChaosExecutor(simulated, *chaos)
        executor.start()
        drive(
            self.live,
            FragileLedger(self.ledger, killer),
            FragileProposer(self.proposer, killer),
            FragileExecutor(executor, killer),
            simulated.clock,
            opening,
            watch=lambda events: assert_same(self.live, self.ledger.machine),
        )

    def live_on(self, kills: Sequence[int], chaos: tuple[int, int] | None = None) -> None:
        """Drives the sweep to its end; each number is how far a driver gets before it is killed."""
        for at in [*kills, None]:
            try:
                self.live_once(Killer(at), chaos=chaos)
            except DriverKilled:
                continue
            self.finish()
            return

    def finish(self) -> None:
        """Goes on after a storage fault, with nothing else going wrong."""
        while self.live.state is SweepState.INTERRUPTED:
            self.live_once(Killer(None))

    @property
    def trials(self) -> dict[int, Trial]:
        return self.live.trials


def assert_exactly_once(run: Run) -> None:
    assert run.live.state is SweepState.FINISHED
    assert list(run.trials) == list(range(run.live.budget))
    assert all(trial.state.is_ended for trial in run.trials.values())
    assert not any(trial.state in (TrialState.FAILED, TrialState.CANCELLED) for trial in run.trials.values())
    if run.spec.budget.policy in ("asha", "hyperband", "none"):
        states = [trial.state for trial in run.trials.values()]
        assert TrialState.COMPLETE in states or set(states) == {TrialState.DIVERGED}
    assert_same(replay(run.ledger.events()), run.live)


def assert_truthful(run: Run) -> None:
    objective = run.spec.search.objectives[0]
    pick = max if objective.direction == "maximize" else min
    for trial in run.trials.values():
        curve = run.curve(Lane(trial=trial.number, parameters={}, seed=0))
        for rung, (value,) in trial.values.items():
            seen = curve[:rung]
            assert value == (pick(seen) if objective.at == "best" else seen[-1])
        if trial.state is TrialState.DIVERGED:
            assert curve[trial.epoch - 1] is None
        if trial.state is TrialState.COMPLETE:
            assert trial.rung == run.spec.budget.epochs.max


SPACES = (
    {"x": {"float": [0.0, 1.0]}},
    {"x": {"choice": [0.5]}, "penalty.l1": {"float": [0.0, 1.0]}},
    {
        "x": {"choice": [0.25, 0.5]},
        "size": {"int": [1, 4], "when": {"x": 0.5}},
        "network.dropout": {"float": [0.0, 0.5], "when": {"x": 0.25}},
        "penalty.l1": {"float": [0.0, 1.0]},
    },
)
"""Spaces without two equal structures, with one structure, and with five."""


@st.composite
def specs(draw: st.DrawFn, **more: object) -> SweepSpec:
    lowest = draw(st.integers(1, 4))
    return toy_spec(
        fuse=draw(st.sampled_from(["auto", "auto", "off", 1, 2, 5, 40])),
        resources={"ranks": draw(st.sampled_from([1, {"min": 1, "max": 3}, {"min": 2, "max": 16}]))},
        trials=draw(st.integers(1, 40)),
        policy=draw(st.sampled_from(POLICIES)),
        epochs={"min": lowest, "max": draw(st.integers(lowest, 27)), "factor": draw(st.integers(2, 4))},
        search={
            "objective": {
                "metric": "score",
                "direction": draw(st.sampled_from(["minimize", "maximize"])),
                "at": draw(st.sampled_from(["best", "last"])),
            },
            "space": draw(st.sampled_from(SPACES)),
        },
        **more,
    )


ENDLESS = st.none()


def runs(points: st.SearchStrategy[int | None] = ENDLESS, **more: object) -> st.SearchStrategy[Run]:
    """Sweeps, half of them with trials that share stacks."""
    measure = st.builds(measures, st.integers(0, 10**6))
    return st.builds(Run, specs(**more), GANGS, CURVES, points, fuses=st.booleans(), measure=measure)


GANGS = st.integers(1, 8)
CURVES = st.builds(curves, st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 1.0]))
KILLS = st.lists(st.integers(0, 60), max_size=5)
CHAOS = st.tuples(st.integers(0, 10**6), st.integers(0, 40))


@settings(max_examples=150)
@given(runs(retries=PATIENT), KILLS, CHAOS)
def test_every_trial_ends_exactly_once_whatever_dies(run, kills, chaos):
    run.live_on(kills, chaos)
    assert_exactly_once(run)
    assert_truthful(run)


@settings(max_examples=60)
@given(runs(retries=dict.fromkeys(PATIENT, 1)), KILLS, CHAOS)
def test_no_sweep_hangs_when_retries_run_out(run, kills, chaos):
    run.live_on(kills, chaos)
    states = [trial.state for trial in run.trials.values()]
    lost = sum(isinstance(event, GangLost | AdvanceFailed) for event in run.ledger.events())
    assert states.count(TrialState.FAILED) <= lost // 2
    if run.live.state is SweepState.FAILED:
        assert states.count(TrialState.FAILED) >= run.spec.budget.failures
    else:
        assert run.live.state is SweepState.FINISHED
        assert len(states) == run.spec.budget.trials
    assert all(state.is_ended for state in states)
    assert_truthful(run)


@settings(max_examples=40)
@given(runs(retries=PATIENT), KILLS, CHAOS, st.integers(0, 80), st.integers(1, 20))
def test_users_may_interfere_at_any_moment(run, kills, chaos, moment, extra):
    for at in [*kills, moment]:
        try:
            run.live_once(Killer(at), chaos=chaos)
        except DriverKilled:
            continue
        break
    run.finish()
    trials = len(run.trials)
    requests = (
        StopRequested(trial=trials // 2),
        Enqueued(parameters={"x": 0.5}),
        Extended(trials=run.spec.budget.trials + extra),
    )
    run.live_once(Killer(None), chaos=chaos, opening=requests)
    run.finish()
    assert run.live.state is SweepState.FINISHED
    assert list(run.trials) == list(range(run.spec.budget.trials + extra))
    assert all(trial.state.is_ended for trial in run.trials.values())
    assert sum(trial.state is TrialState.CANCELLED for trial in run.trials.values()) <= 1
    run.live_once(Killer(None), opening=(StopRequested(),))
    assert run.live.state is SweepState.FINISHED


MOMENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 60)), min_size=1, max_size=3).map(sorted)


@settings(max_examples=80)
@given(runs(retries=PATIENT), KILLS, CHAOS, MOMENTS)
def test_a_budget_is_extended_at_any_moment(run, kills, chaos, moments):
    """While it runs, through the driver; what comes after its end counts when the sweep is gone on with."""
    run.ledger.asking = [(at, Extended(trials=trials, by="ada")) for at, trials in moments]
    run.live_on(kills, chaos)
    late = [event for _, event in run.ledger.asking] + list(run.ledger.requests())
    run.ledger.asking = []
    if late:
        run.live_once(Killer(None), opening=late)
    assert run.live.budget == max(run.spec.budget.trials, *(trials for _, trials in moments))
    assert_exactly_once(run)
    assert_truthful(run)


@settings(max_examples=40)
@given(runs(points=st.integers(0, 40), retries=PATIENT), KILLS, CHAOS)
def test_a_grid_is_tried_once_and_as_a_whole(run, kills, chaos):
    run.live_on(kills, chaos)
    trials = min(run.points, run.spec.budget.trials)
    assert run.live.state is (SweepState.EXHAUSTED if trials < run.spec.budget.trials else SweepState.FINISHED)
    assert list(run.trials) == list(range(trials))
    assert all(trial.state.is_ended for trial in run.trials.values())


@settings(max_examples=40)
@given(runs(), st.integers(0, 100), CHAOS)
def test_a_stop_ends_every_trial(run, moment, chaos):
    try:
        run.live_once(Killer(moment))
    except DriverKilled:
        run.live_once(Killer(None), chaos=chaos, opening=(StopRequested(),))
        run.finish()
    assert run.live.is_ended
    assert all(trial.state.is_ended for trial in run.trials.values())


@settings(max_examples=30)
@given(specs(), CURVES, st.booleans(), KILLS)
def test_one_gang_decides_alike_however_often_its_driver_dies(spec, curve, fuses, kills):
    """With one gang nothing is left to timing, so that values and decisions are those of an undisturbed sweep."""
    undisturbed, disturbed = Run(spec, 1, curve, fuses=fuses), Run(spec, 1, curve, fuses=fuses)
    undisturbed.live_on([])
    disturbed.live_on(kills)
    assert [trial.values for trial in disturbed.trials.values()] == [
        trial.values for trial in undisturbed.trials.values()
    ]


@pytest.mark.parametrize("fuses", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_sweep_goes_on_from_every_single_append_and_command(policy, fuses):
    spec = toy_spec(trials=6, policy=policy, fuse=3, search={"space": SPACES[2]})

    def make() -> Run:
        return Run(spec, 2, curves(7, 0.2), fuses=fuses, measure=measures(3))

    whole, undisturbed = Killer(None), make()
    undisturbed.live_once(whole)
    assert (undisturbed.ledger.widest > 1) == fuses
    for at in range(whole.points):
        run = make()
        run.live_on([at])
        assert_exactly_once(run)
        assert_truthful(run)


@pytest.mark.parametrize("fuses", [False, True])
def test_a_driver_may_die_after_every_single_step(fuses):
    """Each life gets one step further than the last; nothing is done twice and nothing is lost."""
    spec = toy_spec(trials=6, fuse=3, search={"space": SPACES[2]})
    run = Run(spec, 2, curves(3, 0.2), fuses=fuses)
    run.live_on(range(200))
    assert (run.ledger.widest > 1) == fuses
    assert_exactly_once(run)
    assert_truthful(run)


class PoisonedExecutor(SimulatedExecutor):
    """One of its trials kills every gang that it meets."""

    poison = 0

    def advance(self, command: Advance) -> None:
        super().advance(command)
        if self.poison in [lane.trial for lane in command.lanes]:
            self.lose(command.gang)


@settings(max_examples=30)
@given(st.integers(0, 7), GANGS, st.sampled_from(POLICIES), st.integers(0, 3))
def test_a_trial_that_kills_every_gang_takes_no_mate_with_it(poison, gangs, policy, retries):
    spec = toy_spec(trials=8, policy=policy, fuse=8, retries={"worker_lost": retries}, search={"space": SPACES[1]})
    executor = PoisonedExecutor(spec, gangs, curves(5, 0.0), lambda advance: 1.0)
    executor.poison = poison
    machine, ledger = Machine(spec), Watched(spec)
    executor.start()
    drive(machine, ledger, RandomProposer(spec.space()), executor, executor.clock, [launched(spec, fuses=True)])
    lost = [event for event in ledger.events() if isinstance(event, GangLost)]
    assert machine.state is SweepState.FINISHED
    assert machine.trials[poison].state is TrialState.FAILED
    assert machine.trials[poison].attempts == {"worker_lost": retries + 1}
    assert len(lost) <= retries + 2, "once with its mates, and then alone"
    others = [trial for trial in machine.trials.values() if trial.number != poison]
    assert {trial.state for trial in others} <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert [trial.attempts for trial in others] == [{}] * 7
    if gangs == 1:
        assert ledger.widest == 8

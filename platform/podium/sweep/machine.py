"""The machine: events in, commands out. State is a function of events, open commands of the state. Pure."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from podium.errors import LedgerError
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Command,
    Enqueued,
    Event,
    Exhausted,
    Extended,
    GangLost,
    GangReady,
    Halt,
    InterruptRequested,
    Lane,
    Launched,
    Propose,
    Proposed,
    Report,
    Resumed,
    Saved,
    StopRequested,
    TimeSpent,
)
from podium.sweep.ranking import Ranking
from podium.sweep.rungs import AshaStop, Verdict, make_policy
from podium.sweep.seeds import trial_seed
from podium.sweep.standings import Standings
from podium.sweep.trial import Trial, TrialState

TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.WAITING: frozenset({TrialState.RUNNING, TrialState.STOPPED, TrialState.CANCELLED}),
    TrialState.RUNNING: frozenset(TrialState) - {TrialState.RUNNING},
    TrialState.PAUSED: frozenset({TrialState.RUNNING, TrialState.STOPPED, TrialState.CANCELLED}),
}
"""From each state the states that may follow; endings have none."""


class SweepState(StrEnum):
    """Where a sweep stands."""

    RUNNING = "running"
    FINISHED = "finished"
    EXHAUSTED = "exhausted"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


class Machine:
    """One sweep.

    Attributes:
        trials: By number, the newest snapshot of each trial.
        state: Where the sweep stands.
        reason: Why it ended, in words.
        budget: How many trials it may have.
        ranking: Compares its trials.
        gangs: By gang, the key of the advance it runs; None if idle.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self.trials: dict[int, Trial] = {}
        self.state = SweepState.RUNNING
        self.reason = ""
        self.budget = spec.budget.trials
        self.gangs: dict[str, str | None] = {}
        self._gone: set[str] = set()
        self._policy = make_policy(spec.budget.policy, spec.rungs(), spec.budget.epochs.factor)
        self._standings = Standings(self._policy)
        self.ranking = Ranking(spec)
        self._points = deque(([spec.given()] if spec.given() else []) + [dict(p) for p in spec.search.points])
        self._open: dict[str, Command] = {}
        self._waiting: dict[int, None] = {}
        self._paused: set[int] = set()
        self._cancelled: set[int] = set()
        self._closing: SweepState | None = None
        self._exhausted = False
        self._advances = 0
        self._failures = 0
        self._spent_s = 0.0
        self._best: int | None = None

    def handle(self, event: Event) -> list[Command]:
        """Takes one event; returns the commands that follow. Stale and repeated events change nothing."""
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return []
        handler(self, event)
        return [] if self.is_ended else self._decide()

    def pending(self) -> list[Command]:
        """The open commands: what a driver that took over has to carry out."""
        return list(self._open.values())

    @property
    def is_ended(self) -> bool:
        """Whether no command will follow until the sweep is resumed or extended."""
        return self.state is not SweepState.RUNNING

    @property
    def is_closing(self) -> bool:
        """Whether the sweep waits only for running advances to end."""
        return self._closing is not None

    @property
    def spent_s(self) -> float:
        """Seconds of running that `budget.wall_time` has counted."""
        return self._spent_s

    def best(self) -> Trial | None:
        """The best trial among those that reached the highest rung reached and meet the constraints.

        With several objectives: the one with the best first objective; `front` gives them all.
        """
        return None if self._best is None else self.trials[self._best]

    def front(self) -> list[Trial]:
        """The trials that no other beats in every objective."""
        return self.ranking.front(self.trials.values())

    def count(self) -> dict[str, int]:
        """How many trials are in each state that has any."""
        counts: dict[str, int] = {}
        for trial in self.trials.values():
            counts[trial.state] = counts.get(trial.state, 0) + 1
        return counts

    # events

    def _on_extended(self, event: Extended) -> None:
        self.budget = max(self.budget, event.trials)
        if self._can_go_on():
            self._reopen()

    def _on_resumed(self, event: Resumed) -> None:
        self.gangs.clear()
        self._gone.clear()
        for key in [key for key, command in self._open.items() if not isinstance(command, Propose)]:
            del self._open[key]
        for trial in self._in(TrialState.RUNNING):
            self._go_back(trial.number)
        if self._closing is SweepState.INTERRUPTED:
            self._closing, self.reason = None, ""
        resumable = self.state in (SweepState.INTERRUPTED, SweepState.FAILED, SweepState.STOPPED)
        if resumable and (self.state is SweepState.INTERRUPTED or self._can_go_on()):
            self._reopen()

    def _reopen(self) -> None:
        self.state, self.reason, self._closing, self._failures = SweepState.RUNNING, "", None, 0

    def _on_gang_ready(self, event: GangReady) -> None:
        if event.gang not in self._gone:
            self.gangs.setdefault(event.gang, None)

    def _on_gang_lost(self, event: GangLost) -> None:
        self._gone.add(event.gang)
        key = self.gangs.pop(event.gang, None)
        if key is not None:
            self._break_off(key, event.cause, event.detail or f"its gang {event.gang} was lost")

    def _on_proposed(self, event: Proposed) -> None:
        if self._open.pop(f"propose/{event.number}", None) is None:
            return
        seed = trial_seed(self.spec, event.number, event.parameters)
        self.trials[event.number] = Trial(
            number=event.number, parameters=event.parameters, seed=seed, attributes=event.attributes
        )
        self._waiting[event.number] = None

    def _on_exhausted(self, event: Exhausted) -> None:
        if self._open.pop(f"propose/{event.number}", None) is not None:
            self._exhausted = True

    def _on_saved(self, event: Saved) -> None:
        trial = self.trials.get(event.trial)
        if trial is None or trial.state is not TrialState.RUNNING:
            return
        if (event.epoch, event.step) >= (trial.saved_epoch, trial.saved_step):
            self.trials[event.trial] = replace(
                trial, folder=event.folder, saved_epoch=event.epoch, saved_step=event.step
            )

    def _on_advanced(self, event: Advanced) -> None:
        advance = self._close(event.key)
        if advance is None:
            return
        if {report.trial for report in event.reports} != {lane.trial for lane in advance.lanes}:
            raise LedgerError(f"{advance.key} trained other trials than those reported: {event}")
        reports = [_with_divergence(report) for report in event.reports]
        entered = [(report, self._record(report, advance.until)) for report in reports]
        for report, losses in entered:
            self._settle_trial(report, advance.until, losses)
        target = self.spec.budget.target
        best = self.best()
        loss = self.ranking.loss
        if target is not None and best is not None and loss(best.last_values) <= loss((target,)):
            self._begin_closing(SweepState.FINISHED, f"trial {best.number} reached the target {target:g}")

    def _on_advance_failed(self, event: AdvanceFailed) -> None:
        self._break_off(event.key, event.cause, event.detail)

    def _on_time_spent(self, event: TimeSpent) -> None:
        self._spent_s += event.seconds
        limit = self.spec.budget.wall_time
        if limit is not None and self._spent_s >= limit:
            self._begin_closing(SweepState.FINISHED, f"the wall time of {limit:g} s is spent")

    def _on_enqueued(self, event: Enqueued) -> None:
        self._points.appendleft(dict(event.parameters))

    def _on_stop_requested(self, event: StopRequested) -> None:
        if event.trial is None:
            self._begin_closing(SweepState.STOPPED, "stopped by a user")
            return
        trial = self.trials.get(event.trial)
        if trial is None or trial.state.is_ended:
            return
        if trial.state is TrialState.RUNNING:
            self._cancelled.add(event.trial)
        else:
            self._move(event.trial, TrialState.CANCELLED, reason="stopped by a user")

    def _on_interrupt_requested(self, event: InterruptRequested) -> None:
        self._begin_closing(SweepState.INTERRUPTED, "interrupted; it can be resumed")

    # what follows for a trial

    def _record(self, report: Report, until: int) -> list[float]:
        """Enters a report into the standings of every rung it stands for; returns the losses at `until`."""
        trial = self.trials[report.trial]
        if report.ending in ("halted", "infeasible"):
            self.trials[report.trial] = replace(
                trial, metrics={**trial.metrics, **report.metrics}, device_s=trial.device_s + report.device_s
            )
            return []
        trained_out = report.ending in ("patience", "returned")
        reached = [rung for rung in self._policy.rungs(trial.number) if rung == until or (trained_out and rung > until)]
        values = dict(trial.values)
        if report.ending != "diverged":
            values |= dict.fromkeys(reached, report.values)
        self.trials[report.trial] = replace(
            trial,
            epoch=report.epoch,
            values=values,
            metrics=report.metrics,
            best_epoch=report.best_epoch,
            device_s=trial.device_s + report.device_s,
        )
        loss = math.inf if report.ending == "diverged" else self.ranking.loss(report.values)
        entered = [self._standings.enter(trial.number, rung, loss) for rung in reached]
        return entered[0] if entered else []

    def _settle_trial(self, report: Report, until: int, losses: list[float]) -> None:
        number = report.trial
        if report.ending == "halted":
            self._go_back(number)
        elif report.ending == "diverged":
            self._move(number, TrialState.DIVERGED, reason=report.reason or "the objective is not a number")
        elif report.ending == "infeasible":
            self._move(number, TrialState.STOPPED, reason=report.reason)
        elif report.ending in ("patience", "returned"):
            self._move(number, TrialState.COMPLETE, reason=report.reason or "trained to its own end")
        elif until >= self._policy.rungs(number)[-1]:
            self._move(number, TrialState.COMPLETE, reason="full budget")
        else:
            self._compare(number, until, losses)
        self._note_best(number)
        if number in self._cancelled:
            self._cancelled.discard(number)
            if not self.trials[number].state.is_ended:
                self._move(number, TrialState.CANCELLED, reason="stopped by a user")

    def _compare(self, number: int, until: int, losses: list[float]) -> None:
        trial = self.trials[number]
        verdict = self._policy.verdict(self.ranking.loss(trial.values[until]), losses)
        if verdict is Verdict.PAUSE and trial.saved_epoch < until:
            verdict = AshaStop(self.spec.rungs(), self.spec.budget.epochs.factor).verdict(
                self.ranking.loss(trial.values[until]), losses
            )
        if verdict is Verdict.STOP:
            self._move(number, TrialState.STOPPED, reason=f"not among the best at rung {until}")
            return
        if verdict is Verdict.CONTINUE:
            self._standings.leave(number, until)
            self._move(number, TrialState.WAITING)
        else:
            self._move(number, TrialState.PAUSED)

    def _break_off(self, key: str, cause: str, detail: str) -> None:
        """The advance ended without reports: its trials go back to their last checkpoint, or fail."""
        advance = self._close(key)
        for lane in advance.lanes if advance else ():
            trial = self.trials[lane.trial]
            attempts = {**trial.attempts, cause: trial.attempts.get(cause, 0) + 1}
            self.trials[lane.trial] = replace(trial, attempts=attempts)
            if lane.trial not in self._cancelled and attempts[cause] > getattr(self.spec.retries, cause, 0):
                self._fail(lane.trial, cause, detail, attempts[cause])
            else:
                self._go_back(lane.trial)

    def _go_back(self, number: int) -> None:
        """A running trial goes back to its last checkpoint, unless a user stopped it."""
        if number in self._cancelled:
            self._cancelled.discard(number)
            self._move(number, TrialState.CANCELLED, reason="stopped by a user")
        else:
            self._move(number, TrialState.WAITING)

    def _fail(self, number: int, cause: str, detail: str, attempts: int) -> None:
        self._move(number, TrialState.FAILED, reason=f"{cause} after {attempts} attempt(s): {detail}")
        self._note_best(number)
        self._failures += 1
        if self._failures >= self.spec.budget.failures:
            self._begin_closing(
                SweepState.FAILED,
                f"{self._failures} trials failed, the last one because of {cause}: {detail}",
            )

    def _close(self, key: str) -> Advance | None:
        advance = self._open.get(key)
        if not isinstance(advance, Advance):
            return None
        del self._open[key]
        self._open.pop(f"halt/{key}", None)
        if advance.gang in self.gangs:
            self.gangs[advance.gang] = None
        return advance

    # decisions

    def _begin_closing(self, state: SweepState, reason: str) -> None:
        if not self.is_ended and self._closing in (None, SweepState.INTERRUPTED):
            self._closing, self.reason = state, reason

    def _decide(self) -> list[Command]:
        if self._closing is not None:
            halts = self._halt_all()
            self._end_if_idle(self._closing)
            return halts
        commands: list[Command] = self._halt_cancelled()
        commands += self._assign()
        if not any(isinstance(command, Advance | Propose) for command in self._open.values()):
            commands += self._last_resort()
        return commands

    def _assign(self) -> list[Command]:
        idle = [gang for gang, key in self.gangs.items() if key is None]
        commands: list[Command] = []
        for gang in list(idle):
            number = next((n for n in self._waiting if self.trials[n].gang == gang), None)
            if number is not None:
                commands.append(self._advance(number, gang))
                idle.remove(gang)
        while idle:
            number = self._next()
            if number is None:
                break
            commands.append(self._advance(number, idle.pop(0)))
        proposing = sum(isinstance(command, Propose) for command in self._open.values())
        while proposing < len(idle) and self._can_go_on():
            commands.append(self._propose())
            proposing += 1
        return commands

    def _next(self) -> int | None:
        """Retries, then promotable trials, then new ones."""
        retry = next((n for n in self._waiting if self.trials[n].gang), None)
        if retry is not None:
            return retry
        promotable = self._standings.promotable(self._paused.__contains__)
        return promotable if promotable is not None else next(iter(self._waiting), None)

    def _last_resort(self) -> list[Command]:
        """Nothing is ready and nothing runs: one trial is still taken to the full budget, then the sweep ends."""
        if not self.gangs and (self._waiting or self._paused or self._can_go_on()):
            return []
        complete = any(trial.state is TrialState.COMPLETE for trial in self.trials.values())
        number = None if complete else self._standings.best_paused(self._paused.__contains__)
        if number is not None:
            idle = next(gang for gang, key in self.gangs.items() if key is None)
            return [self._advance(number, idle)]
        self.reason = self.reason or ("every point of the grid was tried" if self._exhausted else "budget spent")
        self._end_if_idle(SweepState.EXHAUSTED if self._exhausted else SweepState.FINISHED)
        return []

    def _can_go_on(self) -> bool:
        proposing = sum(isinstance(command, Propose) for command in self._open.values())
        return not self._exhausted and len(self.trials) + proposing < self.budget

    def _propose(self) -> Propose:
        number = len(self.trials) + sum(isinstance(command, Propose) for command in self._open.values())
        given: dict[str, Value] = dict(self._points.popleft()) if self._points else {}
        command = Propose(key=f"propose/{number}", number=number, given=given)
        self._open[command.key] = command
        return command

    def _advance(self, number: int, gang: str) -> Advance:
        trial = self.trials[number]
        if number in self._paused:
            self._standings.leave(number, trial.rung)
        self._advances += 1
        until = next(rung for rung in self._policy.rungs(number) if rung > trial.rung)
        lane = Lane(
            trial=number,
            parameters=dict(trial.parameters),
            seed=trial.seed,
            epoch=trial.saved_epoch,
            step=trial.saved_step,
            folder=trial.folder,
            reached=trial.epoch,
        )
        command = Advance(key=f"advance/{self._advances}", gang=gang, until=until, lanes=(lane,))
        self._open[command.key] = command
        self.gangs[gang] = command.key
        self._move(number, TrialState.RUNNING, gang=gang)
        return command

    def _halt_all(self) -> list[Command]:
        return [self._halt(command) for command in self.pending() if self._should_halt(command)]

    def _halt_cancelled(self) -> list[Command]:
        return [
            self._halt(command)
            for command in self.pending()
            if self._should_halt(command) and all(lane.trial in self._cancelled for lane in command.lanes)
        ]

    def _should_halt(self, command: Command) -> bool:
        return isinstance(command, Advance) and f"halt/{command.key}" not in self._open

    def _halt(self, advance: Command) -> Halt:
        assert isinstance(advance, Advance)
        halt = Halt(key=f"halt/{advance.key}", gang=advance.gang, advance=advance.key)
        self._open[halt.key] = halt
        return halt

    def _end_if_idle(self, state: SweepState) -> None:
        if any(isinstance(command, Advance) for command in self._open.values()):
            return
        self.state, self._closing = state, None
        if state is SweepState.INTERRUPTED:
            return
        self._open.clear()
        for trial in self._in(TrialState.PAUSED):
            self._move(trial.number, TrialState.STOPPED, reason=f"paused at rung {trial.rung} when the sweep ended")
        ending = TrialState.STOPPED if state is SweepState.FINISHED else TrialState.CANCELLED
        for trial in self._in(TrialState.WAITING):
            self._move(trial.number, ending, reason=f"waiting when the sweep ended: {self.reason}")

    # bookkeeping

    def _in(self, state: TrialState) -> list[Trial]:
        return [trial for trial in self.trials.values() if trial.state is state]

    def _move(self, number: int, state: TrialState, **changes: Any) -> None:
        trial = self.trials[number]
        if state not in TRANSITIONS.get(trial.state, frozenset()):
            raise LedgerError(f"trial {number} is {trial.state} and cannot become {state}: {trial}")
        self.trials[number] = replace(trial, state=state, **changes)
        self._waiting.pop(number, None)
        self._paused.discard(number)
        if state is TrialState.WAITING:
            self._waiting[number] = None
        elif state is TrialState.PAUSED:
            self._paused.add(number)

    def _note_best(self, number: int) -> None:
        """Compares one changed trial with the best; looks at all only if the best itself was lost."""
        best = self.best()
        contenders = [self.trials[number]] if best is None else [best, self.trials[number]]
        lost = best is not None and not self.ranking.is_candidate(best)
        new = self.ranking.best(self.trials.values() if lost else contenders)
        self._best = None if new is None else new.number


def replay(events: Iterable[Event]) -> Machine:
    """The machine after all `events`, the first of which must be `Launched`.

    Raises:
        LedgerError: if it is not, or if the events contradict each other.
    """
    iterator = iter(events)
    first = next(iterator, None)
    if not isinstance(first, Launched):
        raise LedgerError("the ledger of a sweep must begin with its launch")
    machine = Machine(SweepSpec.model_validate(first.spec))
    machine.handle(first)
    for event in iterator:
        machine.handle(event)
    return machine


def _with_divergence(report: Report) -> Report:
    """A value that is not finite is a divergence, whatever the worker called it."""
    if None in report.values and report.ending not in ("halted", "infeasible"):
        return report.model_copy(update={"ending": "diverged"})
    return report


_HANDLERS: Mapping[type, Callable[[Machine, Any], None]] = {
    Extended: Machine._on_extended,
    Resumed: Machine._on_resumed,
    GangReady: Machine._on_gang_ready,
    GangLost: Machine._on_gang_lost,
    Proposed: Machine._on_proposed,
    Exhausted: Machine._on_exhausted,
    Saved: Machine._on_saved,
    Advanced: Machine._on_advanced,
    AdvanceFailed: Machine._on_advance_failed,
    TimeSpent: Machine._on_time_spent,
    Enqueued: Machine._on_enqueued,
    StopRequested: Machine._on_stop_requested,
    InterruptRequested: Machine._on_interrupt_requested,
}

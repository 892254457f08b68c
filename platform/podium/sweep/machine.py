"""The machine: events in, commands out. State is a function of events, open commands of the state. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from podium.errors import LedgerError
from podium.spec.sweep import SweepSpec
from podium.sweep.agenda import Agenda
from podium.sweep.cohorts import Cohorts
from podium.sweep.demand import Demand
from podium.sweep.elastic import Elastic
from podium.sweep.judge import Judge
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Cause,
    Command,
    Enqueued,
    Event,
    Exhausted,
    Extended,
    GangLost,
    GangReady,
    InterruptRequested,
    Launched,
    Measured,
    Proposed,
    Resumed,
    Saved,
    StopRequested,
    TimeSpent,
)
from podium.sweep.outcomes import Outcomes
from podium.sweep.ranking import Ranking
from podium.sweep.roster import Roster
from podium.sweep.spending import Spending
from podium.sweep.supply import Supply
from podium.sweep.trial import Trial, TrialState


class SweepState(StrEnum):
    """Where a sweep stands."""

    RUNNING = "running"
    FINISHED = "finished"
    EXHAUSTED = "exhausted"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    FAILED = "failed"


EXTENDABLE = (SweepState.RUNNING, SweepState.FINISHED, SweepState.EXHAUSTED)
"""Where a larger budget alone has a sweep go on; any other end has to be resumed first."""


class Machine:
    """One sweep.

    Attributes:
        spec: Its settings.
        state: Where the sweep stands.
        reason: Why it ended, in words.
        spent_s: Seconds of running that `budget.wall_time` has counted.
        ranking: Compares its trials.
        cohorts: Which of its trials share stacks.
        spending: What they have taken of devices and money.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self.state = SweepState.RUNNING
        self.reason = ""
        self.spent_s = 0.0
        self.ranking = Ranking(spec)
        self._roster = Roster(self.ranking)
        self._judge = Judge(spec, self._roster)
        self._outcomes = Outcomes(spec, self._roster, self._judge)
        self.cohorts = Cohorts(spec, self._roster, self._judge)
        self._elastic = Elastic(spec, self._roster.trials)
        self._agenda = Agenda()
        self._supply = Supply(spec, self._roster, self.cohorts, self._agenda)
        self.spending = Spending(spec, self._roster)
        most_gangs = spec.resources.most_gangs
        self._demand = Demand(self._agenda, self._supply, self.cohorts, self.spending, most_gangs)
        self._closing: SweepState | None = None
        self._is_resumed = False

    def handle(self, event: Event) -> list[Command]:
        """Takes one event; returns the commands that follow. Stale and repeated events change nothing."""
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return []
        handler(self, event)
        was_resumed = isinstance(event, Resumed)
        commands = [] if self.is_ended else self._decide(may_end=not was_resumed)
        self._is_resumed |= was_resumed
        return commands

    def pending(self) -> list[Command]:
        """The open commands: what a driver that took over has to carry out."""
        return self._agenda.pending()

    @property
    def num_gangs_wanted(self) -> int:
        """For how many gangs there is work; as long as the sweep goes on, for one that comes."""
        if self._closing is not None or self.is_ended:
            return sum(key is not None for key in self.gangs.values())
        return max(1, self._demand.gangs(filter(self.affords, self._ready("")), may_draw=self._may_draw(1)))

    @property
    def budget(self) -> int:
        """How many trials it may have."""
        return self._supply.budget

    @property
    def trials(self) -> Mapping[int, Trial]:
        """By number, the newest snapshot of each trial."""
        return self._roster.trials

    @property
    def gangs(self) -> Mapping[str, str | None]:
        """By gang, the key of the advance it runs; None if idle."""
        return self._agenda.gangs

    @property
    def held(self) -> set[int]:
        """The waiting trials that no gang takes yet, because mates of theirs are still being drawn."""
        return self._agenda.held(self._roster.waiting)

    @property
    def num_coming(self) -> int:
        """For how many gangs new trials are being drawn."""
        return self._agenda.num_coming

    @property
    def is_ended(self) -> bool:
        """Whether no command will follow until the sweep is resumed or extended."""
        return self.state is not SweepState.RUNNING

    @property
    def is_closing(self) -> bool:
        """Whether the sweep waits only for running advances to end."""
        return self._closing is not None

    def affords(self, number: int) -> bool:
        """Whether a trial may go on to its next rung, as far as devices' time and money are limited."""
        return self.spending.affords(self._judge.next_rung(number), self._agenda.advances, self.trials[number])

    def best(self) -> Trial | None:
        """The best trial among those that reached the highest rung reached and meet the constraints.

        With several objectives: the one with the best first objective; `front` gives them all.
        """
        return self._roster.best()

    def front(self) -> list[Trial]:
        """The trials that no other beats in every objective."""
        return self.ranking.front(self.trials.values())

    def promotable(self) -> set[int]:
        """The paused trials that may go on as things stand, and the one that would if nothing else could."""
        last_resort = self._judge.best_paused()
        return {*self._judge.promotable(), *(() if last_resort is None else (last_resort,))}

    def count(self) -> dict[str, int]:
        """How many trials are in each state that has any."""
        counts: dict[str, int] = {}
        for trial in self.trials.values():
            counts[trial.state] = counts.get(trial.state, 0) + 1
        return counts

    # events

    def _on_launched(self, event: Launched) -> None:
        if event.fuses:
            self.cohorts.enable(event.least_mates)

    def _on_extended(self, event: Extended) -> None:
        """A sweep that has ended goes on, and so does one that was ending because its money was spent.

        What ends or has ended for another reason stays so until it is resumed: no stop, signal or failure is undone.
        """
        was_spent = self.spending.is_exhausted
        self._supply.budget = max(self.budget, event.trials)
        self.spending.extend({"gpu_hours": event.gpu_hours, "cost": event.cost})
        if self._closing is not None:
            if self._closing is SweepState.FINISHED and was_spent and not self.spending.is_exhausted:
                self._reopen()
        elif self._supply.num_left > 0 and (self._is_resumed or self.state in EXTENDABLE):
            self._reopen()

    def _on_resumed(self, event: Resumed) -> None:
        for advance in self._agenda.advances:
            self.spending.close(advance, is_lost=True)
        self._agenda.lose_all()
        for trial in self._roster.ones(TrialState.RUNNING):
            self._outcomes.go_back(trial.number)
        if self._closing is SweepState.INTERRUPTED:
            self._closing, self.reason = None, ""
        resumable = self.state in (SweepState.INTERRUPTED, SweepState.FAILED, SweepState.STOPPED)
        if resumable and (self.state is SweepState.INTERRUPTED or self._supply.num_left > 0):
            self._reopen()

    def _reopen(self) -> None:
        self.state, self.reason, self._closing, self._outcomes.failures = SweepState.RUNNING, "", None, 0

    def _on_gang_ready(self, event: GangReady) -> None:
        self._agenda.welcome(event.gang)
        self.spending.welcome(event)

    def _on_gang_lost(self, event: GangLost) -> None:
        key = self._agenda.lose(event.gang)
        if key is not None:
            detail = event.detail or f"its gang {event.gang} was lost"
            self._break_off(key, event.gang, event.cause, detail, event.log_tail)

    def _on_proposed(self, event: Proposed) -> None:
        self._supply.add(event)

    def _on_exhausted(self, event: Exhausted) -> None:
        self._supply.exhaust(event.number)

    def _on_saved(self, event: Saved) -> None:
        if self._roster.save(event):
            advance = next(each for each in self._agenda.advances if event.trial in [lane.trial for lane in each.lanes])
            self.spending.book(advance, [event.trial])

    def _on_advanced(self, event: Advanced) -> None:
        advance = self._agenda.end(event.key)
        if advance is None:
            return
        reports = sorted(event.reports, key=lambda report: report.trial)
        if [report.trial for report in reports] != sorted(lane.trial for lane in advance.lanes):
            raise LedgerError(f"{advance.key} trained other trials than those reported: {event}")
        self._elastic.note(advance, reports)
        self._roster.note_lanes(advance, event, self._elastic.efficiency(advance))
        reports = [self._judge.record(report, advance.until) for report in reports]
        self.spending.close(advance)
        for report in reports:
            self._outcomes.settle(report, advance.until)
        target = self.spec.budget.target
        best = self.best()
        loss = self.ranking.loss
        if target is not None and best is not None and loss(best.last_values) <= loss((target,)):
            self._begin_closing(SweepState.FINISHED, f"trial {best.number} reached the target {target:g}")

    def _on_advance_failed(self, event: AdvanceFailed) -> None:
        self._break_off(event.key, event.gang, event.cause, event.detail, event.log_tail)

    def _on_measured(self, event: Measured) -> None:
        self.cohorts.measure(event)

    def _on_time_spent(self, event: TimeSpent) -> None:
        self.spent_s += event.seconds
        self.spending.charge(self._agenda.advances, event.seconds)
        limit = self.spec.budget.wall_time
        if limit is not None and self.spent_s >= limit:
            self._begin_closing(SweepState.FINISHED, f"the wall time of {limit:g} s is spent")
        if self.spending.is_exhausted:
            self._begin_closing(SweepState.FINISHED, self.spending.reason)

    def _on_enqueued(self, event: Enqueued) -> None:
        self._supply.enqueue(event.parameters)

    def _on_stop_requested(self, event: StopRequested) -> None:
        reason = f"stopped by {event.by or 'a user'}"
        if event.trial is None:
            self._begin_closing(SweepState.STOPPED, reason)
        elif event.trial in self.trials:
            self._outcomes.cancel(event.trial, reason)

    def _on_interrupt_requested(self, event: InterruptRequested) -> None:
        self._begin_closing(SweepState.INTERRUPTED, "interrupted; it can be resumed")

    def _break_off(self, key: str, gang: str, cause: Cause, detail: str, log_tail: str) -> None:
        """The advance ended without reports, because of one of its gangs."""
        advance = self._agenda.end(key)
        if advance is None:
            return
        self.spending.close(advance, is_lost=True)
        for lane in advance.lanes:
            has_mates = len(advance.lanes) > 1
            self._outcomes.break_off(lane.trial, gang, cause, detail, log_tail, has_mates=has_mates)
        if cause == "out_of_memory":
            self.cohorts.narrow(advance.lanes[0].trial, len(advance.lanes))
        if cause == "storage":
            self._begin_closing(SweepState.INTERRUPTED, f"{detail}; it can be resumed")
        failures = self._outcomes.failures
        if failures >= self.spec.budget.failures:
            self._begin_closing(
                SweepState.FAILED, f"{failures} trials failed, the last one because of {cause}: {detail}"
            )

    # decisions

    def _decide(self, *, may_end: bool) -> list[Command]:
        """What follows now; a driver that has just taken over may still be about to extend the sweep."""
        if self._closing is not None:
            halts = self._halt(self._agenda.advances)
            self._end_if_idle(self._closing)
            return halts
        unwanted = [
            advance
            for advance in (self._agenda.advances if self._outcomes.has_cancelled else ())
            if all(self._outcomes.is_cancelled(lane.trial) for lane in advance.lanes)
        ]
        commands = [*self._halt(unwanted), *self._supply.ask_for_mates(), *self._assign()]
        if not self._agenda.advances and not self._agenda.num_proposing:
            commands += self._last_resort(may_end=may_end)
        return commands

    def _assign(self) -> list[Command]:
        """Free gangs take their own trial if it waits, then the first that is ready, then ask for new trials.

        Those for which there is nothing join the advances that begin.
        """
        commands: list[Advance] = []
        for gang in self._agenda.idle():
            waiting = (self.trials[number] for number in self._roster.waiting)
            own = next((trial.number for trial in waiting if trial.gang == gang and trial.avoids != gang), None)
            if own is not None and self.affords(own):
                commands.append(self._advance(own, gang))
        for gang in self._agenda.idle():
            lead = next(filter(self.affords, self._ready(gang)), None)
            if lead is None:
                break
            commands.append(self._advance(lead, gang))
        return [*self._lend(commands), *self._supply.ask(self._may_draw)]

    def _lend(self, advances: Sequence[Advance]) -> list[Advance]:
        """Gangs that no trial will need soon join the advances that begin."""
        if self._elastic.most == 1 or self._agenda.num_proposing:
            return list(advances)
        joined = self._elastic.lend(advances, self._agenda.idle())
        return [self._agenda.join(each, joined[each.key]) if each.key in joined else each for each in advances]

    def _ready(self, gang: str) -> Iterator[int]:
        """What a gang may take: retries, then promotable trials, then new ones, last what broke off on it before."""
        held = self.held
        waiting = [self.trials[number] for number in self._roster.waiting if number not in held]
        welcome = [trial for trial in waiting if trial.avoids != gang]
        yield from (trial.number for trial in welcome if trial.gang)
        yield from self._judge.promotable()
        yield from (trial.number for trial in welcome if not trial.gang)
        yield from (trial.number for trial in waiting if trial.avoids == gang)

    def _last_resort(self, *, may_end: bool) -> list[Command]:
        """Nothing is ready and nothing runs: one trial is still taken to the full budget, then the sweep ends.

        Without a gang it waits for one only if that will find work.
        """
        number = None if self._roster.has_complete else self._judge.best_paused()
        is_wanted = number is not None and self.affords(number)
        if not self.gangs and (is_wanted or self._has_work(may_end=may_end)):
            return []
        if number is not None and is_wanted:
            return [*self._lend([self._begin((number,), self._agenda.idle()[0])])]
        self.reason = "every point of the grid was tried" if self._supply.is_exhausted else "budget spent"
        state = SweepState.EXHAUSTED if self._supply.is_exhausted else SweepState.FINISHED
        if self.spending.is_limited and (self._supply.num_left > 0 or any(True for _ in self._ready(""))):
            state, self.reason = SweepState.FINISHED, self.spending.reason
        self._end_if_idle(state)
        return []

    def _has_work(self, *, may_end: bool) -> bool:
        """Whether a gang could take or ask for a trial; if the sweep may not end yet, whether any trial is left."""
        if not may_end:
            return self._roster.has_unfinished or self._supply.num_left > 0
        is_ready = any(map(self.affords, self._ready("")))
        return is_ready or (self._supply.num_left > 0 and self._may_draw(1))

    def _may_draw(self, count: int) -> bool:
        """Whether the sweep affords so many new trials, and every one that it has drawn and not begun yet."""
        if not self.spending.is_limited or self._supply.num_left == 0:
            return True
        held = self.held
        drawn = (number for number in self._roster.waiting if number not in held and not self.trials[number].gang)
        until = self._judge.first_rung(self._supply.next_number)
        return all(map(self.affords, drawn)) and self.spending.affords(until, self._agenda.advances, count=count)

    def _advance(self, lead: int, gang: str) -> Advance:
        """A trial goes on, with all mates that are ready; of a list, with a gang's share of it at most."""
        mates = self.cohorts.mates(lead, gang, self._ready(gang))
        if self._supply.is_listed:
            mates = mates[: -(-self.budget // len(self.gangs)) - 1]
        return self._begin((lead, *mates), gang)

    def _begin(self, numbers: Sequence[int], gang: str) -> Advance:
        until = self._judge.next_rung(numbers[0])
        for number in numbers:
            if self._roster.is_paused(number):
                self._judge.let_go(number)
            self._roster.move(number, TrialState.RUNNING, gang=gang)
        return self._agenda.begin(gang, until, tuple(map(self._roster.lane, numbers)))

    def _halt(self, advances: Iterable[Advance]) -> list[Command]:
        return [halt for advance in advances for halt in self._agenda.halt(advance)]

    def _begin_closing(self, state: SweepState, reason: str) -> None:
        if not self.is_ended and self._closing in (None, SweepState.INTERRUPTED):
            self._closing, self.reason = state, reason

    def _end_if_idle(self, state: SweepState) -> None:
        if self._agenda.advances:
            return
        self.state, self._closing, self._is_resumed = state, None, False
        if state is SweepState.INTERRUPTED:
            return
        self._agenda.clear()
        self._roster.end_all(TrialState.STOPPED if state is SweepState.FINISHED else TrialState.CANCELLED, self.reason)


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


_HANDLERS: Mapping[type, Callable[[Machine, Any], None]] = {
    Launched: Machine._on_launched,
    Extended: Machine._on_extended,
    Resumed: Machine._on_resumed,
    GangReady: Machine._on_gang_ready,
    GangLost: Machine._on_gang_lost,
    Proposed: Machine._on_proposed,
    Exhausted: Machine._on_exhausted,
    Saved: Machine._on_saved,
    Advanced: Machine._on_advanced,
    AdvanceFailed: Machine._on_advance_failed,
    Measured: Machine._on_measured,
    TimeSpent: Machine._on_time_spent,
    Enqueued: Machine._on_enqueued,
    StopRequested: Machine._on_stop_requested,
    InterruptRequested: Machine._on_interrupt_requested,
}

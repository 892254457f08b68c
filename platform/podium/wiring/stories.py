"""The story of a sweep or of one trial, as its ledger tells it: what happened, and what was decided on it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from podium.errors import LookupFailed
from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Chosen,
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
    Progress,
    Promoting,
    Proposed,
    Resumed,
    Saved,
    StopRequested,
    TestRead,
)
from podium.sweep.trial import TrialState
from podium.wiring import summaries


class Entry(NamedTuple):
    """One line of a story.

    Attributes:
        sequence: The event's place in the ledger.
        at: Seconds since 1970.
        trial: The trial's number; None if the line is about the sweep.
        text: What happened, or what followed from it.
    """

    sequence: int
    at: float
    trial: int | None
    text: str


def story(book: Book, sweep: str, trial: int | None = None) -> Iterator[Entry]:
    """The entries of a sweep, or of one of its trials, in order; of epochs only what they led to.

    Raises:
        LookupFailed: if there is no such sweep or trial.
    """
    machine = summaries.load(book, sweep)
    if trial is not None and trial not in machine.trials:
        raise LookupFailed(f"sweep {sweep!r} has no trial {trial}; it has {len(machine.trials)}, counted from 0")
    fresh = Machine(machine.spec)
    telling = Telling(fresh, lambda _, event: fresh.handle(event))
    entries = (entry for row in book.rows(sweep) for entry in telling.tell(row))
    return (entry for entry in entries if trial is None or entry.trial == trial)


Told = tuple[int | None, str]
"""The trial that a line is about, and the line."""


class Telling:
    """Tells the story of one sweep from its first row on, as its rows come.

    Args:
        machine: A machine that has taken no event.
        take: Lets it take the next event, of a time in seconds since 1970, and returns what it answers.
    """

    def __init__(self, machine: Machine, take: Callable[[float, Event], list[Command]]) -> None:
        self._machine, self._take = machine, take
        self._running: dict[str, list[int]] = {}
        self._states: dict[int, TrialState] = {}

    def tell(self, row: Row) -> Iterator[Entry]:
        """Lets the machine take the next row, and tells what happened and what followed."""
        for trial, text in self._tell(row.at, row.event):
            yield Entry(row.sequence, row.at, trial, text)

    def _tell(self, at: float, event: Event) -> Iterator[Told]:
        if isinstance(event, Progress):  # most events, of which only what they led to is told
            self._take(at, event)
            return
        machine, was_ended = self._machine, self._machine.is_ended
        concerned = self._concerned(event)
        commands = self._take(at, event)
        yield from _told(event)
        if isinstance(event, GangLost | AdvanceFailed):
            for number in concerned:
                count = machine.trials[number].attempts.get(event.cause, 0)
                yield number, f"broke off on gang {event.gang} ({event.cause}, {count} so far): {event.detail}"
                if len(concerned) > 1 and machine.trials[number].alone:
                    yield number, "goes on alone: nobody knows which lane was to blame"
        yield from self._changed(machine.trials if machine.is_ended else concerned)
        for command in commands:
            if isinstance(command, Advance):
                yield from self._begun(command)
        if machine.is_ended and not was_ended:
            yield None, f"the sweep is {machine.state}: {machine.reason}"

    def _concerned(self, event: Event) -> list[int]:
        """The trials whose state an event may change."""
        machine = self._machine
        match event:
            case Advanced(key=key) | AdvanceFailed(key=key):
                return self._running.pop(key, [])
            case GangLost(gang=gang):
                return self._running.pop(machine.gangs.get(gang) or "", [])
            case Resumed():
                return [number for number, state in self._states.items() if state is TrialState.RUNNING]
            case StopRequested(trial=int(number)) if number in machine.trials:
                return [number]
        return []

    def _changed(self, numbers: Iterable[int]) -> Iterator[Told]:
        for number in numbers:
            trial = self._machine.trials[number]
            if self._states.get(number) is not trial.state and trial.state is not TrialState.RUNNING:
                self._states[number] = trial.state
                yield number, f"is {trial.state}" + (f": {trial.reason}" if trial.reason else "")

    def _begun(self, command: Advance) -> Iterator[Told]:
        self._running[command.key] = [lane.trial for lane in command.lanes]
        for index, lane in enumerate(command.lanes):
            self._states[lane.trial] = TrialState.RUNNING
            start = f"from {_place(lane.epoch, lane.step)}" if lane.folder else "from the beginning"
            cohort = f", as {summaries.place_in(command.key, index, len(command.lanes))}"
            among = cohort if len(command.lanes) > 1 else ""
            yield lane.trial, f"trains on {_gangs(command)} until epoch {command.until}, {start}{among}"


def _gangs(command: Advance) -> str:
    first, *joined = command.gangs
    return f"gang {first}, joined by {', '.join(joined)}," if joined else f"gang {first}"


def _told(event: Event) -> list[Told]:
    """What an event says, and of which trial."""
    teller = _TELLERS.get(type(event))
    return [] if teller is None else teller(event)


def _tell_launched(event: Launched) -> list[Told]:
    budget = event.spec["budget"]
    return [(None, f"launched: {event.spec['task']}, {budget['trials']} trials")]


def _tell_advanced(event: Advanced) -> list[Told]:
    told: list[Told] = []
    for report in event.reports:
        values = ", ".join("not a number" if value is None else f"{value:.5g}" for value in report.values)
        ending = "" if report.ending == "until" else f" ({report.ending}{': ' if report.reason else ''}{report.reason})"
        stack = f", in a stack of {report.width}" if report.width > 1 else ""
        told.append((report.trial, f"reached epoch {report.epoch}{stack}{ending}: {values or 'no value'}"))
    return told


def _tell_measured(event: Measured) -> list[Told]:
    rates = ", ".join(f"{width}: {rate:.4g}" for width, rate in sorted(event.rates.items()))
    tried = f" (samples a second by width: {rates})" if rates else ""
    if event.reason:
        return [(event.trial, f"is of a kind that cannot be stacked: {event.reason}")]
    return [(event.trial, f"is of a kind whose best width is {event.width}{tried}")]


def _tell_gang_lost(event: GangLost) -> list[Told]:
    return [(None, f"gang {event.gang} was lost ({event.cause}): {event.detail}")]


def _tell_stop(event: StopRequested) -> list[Told]:
    return [(event.trial, f"{_who(event)} wants the end of " + ("the sweep" if event.trial is None else "it"))]


def _tell_promoting(event: Promoting) -> list[Told]:
    return [(None, f"{event.by} has finalists of sweep {event.sweep} trained again, for model {event.model}")]


def _tell_extended(event: Extended) -> list[Told]:
    limits = {"GPU hours": event.gpu_hours, "of cost": event.cost}
    raised = [f"{event.trials} trials", *(f"{limit:g} {name}" for name, limit in limits.items() if limit is not None)]
    return [(None, f"{_who(event)} raised the budget to {', '.join(raised)}")]


def _who(event: Enqueued | Extended | StopRequested) -> str:
    return event.by or "a user"


_TELLERS: Mapping[type, Callable[[Any], list[Told]]] = {
    Launched: _tell_launched,
    Extended: _tell_extended,
    Resumed: lambda event: [(None, f"{event.holder} took over as driver; every gang before it is gone")],
    GangReady: lambda event: [(None, f"gang {event.gang} is ready: {event.devices}")],
    GangLost: _tell_gang_lost,
    Proposed: lambda event: [(event.number, f"proposed: {_settings(event.parameters)}")],
    Exhausted: lambda event: [(None, "the proposer has nothing more to propose")],
    Saved: lambda event: [(event.trial, f"saved at {_place(event.epoch, event.step)}: {event.folder}")],
    Advanced: _tell_advanced,
    Measured: _tell_measured,
    Promoting: _tell_promoting,
    Chosen: lambda event: [(event.trials[0], f"was chosen, and is version {event.version}")],
    TestRead: lambda event: [(event.trial, f"has read the test split, {event.samples} samples, for {event.model}")],
    Enqueued: lambda event: [(None, f"{_who(event)} wants this tried: {_settings(event.parameters)}")],
    StopRequested: _tell_stop,
    InterruptRequested: lambda event: [(None, "the driver was asked to leave")],
}


def _settings(parameters: Mapping[str, Any]) -> str:
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in parameters.items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _place(epoch: int, step: int) -> str:
    return f"epoch {epoch}" + (f" and {step} steps" if step else "")

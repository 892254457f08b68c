"""The timeline: what each gang did in every second that it was there, as the ledger tells it. Pure.

Every second of a gang belongs to one span or to one pause; of a span, to training or to what it waited for meanwhile.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Command,
    Event,
    GangLost,
    GangReady,
    Launched,
    Progress,
    Resumed,
    Saved,
)
from podium.sweep.spans import Ending, Pause, Piece, Row, Span, Use

if TYPE_CHECKING:
    from podium.sweep.machine import Machine


@dataclass
class _Running:
    """An open advance: its beginning, and when its progress and its checkpoints were last heard of."""

    command: Advance
    begin: float
    told: float | None = None
    saved: float | None = None


@dataclass
class _Idle:
    """Since when a gang is idle for one cause."""

    since: float
    use: Use


class Timeline:
    """Follows a sweep row by row, at little more cost than its machine.

    What gangs waited for is told by the ledger as far as their events say so: ledgers of before do not tell of data,
    and of checkpoints only the one at the end of each advance, as the time after its last progress.

    Args:
        machine: A machine that has taken no event.

    Attributes:
        machine: The state after the rows so far.
        rows: The gangs, in the order in which they came.
        waits: When there was no gang at all, and why.
        begin: When the sweep was launched, in seconds since 1970.
        at: How far the ledger goes.
        tells_data: Whether any advance has told how long it waited for data.
    """

    def __init__(self, machine: "Machine") -> None:
        self.machine = machine
        self.rows: list[Row] = []
        self.waits: list[Pause] = []
        self.begin = self.at = 0.0
        self.tells_data = False
        self._live: dict[str, Row] = {}
        self._idle: dict[str, _Idle] = {}
        self._running: dict[str, _Running] = {}
        self._of_trial: dict[int, str] = {}
        self._session, self._is_first_wave = 0.0, True
        self._alone_since: float | None = None
        self._alone = Use.START_UP
        self._closed = dict.fromkeys(Use, 0.0)

    def take(self, at: float, event: Event) -> list[Command]:
        """The next row of the ledger: lets the machine take its event, and returns what that answers."""
        was_ended = self.machine.is_ended
        commands = self.machine.handle(event)
        before, self.at = self.at, max(at, self.at)
        if isinstance(event, Progress | Saved):
            self._hear(event)
            return commands
        if isinstance(event, Resumed):
            self._break(before)
        elif was_ended and not self.machine.is_ended:
            self._open_session()
        self._follow(event)
        for command in commands:
            if isinstance(command, Advance):
                self._start(command)
        if self.machine.is_ended and not was_ended:
            self._part(self.at)
            self._leave_alone(Use.AWAY)
        self._name_causes()
        return commands

    def _follow(self, event: Event) -> None:
        match event:
            case Launched():
                self.begin = self.at
                self._open_session()
            case GangReady():
                self._welcome(event)
            case GangLost(gang=gang):
                self._lose(gang)
            case Advanced(key=key):
                self._end(key, "reported", event)
            case AdvanceFailed(key=key):
                self._end(key, "broke off")

    @property
    def pieces(self) -> Iterator[tuple[Row, list[Piece]]]:
        """Each gang with all its pieces in order, the open one as far as the ledger goes."""
        for row in self.rows:
            last = self._last(row.gang) if row.end is None else None
            yield row, row.pieces if last is None else [*row.pieces, last]

    @property
    def all_waits(self) -> list[Pause]:
        """The times without any gang, the open one as far as the ledger goes; after its end a sweep waits no more."""
        last = self._waited(self.at)
        return self.waits if last is None or self.machine.is_ended else [*self.waits, last]

    @property
    def end(self) -> float:
        """Until when there was a gang, or a wait for one, in seconds since 1970."""
        ends = (self.at if row.end is None else row.end for row in self.rows)
        return max([self.begin, *ends, *(wait.end for wait in self.all_waits)])

    @property
    def totals(self) -> dict[Use, float]:
        """Seconds of gangs by what they went into; a time without any gang counts as one gang's."""
        totals = dict(self._closed)
        open_pieces = [last for gang in self._live if (last := self._last(gang)) is not None]
        for piece in (*open_pieces, *self.all_waits[len(self.waits) :]):
            for use, seconds in piece.uses.items():
                totals[use] += seconds
        return totals

    # sessions of a driver

    def _open_session(self) -> None:
        self._leave_alone(Use.START_UP)
        self._session, self._is_first_wave = self.at, True

    def _break(self, before: float) -> None:
        """A driver took over; what the one before it knew last is the last row but this one."""
        now, self.at = self.at, before
        self._part(before)
        self._leave_alone(Use.AWAY)
        self.at = now
        self._open_session()

    def _leave_alone(self, why: Use) -> None:
        """From now on there is no gang, for another reason."""
        self._close_wait(self.at)
        self._alone_since, self._alone = self.at, why

    def _waited(self, until: float) -> Pause | None:
        if self._alone_since is None or self._live or until <= self._alone_since:
            return None
        return Pause(self._alone_since, until, self._alone)

    def _close_wait(self, until: float) -> None:
        if (wait := self._waited(until)) is not None:
            self.waits.append(wait)
            self._count(wait)
        self._alone_since = None

    def _part(self, at: float) -> None:
        """Every gang is gone."""
        for key in list(self._running):
            self._close(key, "lost", at)
        for gang in list(self._live):
            self._dismiss(gang, at)

    # gangs

    def _welcome(self, event: GangReady) -> None:
        """A gang that says how long it took began then; others with the driver, if they came before any had worked."""
        gang = event.gang
        if gang in self._live or gang not in self.machine.gangs or self.machine.is_ended:
            return
        waited_s, startup_s = event.waited_s or 0.0, event.startup_s
        begin = self._session if startup_s is None and self._is_first_wave else self.at - waited_s - (startup_s or 0.0)
        begin = max(begin, self._session)
        row = self._appear(gang, begin)
        placed = min(begin + waited_s, self.at)
        self._add(row, Pause(begin, placed, Use.GANG))
        self._add(row, Pause(placed, self.at, Use.START_UP))

    def _appear(self, gang: str, begin: float) -> Row:
        self._close_wait(begin)
        row = Row(gang, begin)
        self.rows.append(row)
        self._live[gang], self._idle[gang] = row, _Idle(self.at, Use.NOTHING)
        return row

    def _lose(self, gang: str) -> None:
        if gang not in self._live:
            return
        key = next((key for key, running in self._running.items() if gang in running.command.gangs), None)
        if key is not None:
            self._close(key, "lost", self.at)
        self._dismiss(gang, self.at)
        self._is_first_wave = False
        if not self._live:
            self._leave_alone(Use.GANG)

    def _dismiss(self, gang: str, at: float) -> None:
        row = self._live.pop(gang)
        self._add(row, self._pause(gang, at))
        self._idle.pop(gang, None)
        row.end = at
        if row.begin == at:
            self.rows.remove(row)

    # advances

    def _start(self, command: Advance) -> None:
        self._running[command.key] = _Running(command, self.at)
        for lane in command.lanes:
            self._of_trial[lane.trial] = command.key
        for gang in command.gangs:
            row = self._live.get(gang) or self._appear(gang, self.at)  # a driver that is about to take over
            self._add(row, self._pause(gang, self.at))
            del self._idle[gang]

    def _hear(self, event: Progress | Saved) -> None:
        if isinstance(event, Saved):
            if (running := self._running.get(self._of_trial.get(event.trial, ""))) is not None:
                running.saved = self.at
        elif (running := self._running.get(self.machine.gangs.get(event.gang) or "")) is not None:
            running.told = self.at

    def _end(self, key: str, ending: Ending, told: Advanced | None = None) -> None:
        if key in self._running:
            self._is_first_wave = False
            self._close(key, ending, self.at, told)

    def _close(self, key: str, ending: Ending, at: float, told: Advanced | None = None) -> None:
        running = self._running.pop(key)
        if told is not None and told.data_s is not None:
            self.tells_data = True
        span = _span(running, ending, at, told)
        for gang in running.command.gangs:
            self._add(self._live[gang], span)
            self._idle[gang] = _Idle(at, Use.NOTHING)

    # pieces

    def _add(self, row: Row, piece: Piece) -> None:
        if piece.end > piece.begin or isinstance(piece, Span):
            row.pieces.append(piece)
            self._count(piece)

    def _count(self, piece: Piece) -> None:
        for use, seconds in piece.uses.items():
            self._closed[use] += seconds

    def _pause(self, gang: str, until: float) -> Pause:
        idle = self._idle.get(gang) or _Idle(until, Use.NOTHING)
        return Pause(idle.since, until, idle.use)

    def _last(self, gang: str) -> Piece | None:
        """What a gang that is there does now."""
        if gang in self._idle:
            pause = self._pause(gang, self.at)
            return pause if pause.end > pause.begin else None
        key = self.machine.gangs[gang]
        return None if key is None else _span(self._running[key], "open", self.at, None)

    def _name_causes(self) -> None:
        """Idle gangs wait for as many proposals as are on their way; there is nothing to do for the others."""
        num_coming = 0 if self.machine.is_closing else self.machine.num_coming
        for place, (gang, idle) in enumerate(self._idle.items()):
            use = Use.PROPOSALS if place < num_coming else Use.NOTHING
            if idle.use is not use:
                self._add(self._live[gang], Pause(idle.since, self.at, idle.use))
                self._idle[gang] = _Idle(self.at, use)


def _span(running: _Running, ending: Ending, at: float, told: Advanced | None) -> Span:
    """An advance until `at`. Where its end does not tell, what came after its last progress was the checkpoint."""
    command, begin = running.command, running.begin
    length = at - begin
    checkpoint_s = data_s = redone_s = 0.0
    if told is not None:
        tail_s = 0.0 if running.told is None else at - running.told
        checkpoint_s = min(tail_s if told.checkpoint_s is None else told.checkpoint_s, length)
        data_s = min(told.data_s or 0.0, length - checkpoint_s)
    elif ending != "open":
        redone_s = at - (begin if running.saved is None else running.saved)
    trials, first = tuple(lane.trial for lane in command.lanes), command.lanes[0]
    return Span(command.key, trials, first.epoch, command.until, begin, at, ending, data_s, checkpoint_s, redone_s)

"""Fault injectors, seeded: gangs that die, events that come late, twice or out of order, a driver that is killed."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Cause,
    Event,
    Exhausted,
    GangReady,
    Halt,
    Propose,
    Proposed,
    Request,
    Saved,
)
from podium.sweep.protocols import Executor, Ledger, Proposer
from podium.sweep.trial import Trial

FAULTS = ("lose", "repeat", "fail", "none")
LOSSES: tuple[Cause, ...] = ("worker_lost", "hang", "out_of_memory", "preempted")
FAILURES: tuple[Cause, ...] = ("exception", "out_of_memory", "storage")


class ChaosExecutor:
    """A simulated executor whose gangs die at random moments and whose events arrive late and more than once.

    Events of one gang keep their order; those of different gangs may overtake each other.

    Args:
        inner: What runs the advances.
        seed: Where the faults come from.
        faults: How many there are; after these everything goes well.
    """

    def __init__(self, inner: SimulatedExecutor, seed: int, faults: int) -> None:
        self._inner, self._random, self._faults = inner, np.random.default_rng(seed), faults
        self._lines: dict[str, deque[Event]] = {}
        self._running: dict[str, Advance] = {}
        self._living: list[str] = []
        self._dead: set[str] = set()
        self._told: list[Event] = []

    def start(self) -> None:
        """Starts the gangs."""
        self._inner.start()

    def advance(self, command: Advance) -> None:
        """Begins an advance, unless the gang is dead and the driver does not know yet."""
        if command.gang in self._dead:
            return
        self._running[command.gang] = command
        self._inner.advance(command)

    def halt(self, command: Halt) -> None:
        """Ends an advance."""
        self._inner.halt(command)

    def expect(self, gangs: int) -> None:
        """Passes on how much there is to do."""
        self._inner.expect(gangs)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """Some of what has happened, and perhaps a fault."""
        if not self._lines or self._random.random() < 0.6:
            self._line_up(self._inner.wait(timeout_s))
        news: list[Event] = []
        for _ in range(int(self._random.integers(1, 5))):
            if self._lines:
                news.append(self._deliver())
        return news + self._misbehave()

    def close(self) -> None:
        """Ends the gangs."""
        self._inner.close()

    def _line_up(self, events: Iterable[Event]) -> None:
        for event in events:
            gang = self._gang_of(event)
            self._lines.setdefault(gang, deque()).append(event)
            if isinstance(event, Advanced):
                del self._running[gang]

    def _gang_of(self, event: Event) -> str:
        if isinstance(event, Saved):
            return next(gang for gang, advance in self._running.items() if event.trial in _trials(advance))
        gang = getattr(event, "gang", "")
        assert isinstance(gang, str)
        return gang

    def _deliver(self) -> Event:
        gang = list(self._lines)[int(self._random.integers(len(self._lines)))]
        event = self._lines[gang].popleft()
        if not self._lines[gang]:
            del self._lines[gang]
        if isinstance(event, GangReady):
            self._living.append(gang)
        self._told.append(event)
        return event

    def _misbehave(self) -> list[Event]:
        if self._faults == 0:
            return []
        match FAULTS[int(self._random.integers(len(FAULTS)))]:
            case "lose" if self._living:
                self._faults -= 1
                self._lose(self._living[int(self._random.integers(len(self._living)))])
            case "repeat" if self._told:
                self._faults -= 1
                return [self._told[int(self._random.integers(len(self._told)))]]
            case "fail":
                self._fail_one()
        return []

    def _lose(self, gang: str) -> None:
        """Kills a gang, perhaps after checkpoints of some lanes between two rungs, perhaps with what was not told."""
        self._line_up(self._inner.wait(0))
        if self._random.random() < 0.5:
            self._lines.pop(gang, None)
        advance = self._running.pop(gang, None)
        if advance is not None and self._random.random() < 0.5:
            first = advance.lanes[0]
            epoch, step = int(self._random.integers(first.epoch, advance.until + 1)), first.step + 1
            told = _trials(advance)[: int(self._random.integers(1, len(advance.lanes) + 1))]
            self._lines.setdefault(gang, deque()).extend(
                Saved(trial=trial, epoch=epoch, step=step, folder=f"{trial}/{epoch}+{step}") for trial in told
            )
        self._living.remove(gang)
        self._dead.add(gang)
        self._inner.lose(gang, LOSSES[int(self._random.integers(len(LOSSES)))])
        self._line_up(self._inner.wait(0))

    def _fail_one(self) -> None:
        """Lets an advance that has ended, and not told so, have failed instead."""
        for line in self._lines.values():
            ended = line[-1]
            if isinstance(ended, Advanced):
                self._faults -= 1
                line.pop()
                cause = FAILURES[int(self._random.integers(len(FAILURES)))]
                line.append(AdvanceFailed(key=ended.key, gang=ended.gang, cause=cause, detail="chaos"))
                return


def _trials(advance: Advance) -> list[int]:
    return [lane.trial for lane in advance.lanes]


class DriverKilled(Exception):
    """The process that drives the sweep is dead; nothing of it remains but the ledger."""


class Killer:
    """Kills the driver at the n-th append or command, counted from 0; never if `at` is None."""

    def __init__(self, at: int | None) -> None:
        self._at, self.points = at, 0

    def strike(self) -> None:
        """One more point has been reached.

        Raises:
            DriverKilled: if this is the one.
        """
        self.points += 1
        if self._at is not None and self.points > self._at:
            raise DriverKilled


class FragileLedger:
    """A ledger whose driver may die right after an append."""

    def __init__(self, inner: Ledger, killer: Killer) -> None:
        self._inner, self._killer = inner, killer

    def events(self) -> Iterable[Event]:
        """All events, in order."""
        return self._inner.events()

    def append(self, events: Sequence[Event]) -> int:
        """Appends, then may kill."""
        sequence = self._inner.append(events)
        self._killer.strike()
        return sequence

    def requests(self) -> Sequence[Request]:
        """What users asked for."""
        return self._inner.requests()

    def renew(self) -> None:
        """Keeps the lease."""
        self._inner.renew()


class FragileExecutor:
    """An executor whose driver may die right after a command."""

    def __init__(self, inner: Executor, killer: Killer) -> None:
        self._inner, self._killer = inner, killer

    def start(self) -> None:
        """Starts the gangs."""
        self._inner.start()

    def advance(self, command: Advance) -> None:
        """Begins an advance, then may kill."""
        self._inner.advance(command)
        self._killer.strike()

    def halt(self, command: Halt) -> None:
        """Ends an advance, then may kill."""
        self._inner.halt(command)
        self._killer.strike()

    def expect(self, gangs: int) -> None:
        """Passes on how much there is to do."""
        self._inner.expect(gangs)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What has happened."""
        return self._inner.wait(timeout_s)

    def close(self) -> None:
        """Ends the gangs."""
        self._inner.close()


class FragileProposer:
    """A proposer whose driver may die right after a proposal."""

    def __init__(self, inner: Proposer, killer: Killer) -> None:
        self._inner, self._killer = inner, killer

    def propose(self, command: Propose, trials: Mapping[int, Trial]) -> Proposed | Exhausted:
        """Proposes, then may kill."""
        proposed = self._inner.propose(command, trials)
        self._killer.strike()
        return proposed

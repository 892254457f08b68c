"""The conformance suite of ledgers, and a ledger in memory for simulations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import pytest

from podium.errors import LeaseLost
from podium.sweep.messages import (
    EVENT,
    Advanced,
    AdvanceFailed,
    Chosen,
    Crowned,
    Crowning,
    Enqueued,
    Event,
    Exhausted,
    Extended,
    GangLost,
    GangReady,
    InterruptRequested,
    Judged,
    LaneProgress,
    Launched,
    Measured,
    Progress,
    Promoting,
    Proposed,
    Report,
    Request,
    Resumed,
    Saved,
    StopRequested,
    TestRead,
    TimeSpent,
)


class Held(Protocol):
    """A ledger whose lease can be given back."""

    def events(self) -> Iterable[Event]:
        """All events, in order."""
        ...

    def append(self, events: Sequence[Event]) -> int:
        """Appends in one transaction; returns the last sequence number."""
        ...

    def requests(self) -> Sequence[Request]:
        """What users asked for since the last call."""
        ...

    def renew(self) -> None:
        """Keeps the lease."""
        ...

    def release(self) -> None:
        """Gives the lease back."""
        ...


class Shelf(Protocol):
    """Where the ledgers of several sweeps are kept: `Book`, or one like it."""

    def hold(self, sweep: str) -> Held:
        """Takes the lease of a sweep."""
        ...

    def request(self, sweep: str, request: Request) -> None:
        """Leaves a request for the sweep's driver."""
        ...


class MemoryBook:
    """Ledgers that are gone with the process."""

    def __init__(self) -> None:
        self.stored: dict[str, list[Event]] = {}
        self.asked: dict[str, list[Request]] = {}
        self.holders: dict[str, MemoryLedger | None] = {}

    def hold(self, sweep: str) -> "MemoryLedger":
        """Takes the lease of a sweep.

        Raises:
            LeaseLost: if another holder has not released it.
        """
        if self.holders.get(sweep) is not None:
            raise LeaseLost(f"sweep {sweep!r} is already driven by this process")
        ledger = MemoryLedger(self, sweep)
        self.holders[sweep] = ledger
        return ledger

    def request(self, sweep: str, request: Request) -> None:
        """Leaves a request for the sweep's driver."""
        self.asked.setdefault(sweep, []).append(request)


class MemoryLedger:
    """The events of one sweep of a `MemoryBook`."""

    def __init__(self, book: MemoryBook, sweep: str) -> None:
        self._book, self._sweep, self._handed_out = book, sweep, 0
        self._events = book.stored.setdefault(sweep, [])

    def events(self) -> list[Event]:
        """All events, in order."""
        return list(self._events)

    def append(self, events: Sequence[Event]) -> int:
        """Appends, and forgets the requests handed out before; returns the last sequence number.

        Raises:
            LeaseLost: if another holder has taken over; nothing is written.
        """
        self.renew()
        self._events += events
        del self._book.asked.get(self._sweep, [])[: self._handed_out]
        self._handed_out = 0
        return len(self._events) - 1

    def requests(self) -> list[Request]:
        """What users asked for since the last call; forgotten with the next `append`."""
        asked = self._book.asked.get(self._sweep, [])
        new = asked[self._handed_out :]
        self._handed_out = len(asked)
        return new

    def renew(self) -> None:
        """Keeps the lease.

        Raises:
            LeaseLost: if another holder has taken over.
        """
        holder = self._book.holders[self._sweep]
        if holder is not None and holder is not self:
            raise LeaseLost(f"sweep {self._sweep!r} was taken over; nothing more is written here")

    def release(self) -> None:
        """Gives the lease back."""
        if self._book.holders[self._sweep] is self:
            self._book.holders[self._sweep] = None


ONE_OF_EACH: tuple[Event, ...] = (
    Launched(identity="i", spec={"sweep": "s", "nested": {"rate": 1e-4, "list": [1, "ä", None]}}, text="sweep: s\n"),
    Extended(trials=64),
    Resumed(holder="process 7"),
    GangReady(gang="1-0", devices="node a, GPU 0"),
    GangLost(gang="1-0", cause="worker_lost", detail="killed"),
    Proposed(number=0, parameters={"rate": 0.1 + 0.2, "sizes": (3, 5), "flag": True, "none": None, "n": 3}),
    Exhausted(number=1),
    Progress(gang="1-0", lanes=(LaneProgress(trial=0, epoch=1, metrics={"score": float("nan"), "loss": 1 / 3}),)),
    Saved(trial=0, epoch=1, step=2, folder="checkpoints/s/0/1"),
    Advanced(
        key="advance/1",
        gang="1-0",
        reports=(
            Report(trial=0, epoch=1, values=(float("inf"), 5e-324), ending="diverged", reason="\u2028 'x' \"y\""),
        ),
    ),
    AdvanceFailed(key="advance/1", gang="1-0", cause="exception", detail="E", log_tail="a\nb"),
    Measured(trial=0, width=8, rates={1: 250.5, 8: 1e3}),
    TimeSpent(seconds=1.5),
    Promoting(sweep="s", model="m", finalists=(3, 1), seeds=5, settings={"ship": "best"}, by="ada"),
    Chosen(finalist=3, trials=(2,), version="4"),
    Judged(promotion="p", version="4", champion="", verdict="promoted", reasons=("better",), evidence={"p": 0.01}),
    Crowning(version="4", previous="3", how="promotion", promotion="p", by="ada"),
    Crowned(version="4"),
    TestRead(data="0f" * 32, samples=750, trial=0, model="digits"),
    Enqueued(parameters={"rate": 0.5}),
    StopRequested(trial=3),
    StopRequested(),
    InterruptRequested(),
)


class LedgerSuite(ABC):
    """What every ledger keeps. Subclass it, name the class `Test…`, and give it a shelf."""

    @pytest.fixture
    @abstractmethod
    def shelf(self) -> Shelf:
        """An empty shelf."""

    @pytest.fixture
    def make_holder(self, shelf: Shelf) -> Callable[[], Held]:
        """Takes the lease of the sweep `s`."""
        return lambda: shelf.hold("s")

    def test_is_empty_at_first(self, make_holder: Callable[[], Held]) -> None:
        assert list(make_holder().events()) == []

    def test_gives_back_every_kind_of_event(self, make_holder: Callable[[], Held]) -> None:
        ledger = make_holder()
        assert ledger.append(ONE_OF_EACH) == len(ONE_OF_EACH) - 1
        expected = [EVENT.validate_json(event.model_dump_json()) for event in ONE_OF_EACH]
        assert list(ledger.events()) == expected
        assert [type(event) for event in ledger.events()] == [type(event) for event in ONE_OF_EACH]

    def test_numbers_events_on_over_appends(self, make_holder: Callable[[], Held]) -> None:
        ledger = make_holder()
        assert ledger.append([TimeSpent(seconds=1)]) == 0
        assert ledger.append([TimeSpent(seconds=2), TimeSpent(seconds=3)]) == 2
        assert ledger.append([]) == 2
        assert list(ledger.events()) == [TimeSpent(seconds=second) for second in (1, 2, 3)]

    def test_keeps_sweeps_apart(self, shelf: Shelf) -> None:
        one, other = shelf.hold("s"), shelf.hold("t")
        one.append([Exhausted(number=1)])
        shelf.request("t", StopRequested())
        assert list(other.events()) == []
        assert list(one.requests()) == []

    def test_refuses_a_second_holder(self, make_holder: Callable[[], Held]) -> None:
        make_holder()
        with pytest.raises(LeaseLost, match="'s' is already driven by"):
            make_holder()

    def test_goes_on_after_a_release(self, make_holder: Callable[[], Held]) -> None:
        first = make_holder()
        first.append([Exhausted(number=1)])
        first.release()
        second = make_holder()
        assert second.append([Exhausted(number=2)]) == 1
        assert list(second.events()) == [Exhausted(number=1), Exhausted(number=2)]

    def test_takes_nothing_from_a_stale_holder(self, make_holder: Callable[[], Held]) -> None:
        stale = make_holder()
        stale.release()
        new = make_holder()
        with pytest.raises(LeaseLost, match="taken over"):
            stale.append([Exhausted(number=1)])
        stale.release()
        assert new.append([Exhausted(number=2)]) == 0
        with pytest.raises(LeaseLost):
            make_holder()

    def test_hands_out_a_request_once(self, shelf: Shelf, make_holder: Callable[[], Held]) -> None:
        ledger = make_holder()
        asked: list[Request] = [StopRequested(trial=1), Enqueued(parameters={"x": 0.5})]
        shelf.request("s", asked[0])
        shelf.request("s", asked[1])
        assert list(ledger.requests()) == asked
        assert list(ledger.requests()) == []

    def test_forgets_requests_with_the_append_alone(self, shelf: Shelf, make_holder: Callable[[], Held]) -> None:
        crashed = make_holder()
        shelf.request("s", StopRequested(trial=1))
        assert list(crashed.requests()) == [StopRequested(trial=1)]
        crashed.release()
        ledger = make_holder()
        (request,) = ledger.requests()
        shelf.request("s", StopRequested(trial=2))
        ledger.append([request])
        ledger.release()
        assert list(make_holder().requests()) == [StopRequested(trial=2)]

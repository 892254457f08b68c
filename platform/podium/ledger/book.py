"""The book of all sweeps: reading for everybody, appending for the one who holds a sweep's lease."""

import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from podium.errors import LeaseLost, LookupFailed, StorageFault
from podium.ledger import lease
from podium.ledger.database import guarded, look_at_database, open_database
from podium.ledger.facts import Facts
from podium.ledger.lease import Leases
from podium.ledger.schema import EVENTS, REQUESTS, SCHEMA_VERSION, decode, digest
from podium.sweep.messages import REQUEST, Event, Request, TestRead


class Row(NamedTuple):
    """One event with its place in the ledger; `at` is in seconds since 1970."""

    sequence: int
    at: float
    event: Event


class Reading(NamedTuple):
    """A reading of a test split by the promotion `sweep`; `at` is in seconds since 1970."""

    sweep: str
    at: float
    event: TestRead


class Book:
    """All sweeps of one database.

    Args:
        url: An SQLAlchemy address, of SQLite or PostgreSQL; an SQLite file is made if it is not there.
        looks: Whether it is only looked at: nothing is made, whatever would write fails, and so does whatever would
            have to wait for long. A file may be absent, and is opened anew for each question.

    Raises:
        UserError: for an address of another kind, one whose driver is not installed, or a damaged file.
        OSError: if the folder of an SQLite file cannot be made.
        StorageFault: if the database does not answer, or cannot be written; every method raises it too.
    """

    def __init__(self, url: str, *, looks: bool = False) -> None:
        self._engine, self._reader = (look_at_database(url),) * 2 if looks else open_database(url)
        self._leases = Leases(self._engine, self._reader)
        self._close = weakref.finalize(self, self._engine.dispose)

    @classmethod
    def at_home(cls, home: Path) -> "Book":
        """The book in a home folder: `ledger.db`."""
        return cls(f"sqlite:///{home / 'ledger.db'}")

    def sweeps(self) -> list[str]:
        """The names of all sweeps, oldest first."""
        is_sweep = EVENTS.c.sweep.not_like("%/%")
        query = sa.select(EVENTS.c.sweep).where(EVENTS.c.sequence == 0, is_sweep).order_by(EVENTS.c.at)
        with guarded(self._engine), self._reader.connect() as connection:
            return list(connection.scalars(query))

    def has(self, sweep: str) -> bool:
        """Whether there is a sweep of that name."""
        query = sa.select(EVENTS.c.sweep).where(EVENTS.c.sweep == sweep, EVENTS.c.sequence == 0)
        with guarded(self._engine), self._reader.connect() as connection:
            return connection.scalar(query) is not None

    def require(self, sweep: str) -> None:
        """Refuses a name that no sweep has, that of a model's ledger too.

        Raises:
            LookupFailed: naming the sweeps there are.
        """
        if "/" in sweep or not self.has(sweep):
            known = ", ".join(self.sweeps()) or "none yet"
            raise LookupFailed(f"there is no sweep {sweep!r} here; known sweeps: {known}")

    def require_writable(self) -> None:
        """Asks for the right to write, and writes nothing.

        Raises:
            UserError: if the database does not give it.
            StorageFault: if the database cannot be written for now.
        """
        with guarded(self._engine), self._engine.begin() as connection:
            connection.execute(sa.delete(REQUESTS).where(sa.false()))

    def origin(self, sweep: str) -> str:
        """The hash of a sweep's first row, which no other sweep of that name has; empty if there is none."""
        query = sa.select(EVENTS.c.hash).where(EVENTS.c.sweep == sweep, EVENTS.c.sequence == 0)
        with guarded(self._engine), self._reader.connect() as connection:
            return connection.scalar(query) or ""

    def last(self, sweep: str) -> int:
        """The place of a sweep's last row; -1 if it has none."""
        query = sa.select(EVENTS.c.sequence).where(EVENTS.c.sweep == sweep).order_by(EVENTS.c.sequence.desc()).limit(1)
        with guarded(self._engine), self._reader.connect() as connection:
            sequence = connection.scalar(query)
        return -1 if sequence is None else sequence

    def rows(self, sweep: str, after: int = -1, most: int | None = None) -> Iterator[Row]:
        """The rows of a sweep beyond sequence number `after`, in order, `most` of them at most."""
        query = (
            sa.select(EVENTS.c.sequence, EVENTS.c.at, EVENTS.c.body, EVENTS.c.schema_version)
            .where(EVENTS.c.sweep == sweep, EVENTS.c.sequence > after)
            .order_by(EVENTS.c.sequence)
            .limit(most)
        )
        with guarded(self._engine), self._reader.connect() as connection:
            for sequence, at, body, version in connection.execute(query):
                yield Row(sequence, at, decode(body, version))

    def written(self, sweep: str) -> Iterator[Mapping[str, Any]]:
        """The rows of a sweep as they stand in the database, in order, for those who doubt them."""
        query = sa.select(EVENTS).where(EVENTS.c.sweep == sweep).order_by(EVENTS.c.sequence)
        with guarded(self._engine), self._reader.connect() as connection:
            yield from map(dict, connection.execute(query).mappings())

    def readings(self, data: str) -> list[Reading]:
        """All readings of one test split by any sweep, in order; `data` is as in the event."""
        query = (
            sa.select(EVENTS.c.sweep, EVENTS.c.at, EVENTS.c.body, EVENTS.c.schema_version)
            .where(EVENTS.c.kind == "test_read")
            .order_by(EVENTS.c.at, EVENTS.c.sweep, EVENTS.c.sequence)
        )
        with guarded(self._engine), self._reader.connect() as connection:
            rows = connection.execute(query).all()
        read = [(row, decode(row.body, row.schema_version)) for row in rows]
        return [
            Reading(row.sweep, row.at, event)
            for row, event in read
            if isinstance(event, TestRead) and event.data == data
        ]

    def request(self, sweep: str, request: Request) -> None:
        """Leaves a request for the sweep's driver."""
        row = {"sweep": sweep, "at": time.time(), "body": request.model_dump_json()}
        with guarded(self._engine), self._engine.begin() as connection:
            connection.execute(REQUESTS.insert().values(row))

    def requests(self, sweep: str) -> list[Request]:
        """What users have asked for that no driver has taken yet, in order."""
        return [request for _, request in _requests(self._engine, self._reader, sweep)]

    def facts(self, sweep: str) -> Facts:
        """The notes kept beside a sweep's events."""
        return Facts(self._engine, self._reader, sweep)

    def holder(self, sweep: str) -> str | None:
        """Who drives the sweep now, in words; None if nobody does."""
        with guarded(self._engine):
            return self._leases.holder(sweep)

    def drivers(self, within_s: float) -> dict[str, int]:
        """By sweep, the holder epoch of its driver: one at work, or that was lost at most so many seconds ago."""
        with guarded(self._engine):
            return self._leases.held(within_s)

    def hold(self, sweep: str) -> "HeldLedger":
        """Takes the lease of a sweep, and keeps it until it is released or the process ends.

        Raises:
            LeaseLost: if another driver holds it; the message says who, and since when.
        """
        with guarded(self._engine):
            epoch = self._leases.take(sweep)
        return HeldLedger(self, self._engine, self._reader, sweep, epoch)

    def close(self) -> None:
        """Closes the connections; a book that nobody refers to any more closes them by itself."""
        self._close()


class HeldLedger:
    """One sweep's events for the driver that holds its lease; the driver's `Ledger`.

    The lease is renewed by a thread, however long the driver is busy elsewhere.

    Attributes:
        epoch: The holder epoch: which holder of this lease this is, from 1.
        sequence: The last event's place in the ledger; -1 if there is none.
        renewed: When the lease was last taken or renewed, in monotonic seconds.
    """

    def __init__(self, book: Book, engine: sa.Engine, reader: sa.Engine, sweep: str, epoch: int) -> None:
        self.epoch = epoch
        self._book, self._engine, self._reader, self._sweep = book, engine, reader, sweep
        self._leases = Leases(engine, reader)
        self._handed_out: list[int] = []
        self._lost: LeaseLost | None = None
        self._released = threading.Event()
        self.renewed = time.monotonic()
        last = sa.select(EVENTS.c.sequence, EVENTS.c.hash).where(EVENTS.c.sweep == sweep)
        with guarded(engine), self._reader.connect() as connection:
            row = connection.execute(last.order_by(EVENTS.c.sequence.desc()).limit(1)).one_or_none()
        self.sequence: int = row.sequence if row else -1
        self._hash: str = row.hash if row else ""
        threading.Thread(target=self._keep, name=f"lease of {sweep}", daemon=True).start()

    def events(self) -> Iterator[Event]:
        """All events, in order."""
        return (row.event for row in self._book.rows(self._sweep))

    def append(self, events: Sequence[Event]) -> int:
        """Appends in one transaction; returns the last sequence number.

        Raises:
            LeaseLost: if another driver has taken over; nothing is written.
        """
        rows, at = [], time.time()
        sequence, previous = self.sequence, self._hash
        for event in events:
            sequence += 1
            row: dict[str, Any] = {
                "sweep": self._sweep,
                "sequence": sequence,
                "at": at,
                "holder_epoch": self.epoch,
                "kind": event.kind,
                "schema_version": SCHEMA_VERSION,
                "body": event.model_dump_json(),
            }
            row |= {"previous_hash": previous, "hash": digest(previous, row)}
            previous = row["hash"]
            rows.append(row)
        with guarded(self._engine), self._engine.begin() as connection:
            self._leases.check(connection, self._sweep, self.epoch)
            if rows:
                connection.execute(EVENTS.insert(), rows)
            if self._handed_out:
                connection.execute(REQUESTS.delete().where(REQUESTS.c.id.in_(self._handed_out)))
        self._handed_out = []
        self.sequence, self._hash = sequence, previous
        return sequence

    def requests(self) -> list[Request]:
        """What users asked for since the last call; forgotten by the database with the next `append`."""
        rows = _requests(self._engine, self._reader, self._sweep)
        new = [(number, request) for number, request in rows if number not in self._handed_out]
        self._handed_out += [number for number, _ in new]
        return [request for _, request in new]

    def renew(self) -> None:
        """Makes sure that the lease was not seen to be lost; the driver calls this in every loop.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        if self._lost is not None:
            raise self._lost

    def check(self) -> None:
        """Asks the database whether the lease is still held, for those who write elsewhere.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        with guarded(self._engine), self._engine.connect() as connection:
            self._leases.check(connection, self._sweep, self.epoch)

    def release(self) -> None:
        """Gives the lease back; the next driver need not wait for it to expire."""
        self._released.set()
        with guarded(self._engine):
            self._leases.release(self._sweep, self.epoch)

    def _keep(self) -> None:
        while not self._released.wait(lease.RENEW_S):
            try:
                with guarded(self._engine):
                    self._leases.renew(self._sweep, self.epoch)
                self.renewed = time.monotonic()
            except LeaseLost as lost:
                self._lost = lost
                return
            except StorageFault:  # the database may be back before the lease expires; an append says if it is not
                continue


def _requests(engine: sa.Engine, reader: sa.Engine, sweep: str) -> list[tuple[int, Request]]:
    """The requests that stand in the database, with their numbers there."""
    query = sa.select(REQUESTS.c.id, REQUESTS.c.body).where(REQUESTS.c.sweep == sweep).order_by(REQUESTS.c.id)
    with guarded(engine), reader.connect() as connection:
        return [(row.id, REQUEST.validate_json(row.body)) for row in connection.execute(query)]

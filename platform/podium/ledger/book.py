"""The book of all sweeps: reading for everybody, appending for the one who holds a sweep's lease."""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import sqlalchemy as sa

from podium.errors import LeaseLost, LookupFailed
from podium.ledger.schema import EVENTS, FACTS, LEASES, METADATA, REQUESTS, SCHEMA_VERSION, decode, digest
from podium.sweep.messages import REQUEST, Event, Request

LEASE_S = 60.0
"""How long a lease lasts without being renewed."""

RENEW_S = 10.0
"""How often a holder renews it."""


class Row(NamedTuple):
    """One event with its place in the ledger; `at` is in seconds since 1970."""

    sequence: int
    at: float
    event: Event


class Book:
    """All sweeps of one database.

    Args:
        url: An SQLAlchemy address; for SQLite the file is made if it is not there.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self._reader = self._engine.execution_options(read_only=True)
        METADATA.create_all(self._engine)

    @classmethod
    def at_home(cls, home: Path) -> "Book":
        """The book in a home folder: `ledger.db`."""
        home.mkdir(parents=True, exist_ok=True)
        return cls(f"sqlite:///{home / 'ledger.db'}")

    def sweeps(self) -> list[str]:
        """The names of all sweeps, oldest first."""
        query = sa.select(EVENTS.c.sweep).where(EVENTS.c.sequence == 0).order_by(EVENTS.c.at)
        with self._reader.connect() as connection:
            return list(connection.scalars(query))

    def has(self, sweep: str) -> bool:
        """Whether there is a sweep of that name."""
        query = sa.select(EVENTS.c.sweep).where(EVENTS.c.sweep == sweep, EVENTS.c.sequence == 0)
        with self._reader.connect() as connection:
            return connection.scalar(query) is not None

    def require(self, sweep: str) -> None:
        """Refuses a name that no sweep has.

        Raises:
            LookupFailed: naming the sweeps there are.
        """
        if not self.has(sweep):
            known = ", ".join(self.sweeps()) or "none yet"
            raise LookupFailed(f"there is no sweep {sweep!r} here; known sweeps: {known}")

    def rows(self, sweep: str, after: int = -1) -> Iterator[Row]:
        """The rows of a sweep beyond sequence number `after`, in order."""
        query = (
            sa.select(EVENTS.c.sequence, EVENTS.c.at, EVENTS.c.body, EVENTS.c.schema_version)
            .where(EVENTS.c.sweep == sweep, EVENTS.c.sequence > after)
            .order_by(EVENTS.c.sequence)
        )
        with self._reader.connect() as connection:
            for sequence, at, body, version in connection.execute(query):
                yield Row(sequence, at, decode(body, version))

    def request(self, sweep: str, request: Request) -> None:
        """Leaves a request for the sweep's driver."""
        row = {"sweep": sweep, "at": time.time(), "body": request.model_dump_json()}
        with self._engine.begin() as connection:
            connection.execute(REQUESTS.insert().values(row))

    def facts(self, sweep: str) -> "Facts":
        """The notes kept beside a sweep's events."""
        return Facts(self._engine, self._reader, sweep)

    def holder(self, sweep: str) -> str | None:
        """Who drives the sweep now, in words; None if nobody does."""
        with self._reader.connect() as connection:
            lease = connection.execute(sa.select(LEASES).where(LEASES.c.sweep == sweep)).one_or_none()
        return None if lease is None or _is_free(lease) else _describe(lease)

    def hold(self, sweep: str) -> "HeldLedger":
        """Takes the lease of a sweep.

        Raises:
            LeaseLost: if another driver holds it; the message says who, and since when.
        """
        holder = f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"
        try:
            epoch = self._take(sweep, holder)
        except sa.exc.IntegrityError:  # another first holder was quicker
            epoch = self._take(sweep, holder)
        return HeldLedger(self, self._engine, self._reader, sweep, epoch)

    def _take(self, sweep: str, holder: str) -> int:
        now = time.time()
        with self._engine.begin() as connection:
            query = sa.select(LEASES).where(LEASES.c.sweep == sweep).with_for_update()
            lease = connection.execute(query).one_or_none()
            if lease is not None and not _is_free(lease):
                raise LeaseLost(
                    f"sweep {sweep!r} is already driven by {_describe(lease)}; `podium status {sweep}` shows it"
                )
            epoch = 1 if lease is None else lease.holder_epoch + 1
            row = {"holder": holder, "holder_epoch": epoch, "since": now, "expires": now + LEASE_S}
            if lease is None:
                connection.execute(LEASES.insert().values(sweep=sweep, **row))
            else:
                connection.execute(LEASES.update().where(LEASES.c.sweep == sweep).values(**row))
        return epoch

    def close(self) -> None:
        """Closes the connections."""
        self._engine.dispose()


class Facts:
    """Notes beside a sweep's events that no decision reads: run ids, the registered model, timings."""

    def __init__(self, engine: sa.Engine, reader: sa.Engine, sweep: str) -> None:
        self._engine, self._reader, self._sweep = engine, reader, sweep

    def get(self, key: str) -> Any:
        """The value of `key`; None if there is none."""
        query = sa.select(FACTS.c.value).where(FACTS.c.sweep == self._sweep, FACTS.c.key == key)
        with self._reader.connect() as connection:
            value = connection.scalar(query)
        return None if value is None else json.loads(value)

    def all(self) -> dict[str, Any]:
        """Every key with its value."""
        query = sa.select(FACTS.c.key, FACTS.c.value).where(FACTS.c.sweep == self._sweep)
        with self._reader.connect() as connection:
            return {key: json.loads(value) for key, value in connection.execute(query)}

    def put(self, facts: Mapping[str, Any]) -> None:
        """Sets the values of keys, in one transaction."""
        with self._engine.begin() as connection:
            keys = FACTS.c.key.in_(list(facts))
            connection.execute(FACTS.delete().where(FACTS.c.sweep == self._sweep, keys))
            rows = [{"sweep": self._sweep, "key": key, "value": json.dumps(value)} for key, value in facts.items()]
            connection.execute(FACTS.insert(), rows)


class HeldLedger:
    """One sweep's events for the driver that holds its lease; the driver's `Ledger`.

    Attributes:
        epoch: The holder epoch: which holder of this lease this is, from 1.
        sequence: The last event's place in the ledger; -1 if there is none.
    """

    def __init__(self, book: Book, engine: sa.Engine, reader: sa.Engine, sweep: str, epoch: int) -> None:
        self.epoch = epoch
        self._book, self._engine, self._reader, self._sweep = book, engine, reader, sweep
        self._handed_out: list[int] = []
        self._renewed = time.monotonic()
        last = sa.select(EVENTS.c.sequence, EVENTS.c.hash).where(EVENTS.c.sweep == sweep)
        with self._reader.connect() as connection:
            row = connection.execute(last.order_by(EVENTS.c.sequence.desc()).limit(1)).one_or_none()
        self.sequence: int = row.sequence if row else -1
        self._hash: str = row.hash if row else ""

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
        with self._engine.begin() as connection:
            self._check(connection)
            if rows:
                connection.execute(EVENTS.insert(), rows)
            if self._handed_out:
                connection.execute(REQUESTS.delete().where(REQUESTS.c.id.in_(self._handed_out)))
        self._handed_out = []
        self.sequence, self._hash = sequence, previous
        return sequence

    def requests(self) -> list[Request]:
        """What users asked for since the last call; forgotten by the database with the next `append`."""
        query = sa.select(REQUESTS.c.id, REQUESTS.c.body).where(REQUESTS.c.sweep == self._sweep)
        with self._reader.connect() as connection:
            rows = connection.execute(query.order_by(REQUESTS.c.id)).all()
        new = [row for row in rows if row.id not in self._handed_out]
        self._handed_out += [row.id for row in new]
        return [REQUEST.validate_json(row.body) for row in new]

    def renew(self) -> None:
        """Extends the lease if it is due; the driver calls this in every loop.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        if time.monotonic() - self._renewed < RENEW_S:
            return
        with self._engine.begin() as connection:
            self._check(connection)
            connection.execute(
                LEASES.update().where(LEASES.c.sweep == self._sweep).values(expires=time.time() + LEASE_S)
            )
        self._renewed = time.monotonic()

    def release(self) -> None:
        """Gives the lease back; the next driver need not wait for it to expire."""
        mine = (LEASES.c.sweep == self._sweep, LEASES.c.holder_epoch == self.epoch)
        with self._engine.begin() as connection:
            connection.execute(LEASES.update().where(*mine).values(expires=0.0))

    def _check(self, connection: sa.Connection) -> None:
        query = sa.select(LEASES.c.holder_epoch, LEASES.c.holder).where(LEASES.c.sweep == self._sweep)
        lease = connection.execute(query.with_for_update()).one()
        if lease.holder_epoch != self.epoch:
            raise LeaseLost(f"sweep {self._sweep!r} was taken over by {lease.holder}; nothing more is written here")


def _engine(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _tune_sqlite)
        sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    """Takes the write lock at once where something may be written: reading first and writing later can fail."""
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def _is_free(lease: Any) -> bool:
    host, pid, created = lease.holder.rsplit(":", 2)
    if lease.expires < time.time():
        return True
    if host != socket.gethostname():
        return False
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(created)) > 1)
    except psutil.NoSuchProcess:
        return True


def _describe(lease: Any) -> str:
    host, pid, _ = lease.holder.rsplit(":", 2)
    return f"process {pid} on {host} since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(lease.since))}"

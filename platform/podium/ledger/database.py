"""The database of the ledger: SQLite in a file, or PostgreSQL. What fails in it is one error, without its password."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from podium.errors import StorageFault, UserError
from podium.ledger.schema import METADATA
from podium.masking import without_passwords

BUSY_S = 30.0
"""How long a statement waits for a lock of somebody else."""

LOOK_S = 2.0
"""How long a statement waits where the database is only looked at, and will be again."""

ANSWER_S = 10
"""How long a PostgreSQL server may take to answer a new connection."""

KINDS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
"""By the kind of database the driver that speaks to it."""


def look_at_database(url: str) -> sa.Engine:
    """An engine that cannot write. Nothing is opened before it is used, and a file anew each time, whatever is there.

    Raises:
        UserError: for an address that is none, of another kind, or whose driver is not installed.
    """
    return _engine(url, is_looking=True).execution_options(read_only=True)


def open_database(url: str) -> tuple[sa.Engine, sa.Engine]:
    """Opens the database, with its tables made if need be.

    Returns:
        An engine for writing, and one that only reads.

    Raises:
        UserError: for an address that is none, of another kind, or whose driver is not installed; for a damaged file.
        OSError: if the folder of an SQLite file cannot be made.
        StorageFault: if the database does not answer, or cannot be written.
    """
    engine = _engine(url)
    reader = engine.execution_options(read_only=True)
    with guarded(engine):
        if not set(METADATA.tables) <= set(sa.inspect(reader).get_table_names()):
            METADATA.create_all(engine)
    return engine, reader


@contextmanager
def guarded(engine: sa.Engine) -> Iterator[None]:
    """Turns what the database refuses into one error.

    Raises:
        StorageFault: saying which database, what it said, and what to do.
        UserError: if it is damaged.
    """
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except sa.exc.OperationalError as error:
        raise StorageFault(
            f"the ledger {shown(engine.url)} cannot be used for now: {_said(error)}. Nothing that was written is lost: "
            "free its disk or mend the database, and go on with `podium resume NAME`"
        ) from error
    except sa.exc.DBAPIError as error:
        raise UserError(
            f"{shown(engine.url)} cannot be read as a ledger: {_said(error)}. Move it away, restore it from a copy, or "
            "give another --home or --ledger"
        ) from error


def shown(url: sa.URL | str) -> str:
    """The address without its password; of an SQLite file, its path."""
    url = sa.make_url(url)
    return str(url.database) if url.drivername == "sqlite" else without_passwords(url.render_as_string())


def _said(error: sa.exc.DBAPIError) -> str:
    return " ".join(str(error.orig).split())


def _engine(url: str, *, is_looking: bool = False) -> sa.Engine:
    try:
        address = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise UserError(
            "the ledger's address cannot be read; write postgresql://user@host/database, or sqlite:////absolute/path.db"
        ) from None
    kind = address.get_backend_name()
    if kind not in KINDS:
        raise UserError(f"the ledger cannot be on {kind}: {shown(address)}; it is on sqlite or postgresql")
    if kind == "sqlite":
        return _looking_at(address) if is_looking else _writing_to(address)
    wait_s = LOOK_S if is_looking else BUSY_S
    limits = f"-c lock_timeout={wait_s:.0f}s -c statement_timeout={2 * BUSY_S:.0f}s"
    try:
        return sa.create_engine(
            address.set(drivername=KINDS[kind]),
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": ANSWER_S,
                "options": limits + (" -c default_transaction_read_only=on" if is_looking else ""),
            },
        )
    except ModuleNotFoundError as error:
        raise UserError(
            f"the ledger {shown(address)} needs the package {error.name}: pip install 'podium[postgresql]'"
        ) from error


def _writing_to(address: sa.URL) -> sa.Engine:
    Path(address.database or "").parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(address)
    sa.event.listen(engine, "connect", _tune_sqlite)
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _looking_at(address: sa.URL) -> sa.Engine:
    path = Path(address.database or "").absolute()

    def connect() -> sqlite3.Connection:
        # SQLite makes files beside a database even to read it; where it cannot, nobody can write, so nothing changes
        is_fixed = not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists()
        options = "mode=ro&immutable=1" if is_fixed else "mode=ro"
        return sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True, timeout=LOOK_S, check_same_thread=False)

    return sa.create_engine(address, creator=connect, poolclass=sa.NullPool)


def _tune_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={1000 * BUSY_S:.0f}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_immediate(connection: sa.Connection) -> None:
    """Takes the write lock at once where something may be written: reading first and writing later can fail."""
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

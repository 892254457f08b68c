"""The lease: who may append to a sweep's ledger. A clock that jumps costs a wait, and never an event.

A lease is never believed to be over because of its expiry alone, since the clock that says so may have jumped, and its
holder may only have been paused. Whoever wants it then watches whether it is renewed, on a clock that cannot jump.
"""

import os
import socket
import time
from pathlib import Path
from typing import Any, Protocol

import psutil
import sqlalchemy as sa

from podium.errors import LeaseLost
from podium.ledger.schema import LEASES

RENEW_S = 5.0
"""How often a holder renews its lease."""

LEASE_S = 30.0
"""How long a lease lasts without that."""

WATCH_S = 12.0
"""How long an expired lease is watched before it is taken: two renewals, and time for a slow one."""

LOOK_EVERY_S = 1.0

RELEASED = 0.0
"""The expiry of a lease that was given back."""


class Clock(Protocol):
    """What a lease needs of the time; the standard library's module `time` is one."""

    def time(self) -> float:
        """Seconds since 1970, which may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment, never running backwards."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Waits."""
        ...


class Leases:
    """The leases of one database.

    Args:
        engine: For writing.
        reader: For reading alone.
        clock: Tells the time.
        holder: Names the process that takes leases; `this_process()` if absent.
    """

    def __init__(self, engine: sa.Engine, reader: sa.Engine, clock: Clock = time, holder: str | None = None) -> None:
        self._engine, self._reader, self._clock = engine, reader, clock
        self._holder = holder or this_process()

    def holder(self, sweep: str) -> str | None:
        """Who holds the lease of a sweep, and since when, in words; None if nobody does."""
        lease = self._find(sweep)
        if lease is None or _is_over(lease) or not (_is_here(lease) or self._is_credible(lease)):
            return None
        return _describe(lease)

    def held(self, within_s: float) -> dict[str, int]:
        """By sweep, the holder epoch of each lease that was not given back, and expired at most so many seconds ago."""
        query = sa.select(LEASES.c.sweep, LEASES.c.holder_epoch)
        is_young = LEASES.c.expires > self._clock.time() - within_s
        with self._reader.connect() as connection:
            rows = connection.execute(query.where(is_young, LEASES.c.sweep.not_like("%/%")).order_by(LEASES.c.sweep))
            return {sweep: epoch for sweep, epoch in rows}

    def take(self, sweep: str) -> int:
        """Takes the lease of a sweep; returns the holder epoch.

        A lease that expired and was not given back is watched for `WATCH_S` before it is taken.

        Raises:
            LeaseLost: if another driver holds it; the message says who, and since when.
        """
        lease = self._find(sweep)
        if lease is not None and not _is_over(lease):
            if self._is_credible(lease):
                raise _held(lease)
            lease = self._watched(lease)
        try:
            return self._replace(sweep, lease)
        except sa.exc.IntegrityError:  # another first holder was quicker
            raise _held(self._find(sweep)) from None

    def renew(self, sweep: str, epoch: int) -> None:
        """Extends the lease.

        Raises:
            LeaseLost: if another driver has taken over.
        """
        with self._engine.begin() as connection:
            self.check(connection, sweep, epoch)
            until = self._clock.time() + LEASE_S
            connection.execute(LEASES.update().where(LEASES.c.sweep == sweep).values(expires=until))

    def release(self, sweep: str, epoch: int) -> None:
        """Gives the lease back, if it is still held; the next driver need not wait for it to expire."""
        mine = (LEASES.c.sweep == sweep, LEASES.c.holder_epoch == epoch)
        with self._engine.begin() as connection:
            connection.execute(LEASES.update().where(*mine).values(expires=RELEASED))

    def check(self, connection: sa.Connection, sweep: str, epoch: int) -> None:
        """Refuses, within a transaction, to go on if another driver has taken over, and keeps it from doing so.

        Raises:
            LeaseLost: if it has.
        """
        lease = connection.execute(_row(sweep).with_for_update()).one()
        if lease.holder_epoch != epoch:
            raise LeaseLost(f"sweep {sweep!r} was taken over by {_describe(lease)}; nothing more is written here")

    def _find(self, sweep: str) -> Any:
        with self._reader.connect() as connection:
            return connection.execute(_row(sweep)).one_or_none()

    def _is_credible(self, lease: Any) -> bool:
        """Whether the lease has not expired, and does not last longer than one can."""
        left_s: float = lease.expires - self._clock.time()
        return 0 < left_s <= LEASE_S

    def _watched(self, lease: Any) -> Any:
        """The lease once it was given back, or was silent for `WATCH_S`."""
        deadline = self._clock.monotonic() + WATCH_S
        while self._clock.monotonic() < deadline:
            self._clock.sleep(LOOK_EVERY_S)
            now = self._find(lease.sweep)
            if _is_over(now):
                return now
            if now != lease:
                raise _held(now)
        return lease

    def _replace(self, sweep: str, judged: Any) -> int:
        """Takes the lease if it is still the one that was judged to be free."""
        now = self._clock.time()
        epoch = 1 if judged is None else judged.holder_epoch + 1
        row = {"holder": self._holder, "holder_epoch": epoch, "since": now, "expires": now + LEASE_S}
        with self._engine.begin() as connection:
            lease = connection.execute(_row(sweep).with_for_update()).one_or_none()
            if lease != judged:
                raise _held(lease)
            if lease is None:
                connection.execute(LEASES.insert().values(sweep=sweep, **row))
            else:
                connection.execute(LEASES.update().where(LEASES.c.sweep == sweep).values(**row))
        return epoch


def this_process() -> str:
    """This process among all of all machines: host, machine, process and when that began.

    The machine is told by its boot and its process namespace: containers may share a host's name, and not its numbers.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    machine = f"{boot.read_text().strip()}/{namespace.readlink()}" if boot.exists() else str(psutil.boot_time())
    return "|".join([socket.gethostname(), machine, str(os.getpid()), f"{psutil.Process().create_time():.2f}"])


def _row(sweep: str) -> sa.Select[Any]:
    return sa.select(LEASES).where(LEASES.c.sweep == sweep)


def _is_here(lease: Any) -> bool:
    """Whether the holder is a process of this machine."""
    machine: list[str] = lease.holder.split("|")[:2]
    return machine == this_process().split("|")[:2]


def _is_over(lease: Any) -> bool:
    """Whether the lease was given back, or its holder is known to be dead."""
    if lease.expires == RELEASED:
        return True
    if not _is_here(lease):
        return False
    *_, pid, began = lease.holder.split("|")
    try:
        process = psutil.Process(int(pid))
        is_another: bool = abs(process.create_time() - float(began)) > 1
        return is_another or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _describe(lease: Any) -> str:
    host, _, pid, _ = lease.holder.split("|")
    return f"process {pid} on {host} since {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(lease.since))}"


def _held(lease: Any) -> LeaseLost:
    return LeaseLost(
        f"sweep {lease.sweep!r} is already driven by {_describe(lease)}; `podium status {lease.sweep}` shows it"
    )

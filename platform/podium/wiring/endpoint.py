"""The driver's metrics endpoint: where it is opened, who may reach it, and how Prometheus finds it by the ledger."""

import ipaddress
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from podium.errors import UserError
from podium.ledger import Book, HeldLedger
from podium.sweep.machine import Machine
from podium.sweep.messages import Event, Launched
from podium.sweep.protocols import Executor
from podium.wiring import targets as files
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.wiring.metrics import Meters

LOOPBACK = "127.0.0.1"

CLUSTER = "cluster"
"""Stands for the address by which the other hosts of the cluster reach this one."""

LOST_S = 24 * 3600.0
"""How long a driver that was lost is still looked for, so that its silence is noticed."""

FACT = "metrics"
"""The note that says where a driver is asked."""


class Metered(NamedTuple):
    """What counts for Prometheus, if anything does, and where it asks."""

    meters: "Meters | None"
    url: str

    def news(self, events: Sequence[Event]) -> None:
        """Counts what the machine has taken."""
        if self.meters is not None:
            self.meters.news(events)

    def timed(self, executor: Executor) -> Executor:
        """The executor, whose driver's loops are counted."""
        return executor if self.meters is None else self.meters.timed(executor)


def parse(text: str) -> tuple[str, int]:
    """The address and the port of `9464`, `10.77.0.1:9464` or `cluster:0`.

    Raises:
        UserError: if it is none of these.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    try:
        number = int(port)
        if host != CLUSTER:
            ipaddress.ip_address(host)
    except ValueError:
        number = -1
    if not 0 <= number < 2**16:
        raise UserError(
            f"--metrics (or PODIUM_METRICS) {text!r} is no place to tell metrics at: give a port of this machine's, "
            "9464, or 0 for a free one; ADDRESS:PORT to open it to others; cluster:0 to open it to the cluster's hosts"
        )
    return host, number


@contextmanager
def metered(
    machine: Machine, launched: Launched, ledger: HeldLedger, book: Book, place: Place, warn: Callable[[str], None]
) -> Iterator["Metered"]:
    """Tells Prometheus how a sweep goes as long as the block lasts, and the ledger where, if the place says so.

    This process must be connected to the place's Ray. If the port cannot be opened, `warn` is told and nobody else.
    """
    if not place.metrics:
        yield Metered(None, "")
        return
    from podium.wiring.metrics import Meters

    meters, told = Meters(machine, launched, ledger, book, place), Metered(None, "")
    with ExitStack() as stack:
        try:
            address = stack.enter_context(_opened(place, meters))
        except UserError as error:
            warn(f"{error}; the sweep goes on without telling metrics")
        else:
            book.facts(machine.spec.sweep).put({FACT: {"address": address, "epoch": ledger.epoch}})
            told = Metered(meters, f"http://{address}/metrics")
        yield told


@contextmanager
def _opened(place: Place, meters: "Meters") -> Iterator[str]:
    """Answers at an address and a port, which it gives.

    Raises:
        UserError: if it cannot be opened.
    """
    from prometheus_client import CollectorRegistry, start_http_server

    host, port = parse(place.metrics)
    host = _address_in(place.cluster) if host == CLUSTER else host
    registry = CollectorRegistry()
    registry.register(meters)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        why = error.strerror or error
        raise UserError(
            f"--metrics (or PODIUM_METRICS) {place.metrics}: {host}:{port} cannot be opened: {why}; give another port, "
            "or 0 for a free one"
        ) from error
    try:
        yield f"[{host}]:{server.server_port}" if ":" in host else f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def targets(book: Book) -> list[dict[str, Any]]:
    """Where the drivers are that are to be asked, as Prometheus wants them from a file or over HTTP.

    A driver that was killed stays for `LOST_S`, so that an alert can tell of it; one that has left is gone at once.
    """
    found = []
    for sweep, epoch in book.drivers(LOST_S).items():
        told = book.facts(sweep).get(FACT)
        if told and told["epoch"] == epoch:
            found.append({"targets": [told["address"]], "labels": {"sweep": sweep}})
    return found


def write(path: Path, found: list[dict[str, Any]]) -> None:
    """Puts targets into a file for `file_sd_configs`, whole at any time.

    Raises:
        UserError: if it cannot be written.
    """
    files.write(path, f"{json.dumps(found, indent=1)}\n".encode())


def _address_in(cluster: str) -> str:
    """The address by which the other hosts of the Ray that this process is connected to reach this one."""
    if cluster == "inline":
        return LOOPBACK
    from podium.execution import connection

    return connection.address_here()

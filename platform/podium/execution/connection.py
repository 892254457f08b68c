"""The connection to a Ray: one at an address, or one of our own on this machine."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from podium.errors import UserError
from podium.execution.token import ensure_token
from podium.sweep.placement import Node

ensure_token()

import ray  # noqa: E402
from ray._private import ray_constants  # noqa: E402


def connect(address: str | None) -> None:
    """Joins the Ray at `address`, or starts one on this machine, which nobody else can reach.

    Raises:
        UserError: if there is no Ray at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    before = signal.getsignal(signal.SIGTERM)
    try:
        with nullcontext() if address else _on_loopback():
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
        # what Ray prints of a dead worker, on the standard output, is no news to whoever reads GangLost
        ray._private.worker._worker_logs_enabled = False
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).rstrip(".")
        problem = (
            f"there is no Ray to join at {address!r}: {reason}. Start one with `ray start --head`; one that asks for a "
            "token needs the same here, in RAY_AUTH_TOKEN or a file named by RAY_AUTH_TOKEN_PATH"
        )
        raise UserError(problem) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray has put a handler in its place that ends the process


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Has a Ray that is started meanwhile listen on loopback alone, as it does by itself on Windows and macOS."""
    name, before = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR, ray_constants.ENABLE_RAY_CLUSTER
    given = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False  # for its processes, and for this one
    try:
        yield
    finally:
        del os.environ[name]
        os.environ |= {} if given is None else {name: given}
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def connected(address: str | None) -> Iterator[list[Node]]:
    """Joins or starts Ray for as long as the block lasts, unless this process is connected; gives its hosts.

    Raises:
        UserError: if there is no Ray at the address.
    """
    if ray.is_initialized():
        yield nodes()
        return
    connect(address)
    try:
        yield nodes()
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """The hosts of the connected Ray that are alive, with what they offer."""
    return [
        Node(node["NodeManagerHostname"], node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0))
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]

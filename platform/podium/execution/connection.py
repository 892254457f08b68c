"""The connection to a Ray: one at an address, or one of our own on this machine."""

import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from podium.errors import UserError
from podium.execution.token import ensure_token
from podium.sweep.messages import Host
from podium.sweep.placement import Node

ensure_token()

import ray  # noqa: E402
from ray._private import ray_constants  # noqa: E402
from ray._private.accelerators import get_accelerator_manager_for_resource  # noqa: E402
from ray.autoscaler.v2.utils import is_autoscaler_v2  # noqa: E402
from ray.experimental.internal_kv import _internal_kv_get  # noqa: E402

ACCELERATOR_LABEL, GROUP_LABEL = "ray.io/accelerator-type", "ray.io/node-group"
"""Ray's labels of a host: the type of its accelerators, which Ray finds by itself, and the group it was started in."""

STARTS = 3
"""How often a Ray of our own is started until that is given up."""

ANSWER_S = 5.0
"""How long a host may take to accept a connection of its own."""

TOO_SLOW = "timed out during startup"
"""What Ray says when it did not start in time."""


def connect(address: str | None) -> None:
    """Joins the Ray at `address`, or starts one on this machine, which nobody else can reach.

    Raises:
        UserError: if there is no Ray at the address, or none could be started here.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    is_main = threading.current_thread() is threading.main_thread()
    before, held_back = signal.getsignal(signal.SIGTERM), {signal.SIGTERM} if address and is_main else set()
    signal.pthread_sigmask(signal.SIG_BLOCK, held_back)
    try:
        with nullcontext() if address and not _is_on_loopback_alone(address) else _on_loopback():
            _init(address)
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
        if is_main:
            signal.signal(signal.SIGTERM, before)  # Ray has put a handler in its place that ends the process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held_back)


def _init(address: str | None) -> None:
    """Joins or starts Ray; a start is tried again where the machine was too busy for Ray's own limit of 30 s."""
    for left in reversed(range(STARTS)):
        try:
            ray.init(
                address=address or "local",
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.WARNING,
            )
            return
        except Exception as error:
            if address or TOO_SLOW not in str(error):
                raise
            ray.shutdown()
            if not left:
                raise UserError(
                    f"no Ray could be started here in {STARTS} tries of 30 s each: the machine is too busy; launch "
                    "again when it is not, or with --cluster inline"
                ) from error


def _is_on_loopback_alone(address: str) -> bool:
    """Whether it is a Ray that Podium has started, which Ray would look for at the host's first real address."""
    host, _, port = address.rpartition(":")
    if host not in ("127.0.0.1", "localhost") or not port.isdecimal():
        return False
    try:
        real = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        socket.create_connection((real, int(port)), timeout=ANSWER_S).close()
    except OSError:
        return True
    return False


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Has a Ray that is started or joined meanwhile be on loopback alone, as it does by itself on Windows and macOS."""
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


def host_of(labels: Mapping[str, str]) -> Host:
    """What a host is, by Ray's labels."""
    return Host(accelerator=labels.get(ACCELERATOR_LABEL, ""), group=labels.get(GROUP_LABEL, ""))


def nodes() -> list[Node]:
    """The hosts of the connected Ray that are there to stay, with what they offer."""
    leaving = draining()
    return [
        Node(
            node["NodeManagerHostname"],
            node["Resources"].get("CPU", 0),
            node["Resources"].get("GPU", 0),
            host_of(node["Labels"]).accelerator,
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["NodeID"] not in leaving
    ]


def address_here() -> str:
    """The address by which the other hosts of the connected Ray reach this one."""
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def draining() -> set[str]:
    """Ray's identifiers of the hosts that are about to leave: they are idle, or their provider wants them back."""
    return set(ray._private.state.state.get_draining_nodes())


def may_add_hosts() -> bool:
    """Whether an autoscaler looks after the connected Ray; one that only watches calls each host a type of its own."""
    if is_autoscaler_v2():
        return True
    told = _internal_kv_get("__autoscaling_status")
    types = json.loads(told).get("autoscaler_report", {}).get("active_nodes", {}) if told else {}
    known = {f"node_{node['NodeID']}" for node in ray.nodes()}  # type: ignore[no-untyped-call]
    return not known.issuperset(types)


def accelerator_here() -> str:
    """The type of this machine's GPUs, as Ray calls it; empty if there is none."""
    manager = get_accelerator_manager_for_resource("GPU")
    return (manager and manager.get_current_node_accelerator_type()) or ""

"""Waiting for the hosts of a Ray that is being started."""

import time
from collections.abc import Callable

from podium.errors import UserError
from podium.sweep.placement import Node

EVERY_S = 0.5


def wait_for_hosts(address: str, hosts: int, within_s: float, say: Callable[[str], None]) -> list[Node]:
    """Waits until so many hosts have joined the Ray at `address`; gives those that have.

    Args:
        address: Of its head, as host and port.
        hosts: How many have to be there.
        within_s: Seconds that this may take.
        say: Told whenever their number has changed.

    Raises:
        UserError: if they are fewer when the time is up, naming those that are there, or if there is no Ray.
    """
    from podium.execution.connection import connected, nodes

    deadline, seen = time.monotonic() + within_s, -1
    while True:
        try:
            with connected(address):
                while True:
                    there = nodes()
                    if len(there) != seen:
                        seen = len(there)
                        say(f"{seen} of {hosts} host(s) have joined")
                    if seen >= hosts:
                        return there
                    if time.monotonic() > deadline:
                        break
                    time.sleep(EVERY_S)
            names = ", ".join(sorted(node.name for node in there))
            raise UserError(f"{len(there)} of {hosts} hosts joined the Ray at {address} within {within_s:g} s: {names}")
        except UserError:
            if seen >= 0 or time.monotonic() > deadline:
                raise
            time.sleep(EVERY_S)

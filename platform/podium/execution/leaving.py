"""Leaving: a host of the connected Ray is about to go, and what is trained on it goes on elsewhere first."""

import time
from typing import NamedTuple

import podium.execution.connection  # noqa: F401 - it settles the token before Ray is imported
from podium.errors import UserError

# isort: split
import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION  # type: ignore[attr-defined]

LOOK_EVERY_S = 0.5


class Left(NamedTuple):
    """What is still on a host that leaves.

    Attributes:
        ranks: How many train; none once all have saved and ended.
        drivers: How many sweeps have their driver there, which goes on elsewhere once the host is gone, and not before.
    """

    ranks: int
    drivers: int


def leave(within_s: float, node: str = "") -> Left:
    """Drains a host and waits until no rank is left on it, or the time is over; returns what is left.

    Drivers see within seconds that the host is drained, and have its ranks save at their next step. Nothing new is
    placed on it; its Ray goes on until somebody ends it.

    Args:
        within_s: How long the host may still be used.
        node: Ray's identifier of the host; this one if empty.

    Raises:
        UserError: if Ray refuses.
    """
    context = ray.get_runtime_context()
    node = node or context.get_node_id()
    end = time.time() + within_s
    gcs = GcsClient(address=context.gcs_address)
    accepted, reason = gcs.drain_node(node, DRAIN_NODE_REASON_PREEMPTION, "podium cluster leave", int(end * 1000))
    if not accepted:
        raise UserError(f"Ray does not let host {node[:8]} leave: {reason}")
    while (left := _count(node)).ranks and time.time() < end:
        time.sleep(LOOK_EVERY_S)
    return left


def _count(node: str) -> Left:
    actors = ray._private.state.actors(actor_state_name="ALIVE").values()
    here = [actor["ActorClassName"] for actor in actors if actor["Address"]["NodeID"] == node]
    return Left(here.count("Rank"), here.count("Guardian"))

"""How many gangs fit onto the devices of a cluster, all ranks of a gang or none. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from podium.errors import CapacityError
from podium.spec.sweep import Resources


@dataclass(frozen=True)
class Node:
    """What one host offers; `accelerator` is the type of its accelerators, empty if nobody knows it."""

    name: str
    cpus: float
    gpus: float = 0.0
    accelerator: str = ""


def ranks_on(node: Node, resources: Resources) -> int:
    """How many ranks fit on one node. A fraction of a GPU never spans two GPUs."""
    if resources.accelerators and node.accelerator not in resources.accelerators:
        return 0
    by_cpu = math.floor(node.cpus / resources.cpus + 1e-9)
    if resources.gpus == 0:
        return by_cpu
    if resources.gpus < 1:
        by_gpu = math.floor(node.gpus) * math.floor(1 / resources.gpus + 1e-9)
    else:
        by_gpu = math.floor(node.gpus / resources.gpus + 1e-9)
    return min(by_cpu, by_gpu)


def count_gangs(nodes: Sequence[Node], resources: Resources) -> int:
    """How many whole gangs fit at once; with a number of ranks on each host, every host of a gang is another one.

    Raises:
        CapacityError: if not even one does.
    """
    each = resources.ranks_per_bundle
    bundles = [ranks_on(node, resources) // each for node in nodes]
    hosts = resources.fewest_ranks // each if isinstance(resources.hosts, int) else 1
    gangs = sum(bundles) // (resources.fewest_ranks // each)
    while gangs > 0 and sum(min(count, gangs) for count in bundles) < gangs * hosts:
        gangs -= 1
    if gangs == 0:
        offered = "; ".join(map(_offer, nodes)) or "none"
        kind = f" on a host with {' or '.join(resources.accelerators)}" if resources.accelerators else ""
        spread = f", {each} on each of {hosts} host(s)" if isinstance(resources.hosts, int) else ""
        raise CapacityError(
            f"a trial needs {resources.fewest_ranks} rank(s) of {resources.cpus} CPU(s) and {resources.gpus:g} GPU(s)"
            f"{spread}{kind}, and the cluster offers less: {offered}. Lower `resources`, or join a larger cluster with "
            "--cluster",
            key="resources",
        )
    return gangs


def _offer(node: Node) -> str:
    kind = f" of type {node.accelerator}" if node.accelerator else ""
    return f"{node.name} has {node.cpus:g} CPUs and {node.gpus:g} GPUs{kind}"

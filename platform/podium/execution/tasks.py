"""Dask's graphs on the connected Ray: each task on any host, or all of them on this one."""

import functools
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


def make_get(*, everywhere: bool) -> Callable[..., Any]:
    """What carries out a graph of Dask's, a core a task.

    Args:
        everywhere: Whether all hosts see the files that the tasks read and write; else they stay on this one.
    """
    from ray.util.dask import ray_dask_get

    if everywhere:
        return ray_dask_get
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return functools.partial(ray_dask_get, ray_remote_args={"scheduling_strategy": here})

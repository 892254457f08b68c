"""Whether every host of a Ray sees the same store: found out by reading on each what was written on one."""

import secrets
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from podium.errors import UserError
from podium.store import local_path, read, remove, write

WAIT_S = 60.0


def require_shared(store: str) -> None:
    """Writes a file into the store and has every host of the connected Ray read it; one host alone is not asked.

    Raises:
        UserError: naming the hosts that do not see it.
        StorageFault: if the store fails.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if len(nodes) < 2:
        return
    probe, content = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(16)
    write(store, probe, content)
    try:
        blind = sorted({node["NodeManagerHostname"] for node in nodes_that_misread(store, probe, content, nodes)})
    finally:
        remove(store, probe)
    if blind:
        if local_path(store, "") is None:
            problem = "cannot be read on every host"
            fix = "Each needs the package for its protocol, and the credentials in the environment of its Ray"
        else:
            problem = "is not the same folder on every host"
            fix = "Give --store a folder that all hosts mount under the same path"
        raise UserError(f"the store {store} {problem}: {', '.join(blind)} cannot read what was written there. {fix}")


def nodes_that_misread(store: str, name: str, content: bytes, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of Ray's `nodes` that find no file `name` in the store, or another content, or do not answer in time.

    One that had died already, of which Ray learns meanwhile, is none of them.
    """
    answers = {_read_on(node["NodeID"], store, name): node for node in nodes}
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=WAIT_S)
    failed = [node for answer, node in answers.items() if answer not in ready or _answered(answer) != content]
    alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    return [node for node in failed if node["NodeID"] in alive]


def _read_on(node: str, store: str, name: str) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(read).options(num_cpus=0, scheduling_strategy=strategy).remote(store, name)


def _answered(answer: Any) -> bytes | None:
    try:
        content: bytes = ray.get(answer)
    except RayError:
        return None
    return content

"""Whether every host of a Ray sees the same store: found out by reading on each what was written on one."""

import secrets
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from podium.errors import UserError

WAIT_S = 60.0


def require_shared(store: Path) -> None:
    """Writes a file into the store and has every host of the connected Ray read it; one host alone is not asked.

    Raises:
        UserError: naming the hosts that do not see it.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    if len(nodes) < 2:
        return
    probe, content = store / f".probe-{secrets.token_hex(8)}", secrets.token_hex(16)
    store.mkdir(parents=True, exist_ok=True)
    probe.write_text(content)
    try:
        blind = sorted({node["NodeManagerHostname"] for node in nodes_that_misread(probe, content, nodes)})
    finally:
        probe.unlink()
    if blind:
        raise UserError(
            f"the store {store} is not the same folder on every host: {', '.join(blind)} cannot read what was written "
            "there. Give --store a folder that all hosts mount under the same path"
        )


def nodes_that_misread(path: Path, content: str, nodes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of Ray's `nodes` that find no file at `path`, or another content, or do not answer in time."""
    answers = {_read_on(node["NodeID"], str(path)): node for node in nodes}
    ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=WAIT_S)
    return [node for answer, node in answers.items() if answer not in ready or _answered(answer) != content]


def _read_on(node: str, path: str) -> Any:
    strategy = NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(_read).options(num_cpus=0, scheduling_strategy=strategy).remote(path)


def _answered(answer: Any) -> str | None:
    try:
        text: str | None = ray.get(answer)
    except RayError:
        return None
    return text


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None

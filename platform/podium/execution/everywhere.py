"""Questions to every host of the connected Ray: one small actor on each, which takes no CPU, answers them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

WAIT_S = 60.0
"""How long a host may take to answer."""

CLOCK_LOOKS = 5
"""How often each clock is read; the reading that took the shortest counts."""


class Host(NamedTuple):
    """A host of the connected Ray.

    Attributes:
        name: What it calls itself; with its address where another host has the same name.
        address: By which the others reach it.
        gpus: How many Ray counts on it.
        is_here: Whether this process runs on it.
    """

    name: str
    address: str
    gpus: float
    is_here: bool


class Silent(NamedTuple):
    """What stands for an answer that did not come."""

    why: str


class Clock(NamedTuple):
    """How far a host's clock is before this one's, and how well that is known, in seconds."""

    ahead_s: float
    within_s: float


class Everywhere:
    """The hosts of the connected Ray, each with somebody who answers.

    Attributes:
        hosts: All that are alive.
    """

    def __init__(self) -> None:
        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        here = ray.get_runtime_context().get_node_id()
        names = [node["NodeManagerHostname"] for node in nodes]
        self._answering: dict[Host, Any] = {}
        for node in sorted(nodes, key=lambda node: node["NodeID"] != here):
            name, address = node["NodeManagerHostname"], node["NodeManagerAddress"]
            if names.count(name) > 1:
                name = f"{name} ({address}:{node['NodeManagerPort']})"
            host = Host(name, address, node["Resources"].get("GPU", 0), node["NodeID"] == here)
            strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            options = {"num_cpus": 0, "num_gpus": 0, "scheduling_strategy": strategy}
            self._answering[host] = ray.remote(_Answering).options(**options).remote()
        self.hosts = list(self._answering)

    def ask(self, question: Callable[..., Any], *given: Any) -> dict[Host, Any]:
        """Calls an installed function on every host at once; in place of an answer there may be `Silent`."""
        return self.ask_each({host: (question, *given) for host in self.hosts})

    def ask_each(self, questions: dict[Host, tuple[Any, ...]], within_s: float = WAIT_S) -> dict[Host, Any]:
        """The like with a function and arguments for each of some hosts."""
        pending = {host: self._answering[host].call.remote(*question) for host, question in questions.items()}
        deadline = time.monotonic() + within_s
        return {host: _answer(answer, deadline - time.monotonic()) for host, answer in pending.items()}

    def clocks(self, hosts: Sequence[Host]) -> dict[Host, Clock | Silent]:
        """The clocks of some hosts beside this one's."""
        return {host: self._clock(self._answering[host]) for host in hosts}

    def leave(self) -> None:
        """Ends those who answer."""
        for answering in self._answering.values():
            ray.kill(answering)

    def _clock(self, answering: Any) -> Clock | Silent:
        best = None
        for _ in range(CLOCK_LOOKS):
            asked, began = time.time(), time.monotonic()
            theirs = _answer(answering.call.remote(time.time), WAIT_S)
            if isinstance(theirs, Silent):
                return theirs
            half_s = (time.monotonic() - began) / 2
            if best is None or half_s < best.within_s:
                best = Clock(theirs - asked - half_s, half_s)
        assert best is not None
        return best


@contextmanager
def everywhere() -> Iterator[Everywhere]:
    """Somebody on every host of the connected Ray who answers, as long as the block lasts."""
    asked = Everywhere()
    try:
        yield asked
    finally:
        asked.leave()


class _Answering:
    """Runs on a host, and calls what it is told to."""

    def call(self, question: Callable[..., Any], *given: Any) -> Any:
        return question(*given)


def session_folder() -> str:
    """Where Ray keeps its files on this host."""
    node = ray._private.worker.global_worker.node
    assert node is not None
    return str(node.get_session_dir_path())


def _answer(pending: Any, within_s: float) -> Any:
    try:
        return ray.get(pending, timeout=max(within_s, 0.0))
    except GetTimeoutError:
        return Silent("does not answer in time")
    except RayError as error:
        cause = getattr(error, "cause", None)
        lines = str(cause or error).strip().splitlines()
        return Silent(lines[-1] if lines else type(error).__name__)

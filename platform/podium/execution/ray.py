"""The Ray executor: warm actors, one a rank, that stay between trials."""

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podium.errors import PodiumError, UserError
from podium.execution.mailbox import Mailbox
from podium.execution.token import ensure_token
from podium.execution.worker import Assignment, Worker
from podium.spec.sweep import Resources
from podium.sweep.messages import Advance, Event, GangLost, GangReady, Halt
from podium.sweep.placement import Node, count_gangs

ensure_token()

import ray  # noqa: E402
from ray.exceptions import RayActorError, RayError, RayTaskError  # noqa: E402

from podium.execution.sharing import require_shared  # noqa: E402

POLL_S = 30.0
"""How long a rank holds a question for news before it answers with none."""

START_ATTEMPTS = 3
"""How often gangs may die before they were ready, in a row, before the executor gives up."""


class Rank:
    """The actor: a worker that trains in one thread and answers the driver in others."""

    def __init__(self, assignment: Assignment, gang: str) -> None:
        self._mailbox = Mailbox()
        self._worker = Worker(assignment, gang, self._mailbox.put)
        self._begun: set[str] = set()

    def warm_up(self) -> str:
        """Imports and maps what trials need; returns a description of the devices."""
        self._worker.warm_up()
        context = ray.get_runtime_context()
        gpus = ",".join(map(str, ray.get_gpu_ids()))
        return f"node {context.get_node_id()[:8]}, process {os.getpid()}" + (f", GPU {gpus}" if gpus else "")

    def advance(self, command: Advance) -> None:
        """Begins an advance; a command that was already begun is ignored."""
        if command.key not in self._begun:
            self._begun.add(command.key)
            threading.Thread(target=self._worker.advance, args=(command,), name=command.key, daemon=True).start()

    def halt(self, command: Halt) -> None:
        """Ends the running advance at its next step."""
        self._worker.halt(command)

    def events(self) -> list[Event]:
        """What has happened since the last call; waits for something."""
        return self._mailbox.take(POLL_S)


class RayExecutor:
    """Gangs of one rank each on the connected Ray, as many as fit, replaced when they die.

    Args:
        assignment: What the workers work on.
        resources: What one gang occupies.
        most: No more gangs than this are started.
    """

    def __init__(self, assignment: Assignment, resources: Resources, most: int) -> None:
        self._assignment, self._resources, self._most = assignment, resources, most
        self._ranks: dict[str, Any] = {}
        self._questions: dict[Any, tuple[str, Callable[[Any], list[Event]]]] = {}
        self._news: list[Event] = []
        self._started = self._early_deaths = 0

    def start(self) -> None:
        """Begins to start as many gangs as fit.

        Raises:
            CapacityError: if not one gang fits.
            UserError: if the hosts do not share the store.
        """
        require_shared(Path(self._assignment.store))
        for _ in range(min(self._most, count_gangs(nodes(), self._resources))):
            self._start_gang()

    def advance(self, command: Advance) -> None:
        """Begins an advance on a gang."""
        if command.gang in self._ranks:
            self._ranks[command.gang].advance.remote(command)

    def halt(self, command: Halt) -> None:
        """Asks a gang to end its advance at the next step."""
        if command.gang in self._ranks:
            self._ranks[command.gang].halt.remote(command)

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What the gangs have told, waiting at most `timeout_s`.

        Raises:
            PodiumError: if gangs keep dying before they are ready.
        """
        if self._questions and not self._news:
            ready, _ = ray.wait(list(self._questions), num_returns=1, timeout=timeout_s)
            if ready and len(self._questions) > 1:
                ready, _ = ray.wait(list(self._questions), num_returns=len(self._questions), timeout=0)
            for reference in ready:
                self._news += self._hear(reference)
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Ends all gangs."""
        for rank in self._ranks.values():
            ray.kill(rank)
        self._ranks.clear()
        self._questions.clear()

    def _start_gang(self) -> None:
        gang = f"{self._assignment.holder}-{self._started}"
        self._started += 1
        options = {"num_cpus": self._resources.cpus, "num_gpus": self._resources.gpus, "max_concurrency": 4}
        rank: Any = ray.remote(Rank).options(**options).remote(self._assignment, gang)
        self._ranks[gang] = rank
        self._ask(rank.warm_up.remote(), gang, lambda devices: self._greet(gang, devices))

    def _greet(self, gang: str, devices: str) -> list[Event]:
        self._early_deaths = 0
        self._listen(gang)
        return [GangReady(gang=gang, devices=devices)]

    def _listen(self, gang: str) -> None:
        self._ask(self._ranks[gang].events.remote(), gang, lambda events: self._pass_on(gang, events))

    def _pass_on(self, gang: str, events: list[Event]) -> list[Event]:
        self._listen(gang)
        return events

    def _ask(self, reference: Any, gang: str, answer: Callable[[Any], list[Event]]) -> None:
        self._questions[reference] = (gang, answer)

    def _hear(self, reference: Any) -> list[Event]:
        gang, answer = self._questions.pop(reference)
        try:
            return answer(ray.get(reference))
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, PodiumError) else error from None
        except (RayActorError, RayError) as error:
            return self._replace(gang, error)

    def _replace(self, gang: str, error: Exception) -> list[Event]:
        del self._ranks[gang]
        self._early_deaths += 1
        if self._early_deaths >= START_ATTEMPTS:
            raise PodiumError(
                f"{self._early_deaths} gangs in a row died before they were ready; the last one: {error}"
            ) from None
        self._start_gang()
        return [GangLost(gang=gang, detail=str(error).splitlines()[0] if str(error) else type(error).__name__)]


def connect(address: str | None) -> None:
    """Joins the Ray at `address`, or starts one on this machine.

    Raises:
        UserError: if there is no Ray at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).rstrip(".")
        problem = (
            f"there is no Ray to join at {address!r}: {reason}. Start one with `ray start --head`; one that asks for a "
            "token needs the same here, in RAY_AUTH_TOKEN or a file named by RAY_AUTH_TOKEN_PATH"
        )
        raise UserError(problem) from error


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

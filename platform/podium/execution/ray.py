"""The Ray executor: warm actors, one a rank, that stay between trials."""

import functools
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from podium.errors import CapacityError, PodiumError, UserError
from podium.execution.autopsy import Findings, examine
from podium.execution.token import ensure_token
from podium.execution.worker import Assignment
from podium.spec.sweep import SweepSpec
from podium.store import local_path
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Cause, Event, GangLost, GangReady, Halt
from podium.sweep.placement import Node, count_gangs

ensure_token()

import ray  # noqa: E402
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayError, RayTaskError  # noqa: E402
from ray.util.placement_group import placement_group, remove_placement_group  # noqa: E402
from ray.util.scheduling_strategies import (  # noqa: E402
    NodeAffinitySchedulingStrategy,
    PlacementGroupSchedulingStrategy,
)

from podium.execution.pulse import GONE_S, Beats, Heart  # noqa: E402
from podium.execution.rank import Rank, Whereabouts  # noqa: E402
from podium.execution.sharing import require_shared  # noqa: E402
from podium.training.seats import Seat  # noqa: E402

START_ATTEMPTS = 3
"""How often gangs may die before they were ready, in a row, before the executor gives up."""

FOLLOW_EVERY_S = 3.0
"""How often the executor looks whether more gangs fit, since hosts come and go."""

HERE = "127.0.0.1"

MEET_S = 60.0
"""How long a rank may keep the others waiting at first; later it is `limits.heartbeat_s`, if that is longer."""

EXAMINE_S = 15.0
"""How long a host may take to say what it knows of a gang that died on it."""


@dataclass
class Gang:
    """What the executor knows of a gang.

    Attributes:
        name: Its name.
        ranks: Its actors.
        hearts: What their beats tell.
        group: What holds their places together; None for one rank.
        where: Where each rank is, as far as they have said.
        is_ready: Whether all ranks have warmed up.
        advance: What it runs; None if it is idle.
        gone: When it has left by itself, since it is out of reach; None while it is not.
    """

    name: str
    ranks: list[Any]
    hearts: list[Heart]
    group: Any
    where: dict[int, Whereabouts] = field(default_factory=dict)
    is_ready: bool = False
    advance: Advance | None = None
    gone: float | None = None


@dataclass(frozen=True)
class Question:
    """What is done with an answer from afar, with an error in its place, and when an answer comes too late."""

    answer: Callable[[Any], list[Event]]
    failed: Callable[[Exception], list[Event]]
    due: float = math.inf


class RayExecutor:
    """Gangs on the connected Ray, as many as fit, replaced when one of their ranks dies.

    Args:
        assignment: What the workers work on.
        most: No more gangs than this are started.
    """

    def __init__(self, assignment: Assignment, most: int) -> None:
        self._assignment, self._most = assignment, most
        self._spec = SweepSpec.model_validate(assignment.spec)
        self._gangs: dict[str, Gang] = {}
        self._questions: dict[Any, Question] = {}
        self._beats = Beats(self._spec.limits.heartbeat_s)
        self._started = self._early_deaths = 0
        self._followed = 0.0

    def start(self) -> None:
        """Begins to start as many gangs as fit.

        Raises:
            CapacityError: if not one gang fits.
            UserError: if the hosts do not share the store.
        """
        require_shared(self._assignment.store)
        count_gangs(nodes(), self._spec.resources)
        self._follow()
        self._beats.start()

    def advance(self, command: Advance) -> None:
        """Begins an advance on a gang."""
        gang = self._gangs.get(command.gang)
        if gang is not None:
            gang.advance = command
            for number, rank in enumerate(gang.ranks):
                self._ask(gang, number, rank.advance.remote(command), lambda _: [])

    def halt(self, command: Halt) -> None:
        """Asks a gang to end its advance at the next step."""
        gang = self._gangs.get(command.gang)
        if gang is not None:
            for number, rank in enumerate(gang.ranks):
                self._ask(gang, number, rank.halt.remote(command), lambda _: [])

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What the gangs have told, waiting at most `timeout_s`.

        Raises:
            PodiumError: if gangs keep dying before they are ready.
        """
        self._beats.check()
        if time.monotonic() - self._followed > FOLLOW_EVERY_S:
            self._follow()
        if not self._questions:
            time.sleep(timeout_s)
            return []
        ready, _ = ray.wait(list(self._questions), num_returns=1, timeout=timeout_s)
        if ready and len(self._questions) > 1:
            ready, _ = ray.wait(list(self._questions), num_returns=len(self._questions), timeout=0)
        news = [event for reference in ready for event in self._hear(reference)]
        return news + self._give_up_overdue()

    def close(self) -> None:
        """Ends all gangs."""
        self._beats.close()
        for gang in self._gangs.values():
            _end(gang)
        self._gangs.clear()
        self._questions.clear()

    # gangs come

    def _follow(self) -> None:
        """Starts gangs up to the number that fits now; one that finds no place after all waits for it."""
        self._followed = time.monotonic()
        try:
            fit = min(self._most, count_gangs(nodes(), self._spec.resources))
        except CapacityError:
            return
        for _ in range(fit - len(self._gangs)):
            self._start_gang()

    def _start_gang(self) -> None:
        name = f"{self._assignment.holder}-{self._started}"
        self._started += 1
        resources = self._spec.resources
        options: dict[str, Any] = {"num_cpus": resources.cpus, "num_gpus": resources.gpus, "max_concurrency": 4}
        group = None
        if resources.ranks > 1:
            bundle = {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}
            group = placement_group([bundle] * resources.ranks, strategy="PACK")
            options["scheduling_strategy"] = PlacementGroupSchedulingStrategy(group)
        make: Any = ray.remote(Rank).options(**options)
        ranks = [make.remote(self._assignment, name) for _ in range(resources.ranks)]
        hearts = [self._beats.add(rank) for rank in ranks]
        gang = self._gangs[name] = Gang(name, ranks, hearts, group)
        for number, rank in enumerate(ranks):
            self._ask(gang, number, rank.where.remote(), functools.partial(self._place, gang, number))

    def _place(self, gang: Gang, number: int, where: Whereabouts) -> list[Event]:
        """A rank is there; once all are, they are seated, at one table if they are several."""
        gang.where[number] = where
        if len(gang.where) < len(gang.ranks):
            return []
        if len(gang.ranks) == 1:
            self._seat(gang, [None])
            return []
        first = gang.where[0]
        is_one_host = all(each.node == first.node for each in gang.where.values())
        addresses = [HERE if is_one_host else gang.where[each].address for each in sorted(gang.where)]

        def seat(port: int) -> list[Event]:
            table, within_s = (len(gang.ranks), addresses[0], port), max(MEET_S, self._spec.limits.heartbeat_s)
            self._seat(gang, [Seat(each, *table, address, within_s) for each, address in enumerate(addresses)])
            return []

        self._ask(gang, 0, gang.ranks[0].listen.remote(addresses[0]), seat)
        return []

    def _seat(self, gang: Gang, seats: Sequence[Seat | None]) -> None:
        waiting = set(range(len(seats)))

        def greet(number: int, _: Whereabouts) -> list[Event]:
            waiting.discard(number)
            return [] if waiting else self._greet(gang)

        for number, (rank, seat) in enumerate(zip(gang.ranks, seats, strict=True)):
            self._ask(gang, number, rank.warm_up.remote(seat), functools.partial(greet, number))

    def _greet(self, gang: Gang) -> list[Event]:
        self._early_deaths = 0
        gang.is_ready = True
        for number, heart in enumerate(gang.hearts):
            heart.is_up = True
            self._listen(gang, number)
        return [GangReady(gang=gang.name, devices="; ".join(str(gang.where[each]) for each in sorted(gang.where)))]

    # gangs tell

    def _listen(self, gang: Gang, number: int) -> None:
        self._ask(gang, number, gang.ranks[number].events.remote(), lambda events: self._pass_on(gang, number, events))

    def _pass_on(self, gang: Gang, number: int, events: list[Event]) -> list[Event]:
        """What a rank tells: all of the first one's, and of the others what ends the gang.

        Ranks wait in vain for one that failed: where there are several, a failure is the gang's end.
        """
        if len(gang.ranks) > 1:
            events = [_as_loss(event) if isinstance(event, AdvanceFailed) else event for event in events]
            events = [event for event in events if number == 0 or isinstance(event, GangLost)]
        if any(isinstance(event, Advanced | AdvanceFailed) for event in events):
            gang.advance = None
        if any(isinstance(event, GangLost) for event in events):
            self._dismiss(gang)
        else:
            self._listen(gang, number)
        return events

    def _ask(self, gang: Gang, number: int, reference: Any, answer: Callable[[Any], list[Event]]) -> None:
        self._questions[reference] = Question(
            lambda result: answer(result) if gang.name in self._gangs else [],
            lambda error: self._lose(gang, number, error),
        )

    def _hear(self, reference: Any) -> list[Event]:
        question = self._questions.pop(reference)
        try:
            result = ray.get(reference)
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, PodiumError) else error from None
        except RayError as error:
            return question.failed(error)
        return question.answer(result)

    def _give_up_overdue(self) -> list[Event]:
        now = time.monotonic()
        overdue = [reference for reference, question in self._questions.items() if question.due < now]
        questions = [self._questions.pop(reference) for reference in overdue]
        return [event for question in questions for event in question.failed(TimeoutError("no answer in time"))]

    # gangs go

    def _lose(self, gang: Gang, number: int, error: Exception) -> list[Event]:
        """A rank does not answer: it is dead, or out of reach and given up only when it must have left by itself."""
        if gang.name not in self._gangs:
            return []
        if isinstance(error, ActorUnavailableError):
            self._beats.remove(gang.ranks[number])
            gang.gone = gang.gone or time.monotonic() + GONE_S
            if time.monotonic() < gang.gone:
                self._listen(gang, number)
                return []
        self._dismiss(gang)
        if not gang.is_ready:
            self._note_early_death(error)
            return []
        return self._examine(gang, number, error)

    def _dismiss(self, gang: Gang) -> None:
        """Ends a gang, if it still lives, and starts another where one fits."""
        del self._gangs[gang.name]
        for rank in gang.ranks:
            self._beats.remove(rank)
        _end(gang)
        self._follow()

    def _note_early_death(self, error: Exception) -> None:
        if _host_died(error) or self._beats.was_stopped():
            return
        self._early_deaths += 1
        if self._early_deaths >= START_ATTEMPTS:
            raise PodiumError(
                f"{self._early_deaths} gangs in a row died before they were ready. What the last one wrote is in Ray's "
                f"logs (/tmp/ray/session_latest/logs on its host); Ray says: {str(error).splitlines()[-1]}"
            ) from None

    def _examine(self, gang: Gang, number: int, error: Exception) -> list[Event]:
        """Looks at what a dead rank left on its host, which is asked if it is another one than this."""
        where = gang.where[number]
        conclude = functools.partial(self._conclude, gang, number, error)
        trial = None if gang.advance is None else gang.advance.lanes[0].trial
        arguments = (self._assignment.store, self._spec.sweep, trial, Path(self._assignment.cache))
        if where.node == ray.get_runtime_context().get_node_id() and local_path(self._assignment.store, "") is not None:
            return conclude(examine(*arguments))
        there = NodeAffinitySchedulingStrategy(where.node, soft=False)
        reference = ray.remote(examine).options(num_cpus=0, scheduling_strategy=there).remote(*arguments)
        self._questions[reference] = Question(
            answer=conclude,
            failed=lambda _: conclude(Findings(examine(*arguments).log_tail)),
            due=time.monotonic() + EXAMINE_S,
        )
        return []

    def _conclude(self, gang: Gang, number: int, error: Exception, findings: Findings) -> list[Event]:
        where, pulse = gang.where[number], gang.hearts[number].pulse
        known = where.oom_kills if pulse is None else pulse.oom_kills
        cause, how = self._verdict(gang, number, error, has_oom_kill=findings.oom_kills > known)
        detail = f"{where.subject} {how}"
        return [GangLost(gang=gang.name, cause=cause, detail=detail, log_tail=findings.log_tail)]

    def _verdict(self, gang: Gang, number: int, error: Exception, has_oom_kill: bool) -> tuple[Cause, str]:
        if hang := gang.hearts[number].hang:
            return "hang", f"{hang}; limits.heartbeat_s is {self._spec.limits.heartbeat_s:g}"
        if isinstance(error, OutOfMemoryError):
            return "out_of_memory", f"was ended by Ray: {str(error).splitlines()[0]}"
        if has_oom_kill:
            return "out_of_memory", "was killed by the kernel, because the memory of its host ran out"
        if self._beats.was_stopped():
            return "preempted", "left, since the driver was stopped"
        if gang.gone is not None:
            return "worker_lost", "is out of reach"
        if _host_died(error):
            return "worker_lost", "died with its host"
        return "worker_lost", "died: it was killed, or crashed" + _pointer(gang.advance)


def _end(gang: Gang) -> None:
    for rank in gang.ranks:
        ray.kill(rank)
    if gang.group is not None:
        remove_placement_group(gang.group)


def _as_loss(failure: AdvanceFailed) -> GangLost:
    return GangLost(gang=failure.gang, cause=failure.cause, detail=failure.detail, log_tail=failure.log_tail)


def _pointer(advance: Advance | None) -> str:
    """Whose log has what the lanes of an advance printed; nothing if none ran."""
    return "" if advance is None else f"; the log of trial {advance.lanes[0].trial} may say more"


def _host_died(error: Exception) -> bool:
    return "its node has died" in str(error)


def connect(address: str | None) -> None:
    """Joins the Ray at `address`, or starts one on this machine.

    Raises:
        UserError: if there is no Ray at the address.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    before = signal.getsignal(signal.SIGTERM)
    try:
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

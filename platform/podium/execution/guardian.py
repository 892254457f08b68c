"""The guardian of a sweep that was submitted from elsewhere: an actor that keeps its driver running.

Ray starts it again on another host when its own dies. The driver is its child, and ends with it.
"""

import hashlib
import os
import secrets
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import ray

from podium.errors import PodiumError, Refused, UserError
from podium.execution.driver_log import DriverLog, masked
from podium.execution.frames import Frame
from podium.execution.supervisor import AGAIN, outlast
from podium.masking import Secrets

SPACE = "podium"
"""Ray's namespace for guardians."""

SHARED = ("PODIUM_LEDGER", "MLFLOW_TRACKING_URI")
"""Variables that must be the same on every host that may run a driver; they may hold passwords, and do not travel."""

HELD_PAUSE_S = 5.0
"""How long a driver on a new host waits before it asks for the sweep again, whose last holder may not be silent yet."""

LINGER_S = 5.0
"""How long a guardian stays after the end, for whoever follows to hear of it."""

LIKE_A_HOST = {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1", "RAY_worker_niceness": "0"}
"""Variables by which Ray leaves a driver the host's devices and priority, of which it takes a worker its share."""

HEAR_S = 1.0
AWAY_S = 60.0
"""How long a guardian that is being started elsewhere may take to answer until that is said."""

ASK_S = 10.0
"""How long who asks a guardian for something at once waits."""

MOST_FOLLOWERS = 32

MOST_LINES = 20_000
"""So many lines are kept for who follows from the beginning."""


@dataclass(frozen=True)
class Charge:
    """What a guardian keeps running.

    Attributes:
        sweep: The sweep's name.
        command: The driver's command line; it must be one that goes on where it was left. Holds no secret.
        content: The digest of what came along.
        restarts: How often the driver may be started again on one host.
        store: Where what the driver says is kept.
        user: Who submitted it.
        shared: By name of `SHARED` the digest of its value on the host where it was submitted.
    """

    sweep: str
    command: tuple[str, ...]
    content: str
    restarts: int
    store: str
    user: str
    shared: Mapping[str, str]


@dataclass(frozen=True)
class News:
    """What a driver has said since somebody last asked.

    Attributes:
        life: Which life of the guardian said it.
        position: Up to which line.
        lines: Those since then.
        code: How the driver ended; None while it runs.
    """

    life: str
    position: int
    lines: list[str]
    code: int | None


class Guardian:
    """Runs the driver of one sweep until it has ended; a Ray actor.

    Args:
        charge: What it keeps running.
    """

    def __init__(self, charge: Charge) -> None:
        self._charge = charge
        self._life, self._lines, self._position = secrets.token_hex(4), deque[str](maxlen=MOST_LINES), 0
        self._log = DriverLog(charge.store, charge.sweep)
        self._secrets = Secrets()
        self._code: int | None = None
        self._changed, self._is_heard = threading.Condition(), threading.Event()
        self._is_again = bool(ray.get_runtime_context().was_current_actor_reconstructed)
        threading.Thread(target=self._keep, daemon=True).start()

    def charge(self) -> Charge | None:
        """What it keeps running; None once that has ended."""
        return self._charge if self._code is None else None

    def news(self, life: str, position: int) -> News:
        """What was said beyond a position of that life; waits for something for `HEAR_S`."""
        with self._changed:
            start = position if life == self._life else 0
            self._changed.wait_for(lambda: self._position > start or self._code is not None, HEAR_S)
            if self._code is not None:
                self._is_heard.set()
            first = self._position - len(self._lines)
            lines = list(islice(self._lines, max(0, start - first), None))
            return News(self._life, self._position, lines, self._code)

    def earlier(self) -> str:
        """What drivers had said before this guardian was there."""
        return self._log.earlier()

    def _keep(self) -> None:
        if self._is_again:
            self._say(f"its host is gone; the driver goes on on {socket.gethostname()}")
        try:
            code = self._refusal() or outlast(self._run, self._charge.restarts, self._say, _wait)
        except Exception as error:
            self._say(f"its guardian failed: {type(error).__name__}: {error}")
            code = PodiumError.exit_code
        self._log.close()
        with self._changed:
            self._code = code
            self._changed.notify_all()
        self._is_heard.wait(LINGER_S)
        time.sleep(HEAR_S)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _refusal(self) -> int:
        """The code to end with if this host has other databases than the one where the sweep was submitted."""
        if others := [name for name, digest in shared().items() if digest != self._charge.shared[name]]:
            self._say(
                f"{' and '.join(others)} on {socket.gethostname()} differ from the head's; set the same on every host "
                "before Ray is started there"
            )
            return UserError.exit_code
        return 0

    def _run(self) -> int:
        """Runs the driver once it is let: the last one may have died with its host, and hold the sweep's lease."""
        while (code := self._drive()) == Refused.exit_code and self._is_again:
            time.sleep(HELD_PAUSE_S)
        self._is_again = True
        return code

    def _drive(self) -> int:
        # the driver ends when nobody holds the other end of its input any more, however this process ends
        with subprocess.Popen(  # noqa: S603 - our own command line
            self._charge.command,
            env={**_environment(), **({AGAIN: "1"} if self._is_again else {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as driver:
            assert driver.stdout is not None
            for line in driver.stdout:
                self._add(line)
            return driver.wait()

    def _say(self, text: str) -> None:
        self._add(Frame("err", f"podium: {text}\n").line())

    def _add(self, line: str) -> None:
        line, text = masked(line, self._secrets)
        self._log.add(text)
        with self._changed:
            self._lines.append(line)
            self._position += 1
            self._changed.notify_all()


def shared() -> dict[str, str]:
    """By name the digest of what this host has of `SHARED`."""
    return {name: hashlib.sha256(os.environ.get(name, "").encode()).hexdigest() for name in SHARED}


def plant(name: str, charge: Charge, *, at_head: bool) -> bool:
    """Has a guardian keep a sweep's driver running; needs a connected Ray.

    Args:
        name: What it is found by; one alone can have it.
        charge: What it keeps running.
        at_head: Whether it can be on the head alone; else it is elsewhere if there is another host.

    Returns:
        False if there is a guardian of that name already.
    """
    nodes = ray.nodes()  # type: ignore[no-untyped-call]
    head = next(node["NodeID"] for node in nodes if "node:__internal_head__" in node["Resources"])
    options: dict[str, Any] = {
        "name": name,
        "namespace": SPACE,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
        "max_concurrency": MOST_FOLLOWERS,
        "label_selector": {"ray.io/node-id": head},
        "runtime_env": {"env_vars": LIKE_A_HOST},
    }
    if not at_head:
        options["fallback_strategy"] = [{"label_selector": options["label_selector"]}]
        options["label_selector"] = {"ray.io/node-id": f"!{head}"}
    try:
        ray.remote(Guardian).options(**options).remote(charge)
    except ValueError:
        return False
    return True


def find(name: str) -> Charge | None:
    """What the guardian of that name keeps running; None if there is none, or it has ended.

    Raises:
        Refused: if there is one that does not answer now.
    """
    return cast(Charge | None, _ask(name, "charge"))


def earlier(name: str) -> str:
    """What drivers of that sweep had said before the guardian of that name was there.

    Raises:
        Refused: if it does not answer now.
    """
    return cast(str | None, _ask(name, "earlier")) or ""


def _ask(name: str, method: str) -> object:
    """What a guardian answers; None if there is none."""
    deadline = time.monotonic() + ASK_S
    while True:
        try:
            guardian: Any = ray.get_actor(name, SPACE)
            return ray.get(getattr(guardian, method).remote(), timeout=ASK_S)
        except (ray.exceptions.ActorUnavailableError, ray.exceptions.GetTimeoutError):
            if time.monotonic() > deadline:
                sweep = name.rpartition("/")[2]
                raise Refused(f"the driver of {sweep!r} is being started elsewhere; try again in a minute") from None
            time.sleep(HEAR_S)
        except (ValueError, ray.exceptions.RayActorError):
            return None


def follow(name: str, *, to_end: bool = True) -> Iterator[str | int]:
    """The lines that a driver has said, and says, and in the end its exit code; without `to_end` what it has said.

    Raises:
        PodiumError: if its guardian is gone without a word.
    """
    life, position, answered = "", 0, time.monotonic()
    while True:
        try:
            guardian: Any = ray.get_actor(name, SPACE)
            news: News = ray.get(guardian.news.remote(life, position), timeout=AWAY_S)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            if time.monotonic() - answered > AWAY_S:
                answered = time.monotonic()
                yield Frame("err", "podium: the driver's host does not answer; it is started on another one\n").line()
            time.sleep(HEAR_S)
            continue
        except ValueError:
            raise PodiumError("the driver has ended, and nobody has heard how") from None
        answered = time.monotonic()
        life, position = news.life, news.position
        yield from news.lines
        if news.code is not None:
            yield news.code
        if news.code is not None or not to_end:
            return


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _environment() -> dict[str, str]:
    """The host's, without what Ray adds for a worker of its own."""
    added = ("RAY_JOB_ID", "RAY_RAYLET_PID", *LIKE_A_HOST)
    return {name: value for name, value in os.environ.items() if name not in added}

"""Services: processes that are started one after the other, watched, started again, and ended by their numbers."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from podium.errors import UserError
from podium.execution.supervisor import LONGEST_PAUSE_S, PAUSE_S

LOOK_EVERY_S = 0.2

START_S = 600.0
"""How long a service may take until it answers."""

END_S = 60.0
"""How long it may take to end."""

STEADY_S = 60.0
"""After so long a service that dies is started again at once, as if it had never died before."""

SAID_LINES = 12
"""So much of its log is shown of a service that does not start."""


@dataclass(frozen=True)
class Service:
    """A process that others ask.

    Attributes:
        name: How people call it.
        command: Its command line, without secrets.
        environment: Its whole environment.
        answers: Whether it does what it is for; may raise UserError if it never will.
        user: Whose process it is; this process's user, if empty.
        ending: The signal that ends it in good order.
        tries: How often it may end instead of starting until it is given up.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    answers: Callable[[], bool]
    user: str = ""
    ending: signal.Signals = signal.SIGTERM
    tries: int = 1


class Left(Exception):
    """The user wants to leave, while something was still being started."""


class Services:
    """The services of one server.

    Args:
        logs: The folder where each writes what it says, `NAME.log`.
        say: Told what happens.
        masked: Makes a text fit to be shown.
    """

    def __init__(self, logs: Path, say: Callable[[str], None], masked: Callable[[str], str]) -> None:
        self._logs, self._say, self._masked = logs, say, masked
        self._running: list[_Running] = []
        self._leaving = threading.Event()

    @contextmanager
    def kept(self) -> Iterator["Services"]:
        """Listens to SIGINT and SIGTERM, and ends with the block what was started in it, the last one first."""
        before = {number: signal.signal(number, self._leave) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for running in reversed(self._running):
                running.end()
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self, service: Service) -> None:
        """Starts a service and waits until it answers.

        Raises:
            UserError: if it ends instead, as often as it may, or takes too long.
            Left: if the user does not want to wait.
        """
        self._say(f"Starting {service.name}")
        log = self._logs / f"{service.name}.log"
        running, began = _Running(service, log), time.monotonic()
        self._running.append(running)
        running.start()
        while not (running.is_alive and service.answers()):
            self.heed()
            if not (running.is_alive or running.starts < service.tries):
                said = self._masked(_last_lines(log))
                raise UserError(f"{service.name} ended instead of starting; it said, in {log}:\n{said}")
            running.look_after(self._say)
            if time.monotonic() - began > START_S:
                raise UserError(f"{service.name} has not answered for {START_S:.0f} s; see {log}")
            self._leaving.wait(LOOK_EVERY_S)

    def heed(self) -> None:
        """Stops what goes on if the user wants to leave.

        Raises:
            Left: if that is so.
        """
        if self._leaving.is_set():
            raise Left

    def watch(self) -> None:
        """Starts again what dies, after pauses that grow, until the user wants to leave."""
        while not self._leaving.wait(LOOK_EVERY_S):
            for running in self._running:
                running.look_after(self._say)

    def _leave(self, _number: int, _frame: FrameType | None) -> None:
        self._leaving.set()


class _Running:
    """A service, in a group of its own: what the terminal sends does not reach it."""

    def __init__(self, service: Service, log: Path) -> None:
        self._service, self._log = service, log
        self._process: subprocess.Popen[bytes] | None = None
        self._began, self._due, self._deaths = 0.0, 0.0, 0
        self.starts = 0

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        service = self._service
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                service.command,
                env=service.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                cwd="/",
                **as_user(service.user),  # type: ignore[call-overload]
            )
        self._began, self._due = time.monotonic(), 0.0
        self.starts += 1

    def look_after(self, say: Callable[[str], None]) -> None:
        now = time.monotonic()
        if self.is_alive:
            return
        if not self._due:
            self._sweep_up()
            self._deaths = 0 if now - self._began > STEADY_S else self._deaths + 1
            pause_s = min(PAUSE_S * 2 ** max(self._deaths - 1, 0), LONGEST_PAUSE_S)
            self._due = now + pause_s
            say(f"{self._service.name} has ended, see {self._log}; it is started again in {pause_s:g} s")
        elif now >= self._due:
            self.start()

    def end(self) -> None:
        process = self._process
        if process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            if process.poll() is None:
                process.send_signal(self._service.ending)
            process.wait(END_S)
        self._sweep_up()
        process.wait()

    def _sweep_up(self) -> None:
        """Kills what is left of the group, whose leader has ended or should have."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def as_user(name: str) -> dict[str, object]:
    """What `subprocess` is told to start a process as another user; nothing for an empty name."""
    return {"user": name, "group": name, "extra_groups": ()} if name else {}


def is_free(address: str, port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-SAID_LINES:])

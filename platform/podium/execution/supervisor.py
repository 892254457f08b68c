"""The supervisor: a driver in a process of its own, started again when it dies."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

from podium.errors import DEFECT, Interrupted

PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0
"""How long the first pause before a new start is, and how long pauses grow: each is twice the one before."""

AGAIN = "PODIUM_IS_AGAIN"
"""Tells a driver by the environment that nobody asked for it now: it is started again after one that died."""


def supervise(command: Sequence[str], environment: Mapping[str, str], restarts: int, say: Callable[[str], None]) -> int:
    """Runs a command of Podium, and runs it again when its process was killed, met a defect or a storage fault.

    A signal to leave (SIGINT or SIGTERM) is passed on, and ends the supervision.

    Args:
        command: Its command line; it must be one that goes on where it was left.
        environment: Its variables.
        restarts: How often it may be started again.
        say: Told of every death.

    Returns:
        The exit code of the last process; 128 and the signal's number for one that was killed.
    """
    with _Child(command, environment).heeding_signals() as child:
        return outlast(child.run, restarts, say, child.leaving.wait)


def outlast(
    run: Callable[[], int], restarts: int, say: Callable[[str], None], is_leaving: Callable[[float], bool]
) -> int:
    """Runs something until it ends by itself, or was started again often enough.

    Args:
        run: Runs it once; returns its exit code, or a signal's number below zero.
        restarts: How often it may be started again.
        say: Told of every death.
        is_leaving: Waits for so many seconds; returns whether it is not to be started again.

    Returns:
        As `supervise`.
    """
    for number in range(restarts + 1):
        code = run()
        is_death = code < 0 or code in (DEFECT, Interrupted.exit_code)
        if not is_death or number == restarts or is_leaving(0):
            break
        pause_s = min(PAUSE_S * 2**number, LONGEST_PAUSE_S)
        say(f"the driver ended by {_name(code)}; it is started again in {pause_s:g} s ({number + 1} of {restarts})")
        if is_leaving(pause_s):
            break
    return code if code >= 0 else 128 - code


class _Child:
    """The process that is supervised, in a group of its own: what the terminal sends reaches it once."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self.leaving = threading.Event()

    def run(self) -> int:
        environment = {**self._environment, **({AGAIN: "1"} if self._process is not None else {})}
        self._process = subprocess.Popen(self._command, env=environment, process_group=0)  # noqa: S603
        if self.leaving.is_set():
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait()

    @contextmanager
    def heeding_signals(self) -> Iterator["_Child"]:
        before = {number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self.leaving.set()
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, number)


def _name(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"

"""The driver's side of the tracker: a process that is started, tended, and waited for in the end."""

import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from subprocess import DEVNULL, STDOUT, Popen, TimeoutExpired
from typing import TYPE_CHECKING

from podium.errors import Interrupted, UserError
from podium.wiring.place import Place
from podium.wiring.tracker import PROGRESS, SAID

if TYPE_CHECKING:
    from podium.wiring.launch import Watcher

POLL_S = 0.1
TEND_EVERY_S = 1.0

STARTS = 4
"""How often the tracker of one launch is started: once, and again when it was killed or met an error of its own."""

LEAVE_S = 15.0
"""How long a driver that the user asked to leave waits for its tracker."""


class Follower:
    """Starts `podium sync --follow` beside the driver.

    Args:
        sweep: The sweep to show.
        place: Where it lives.
        beyond: The last event before this launch: an end that the sweep came to by then is not the one to stop at.
        watcher: Who is told what the tracker has to say.
    """

    def __init__(self, sweep: str, place: Place, beyond: int, watcher: "Watcher") -> None:
        self._watcher = watcher
        self._log = place.home / "logs" / sweep / "tracker.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        self._command, self._environment = place.command("sync", sweep, "--follow", "--beyond", str(beyond))
        self._starts = self._heard = 0
        self._tended = time.monotonic()
        self._start()

    def abandon(self) -> None:
        """Ends the process: nothing was launched for it to show."""
        self._process.terminate()
        self._process.wait()

    def tend(self) -> None:
        """Passes on what the tracker says, and starts it again if it died; the driver calls this in every loop."""
        if time.monotonic() - self._tended < TEND_EVERY_S:
            return
        self._tended = time.monotonic()
        with suppress(OSError):  # no machine is too full for the sweep to go on without its tracker
            self._pass_on()
            if self._process.poll() not in (None, 0, UserError.exit_code):
                self._start()

    def wait(self) -> str:
        """Waits until MLflow shows everything; returns what went wrong, empty if nothing.

        The tracker gives up by itself when MLflow is away for long. One that is still at work when the user wants to
        leave goes on by itself, until it has shown everything or gives up.
        """
        self._tended = 0.0
        self.tend()
        was_leaving, began = self._watcher.is_interrupted(), time.monotonic()
        while True:
            code = self._poll()
            if code in (None, 0):
                self._pass_on()
            if code == 0:
                return ""
            if code is None:
                is_late = not was_leaving or time.monotonic() - began > LEAVE_S
                if self._watcher.is_interrupted() and is_late:
                    return "its tracker is still at work, and goes on by itself"
            elif code in (UserError.exit_code, Interrupted.exit_code) or not self._start():
                return self._last_words()

    def _start(self) -> bool:
        """Starts the tracker, if it was not started too often; returns whether it was."""
        if self._starts == STARTS:
            return False
        self._starts += 1
        with self._log.open("a") as log:
            self._process = Popen(  # noqa: S603 - our own command line
                self._command,
                env=self._environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                start_new_session=True,
            )
        return True

    def _poll(self) -> int | None:
        try:
            return self._process.wait(POLL_S)
        except TimeoutExpired:
            return None

    def _pass_on(self) -> None:
        for text in self._news():
            self._watcher.stage(text) if text.startswith(PROGRESS) else self._watcher.warn(text)

    def _news(self) -> Iterator[str]:
        """What the tracker has said to the user since the last time."""
        with self._log.open("rb") as log:
            log.seek(self._heard)
            for line in log:
                if not line.endswith(b"\n"):
                    return
                self._heard += len(line)
                text = line.decode(errors="replace").rstrip()
                if text.startswith(SAID):
                    yield text.removeprefix(SAID)

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it left no message"]
        return f"{textwrap.shorten(lines[-1].removeprefix(SAID), 300)} (all of it in {self._log})"

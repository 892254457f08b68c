"""Podium in a real terminal: drawn in place, left by Ctrl-C, in the size it has."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shown_sweeps import Story, make_spec, make_story  # noqa: F401
from wiring_cases import QUICK, paced, write_quick

from podium.ledger import Book

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, folder: Path, *arguments: str, columns: int = 80, lines: int = 24, **environment: str) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        size = ("COLUMNS", "LINES", "NO_COLOR", "COLORTERM")
        inherited = {key: value for key, value in os.environ.items() if key not in size}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "podium", *arguments],
            cwd=folder,
            env=inherited | {"TERM": "xterm-256color", "COLORFGBG": "15;0"} | environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - for Ctrl-C to reach it
        )
        os.close(slave)
        self._master, self.shown = master, ""

    def until(self, said: str, within_s: float = 90) -> None:
        """Waits until the screen has shown something."""
        deadline = time.monotonic() + within_s
        while said not in self.shown:
            assert time.monotonic() < deadline, self.shown
            if not self._read(0.2) and self.process.poll() is not None:
                assert said in self.shown, self.shown

    def press(self, key: str) -> None:
        os.write(self._master, key.encode())

    def end(self) -> int:
        """The exit code, once everything was read."""
        while self._read(0.2) or self.process.poll() is None:
            pass
        os.close(self._master)
        return self.process.returncode

    def _read(self, within_s: float) -> bool:
        if not select.select([self._master], [], [], within_s)[0]:
            return False
        try:
            self.shown += os.read(self._master, 65536).decode(errors="replace")
        except OSError:  # the other end is closed
            time.sleep(0.05)
            return False
        return True


@pytest.fixture
def driven(tmp_path: Path, make_story: Callable[..., Story]) -> Iterator[Callable[[], None]]:  # noqa: F811
    """A sweep that this test drives; gives what ends it."""
    story = make_story(trials=4)
    while len(story.rows) < 6:
        story.step()
    book = Book.at_home(tmp_path)
    ledger = book.hold("shown")
    ledger.append([row.event.model_copy(update={"usage": ()}) for row in story.rows])
    written = len(story.rows)

    def finish() -> None:
        ledger.append([row.event.model_copy(update={"usage": ()}) for row in story.play().rows[written:]])
        ledger.release()

    yield finish
    book.close()


def test_a_sweep_is_watched_in_place_until_its_end(tmp_path: Path, driven: Callable[[], None]) -> None:
    terminal = Terminal(tmp_path, "watch", "--home", ".", columns=60)
    terminal.until("1/4 trials")
    driven()
    assert terminal.end() == 0
    assert HIDE in terminal.shown
    assert terminal.shown.rfind(SHOW) > terminal.shown.rfind(HIDE), "the cursor is there again"
    assert "shown: finished (budget spent)" in terminal.shown
    assert re.search(r"\x1b\[38;5;\d+m█", terminal.shown), "the palette's colours, as near as 256 come to them"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_leaving_a_watched_sweep_leaves_it_alone(tmp_path: Path, driven: object, number: signal.Signals) -> None:
    terminal = Terminal(tmp_path, "watch", "shown", "--home", ".", NO_COLOR="1", LC_ALL="C")
    terminal.until("1/4 trials")
    terminal.press("\x03") if number is signal.SIGINT else terminal.process.send_signal(number)
    assert terminal.end() == 0
    assert "podium: left; shown goes on as it was" in terminal.shown
    assert terminal.shown.rfind(SHOW) > terminal.shown.rfind(HIDE)
    assert terminal.shown.isascii()
    assert "\x1b[3" not in terminal.shown
    assert Book.at_home(tmp_path).holder("shown") is not None


@pytest.mark.slow
def test_a_launch_is_drawn_in_a_terminal_and_left_by_ctrl_c(tmp_path: Path) -> None:
    folder = write_quick(tmp_path, QUICK.replace("trials: 6", "trials: 60"), paced(0.1))
    terminal = Terminal(folder, "launch", "sweep.yaml", "--cluster", "inline", columns=100)
    terminal.until("running")
    terminal.until("best score")
    terminal.press("\x03")
    terminal.until("Once more leaves at once")
    assert terminal.end() == 75
    assert "Go on with:  podium resume quick" in terminal.shown
    assert terminal.shown.rfind(SHOW) > terminal.shown.rfind(HIDE)


def test_a_mistake_is_shown_with_its_line(tmp_path: Path) -> None:
    folder = write_quick(tmp_path, QUICK.replace("policy: asha", "policy: ashaa"))
    terminal = Terminal(folder, "check", "sweep.yaml", columns=70)
    assert terminal.end() == 2
    assert "^^^^^" in terminal.shown
    assert "did you mean" in terminal.shown


@pytest.mark.parametrize("columns", [40, 100])
def test_a_table_is_read_in_a_narrow_window(tmp_path: Path, driven: Callable[[], None], columns: int) -> None:
    driven()
    terminal = Terminal(tmp_path, "list", "--home", ".", columns=columns)
    assert terminal.end() == 0
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.shown.splitlines()]
    assert max(map(len, plain)) <= columns
    assert ("trials" in plain[0]) == (columns == 100)
    assert any("finished" in line for line in plain)
    assert "\x1b[38;5;" in terminal.shown, "the state has its colour"

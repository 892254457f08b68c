"""Drivers that die under `--restarts`: real processes, real signals."""

import getpass
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from wiring_cases import paced, podium, podium_here, write_quick

from podium.execution.supervisor import AGAIN, supervise
from podium.ledger import Book
from podium.sweep.messages import Progress, Resumed

pytestmark = pytest.mark.slow


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A folder with a sweep of a training function that takes its time."""
    return write_quick(tmp_path, train=paced(0.3))


@contextmanager
def supervised(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A command with `--cluster inline --json`, ended with the block."""
    command = [sys.executable, "-m", "podium", *arguments, "--cluster", "inline", "--json"]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def count(folder: Path, kind: type) -> int:
    return sum(isinstance(row.event, kind) for row in Book.at_home(folder / ".podium").rows("quick"))


def driver(folder: Path) -> int:
    """The process that drives the sweep."""
    holder = Book.at_home(folder / ".podium").holder("quick")
    match = re.match(r"process (\d+) on ", holder or "")
    return int(match[1]) if match else 0


def kill_driver(folder: Path, resumptions: int) -> None:
    """Kills the driver of that life once it has begun to train."""
    wait_until(lambda: (folder / ".podium" / "ledger.db").exists() and count(folder, Resumed) == resumptions)
    before = count(folder, Progress)
    wait_until(lambda: count(folder, Progress) > before and driver(folder))
    os.kill(driver(folder), signal.SIGKILL)


def test_a_driver_that_is_killed_twice_ends_its_sweep(slow: Path) -> None:
    with supervised(slow, "launch", "sweep.yaml", "budget.trials=12", "--restarts", "2") as process:
        kill_driver(slow, 0)
        kill_driver(slow, 1)
        output, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    summary = json.loads(output.splitlines()[-1])
    assert (summary["state"], summary["trials"]["total"]) == ("finished", 12)
    assert "the driver ended by SIGKILL; it is started again in 1 s (1 of 2)" in problems
    assert "in 2 s (2 of 2)" in problems
    assert podium_here(slow, "ledger", "verify", "quick").code == 0


def test_restarts_are_counted(slow: Path) -> None:
    with supervised(slow, "launch", "sweep.yaml", "budget.trials=60", "--restarts", "1") as process:
        kill_driver(slow, 0)
        kill_driver(slow, 1)
        process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGKILL
    assert podium_here(slow, "status", "quick", "--json").json["state"] == "interrupted"


def test_who_asks_the_supervisor_to_leave_is_heard(slow: Path) -> None:
    with supervised(slow, "launch", "sweep.yaml", "--restarts", "5") as process:
        wait_until(lambda: (slow / ".podium" / "ledger.db").exists() and count(slow, Progress))
        process.send_signal(signal.SIGTERM)
        _, problems = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "started again" not in problems
    with supervised(slow, "resume", "quick", "--restarts", "1") as process:
        output, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    assert json.loads(output.splitlines()[-1])["trials"]["total"] == 6


def test_a_mistake_of_the_users_is_not_tried_again(slow: Path) -> None:
    with supervised(slow, "launch", "no-such.yaml", "--restarts", "5") as process:
        _, problems = process.communicate(timeout=300)
    assert process.returncode == 2
    assert "no-such.yaml" in problems
    assert "started again" not in problems


def test_a_driver_that_is_started_again_leaves_a_stopped_sweep_as_it_is(
    slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with supervised(slow, "launch", "sweep.yaml", "budget.trials=60") as process:
        wait_until(lambda: (slow / ".podium" / "ledger.db").exists() and count(slow, Progress))
        assert podium_here(slow, "stop", "quick").code == 0
        process.communicate(timeout=300)
    monkeypatch.setenv(AGAIN, "1")
    again = podium(slow, "launch", "sweep.yaml", "budget.trials=60", "--cluster", "inline")
    said = f"'quick' has stopped (stopped by {getpass.getuser()}); `podium resume quick` goes on"
    assert (again.code, said in again.problems) == (0, True), again
    assert count(slow, Resumed) == 0


def test_a_driver_is_told_that_it_is_started_again(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"import os; print(os.environ.get({AGAIN!r}), file=open({str(told)!r}, 'a')); os.kill(os.getpid(), 9)"
    assert supervise([sys.executable, "-c", script], os.environ, 1, lambda _text: None) == 128 + signal.SIGKILL
    assert told.read_text() == "None\n1\n"

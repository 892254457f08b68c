"""A home with sweeps of all kinds, for whoever looks at them; and a board on it in a process of its own.

python tests/board_homes.py HOME
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from large_sweeps import Played, large_spec, play, write
from shown_sweeps import Story

from podium.spec.sweep import SweepSpec


def prepare(home: Path) -> dict[str, Played]:
    """Writes a sweep of each kind; by name what was played."""
    finished = play(large_spec("finished", trials=40), gangs=4)
    broken_off = play(large_spec("interrupted", trials=120), gangs=4)
    sweeps = {"objectives": _told("objectives", 12), "troubled": _told("troubled", 9), "finished": finished}
    for played in sweeps.values():
        write(home, played)
    write(home, broken_off, broken_off.rows[: len(broken_off.rows) // 2])
    driven = Played(large_spec("driven", trials=120), *_renamed(broken_off))
    write(home, driven, driven.rows[: len(driven.rows) // 3])
    return {**sweeps, "interrupted": broken_off, "driven": driven}


def _renamed(played: Played) -> tuple[list[tuple[float, Any]], Any]:
    at, launched = played.rows[0]
    spec = {**launched.spec, "sweep": "driven"}
    return [(at, launched.model_copy(update={"spec": spec})), *played.rows[1:]], played.machine


def _told(name: str, trials: int) -> Played:
    """A story with failures and divergences; with two objectives if it is called so."""
    objectives = [{"metric": "validation/loss", "direction": "minimize"}]
    if name == "objectives":
        objectives.append({"metric": "latency_ms", "direction": "minimize"})
    spec = SweepSpec.model_validate(
        {
            "sweep": name,
            "task": "train.py:train",
            "search": {
                "objective": objectives if len(objectives) > 1 else objectives[0],
                "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}},
            },
            "budget": {"trials": trials, "epochs": {"min": 1, "max": 3}, "policy": "none"},
            "retries": {"exception": 1},
        }
    )

    def outcome(number: int, epoch: int) -> Any:
        if name == "troubled" and number % 4 == 3:
            return RuntimeError(f"<b>no good</b> & trial {number}")
        return None if name == "troubled" and number == 5 else 1 / (number + 1) / epoch

    story = Story(spec, outcome).play()
    launched = story.launched.model_copy(update={"spec": spec.written(), "provenance": {"user": "grace"}})
    began, rows = story.rows[0].at, [(row.at, row.event) for row in story.rows[1:]]
    return Played(spec, [(0.0, launched), *((at - began, event) for at, event in rows)], story.machine)


@dataclass(frozen=True)
class Shown:
    """A board that runs: its address, without a slash at the end, and its process."""

    url: str
    process: "subprocess.Popen[str]"


@contextmanager
def shown(home: Path, *arguments: str) -> Iterator[Shown]:
    """A board on a home, by its command."""
    command = [sys.executable, "-m", "podium", "board", "--home", str(home), "--port", "0", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            yield Shown(json.loads(line)["url"].rstrip("/"), process)
        finally:
            process.terminate()
            process.communicate(timeout=20)


def wait(page: Any, condition: str, most_s: float = 20.0) -> None:
    """Waits until something holds in a page, which may come again; Playwright's way needs what its policy forbids."""
    deadline = time.monotonic() + most_s
    while not _holds(page, condition):
        assert time.monotonic() < deadline, f"never: {condition}"
        page.wait_for_timeout(30)


def _holds(page: Any, condition: str) -> bool:
    from playwright.sync_api import Error

    try:
        return bool(page.evaluate(condition))
    except Error as error:
        if "context was destroyed" not in error.message:
            raise
        return False


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))

"""What a user sees of the preparation of data, and what becomes of it if the user leaves."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked import Process
from wiring_cases import BLOBS, podium, write_blobs

INLINE = ("--cluster", "inline", "--json")
STEPS = """
import time
from pathlib import Path


def wait(point, label):
    time.sleep(0.02 if Path(__file__).with_name("slow").exists() else 0)
    return point, label
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = write_blobs(tmp_path)
    (folder / "steps.py").write_text(STEPS)
    steps = "  steps: [{kind: apply, function: steps.py:wait}]\n"
    (folder / "sweep.yaml").write_text(BLOBS.replace("data:\n", f"data:\n{steps}").replace("trials: 4", "trials: 1"))
    return folder


def leave_while_preparing(folder: Path, begun: str) -> None:
    """Interrupts a launch once there is such a file, and checks how it ends."""
    command = [sys.executable, "-m", "podium", "launch", "sweep.yaml", *INLINE]
    launch = Process(command, cwd=folder)
    try:
        end = time.monotonic() + 300
        while not any(folder.glob(begun)):
            assert launch.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        launch.send_signal(signal.SIGINT)
        _, said = launch.communicate(timeout=300)
    finally:
        launch.kill()
    assert launch.returncode == 75, said
    assert "interrupted while the data were prepared; launch again, and it goes on from there" in said
    assert "Traceback" not in said


def test_who_leaves_while_data_are_prepared_leaves_at_once_and_can_go_on(folder: Path) -> None:
    (folder / "slow").touch()
    leave_while_preparing(folder, ".podium/shards/.*.work")
    shards = folder / ".podium" / "shards"
    assert list(shards.glob(".*.work"))
    (folder / "slow").unlink()
    outcome = podium(folder, "launch", "sweep.yaml", *INLINE)
    assert (outcome.code, outcome.json["state"]) == (0, "finished"), outcome.problems
    assert not list(shards.glob(".*.work"))


def test_progress_is_told(folder: Path) -> None:
    (folder / "slow").touch()
    samples = np.load(folder / "blobs.npz")
    np.savez(folder / "blobs.npz", x=samples["x"][:60], y=samples["y"][:60])
    line = "from podium.console import terminal; terminal.LINE_EVERY_S = 0.5; from podium.cli import main; main()"
    command = [sys.executable, "-c", line, "launch", "sweep.yaml", *INLINE]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    assert "Preparing data: scan 0%" in done.stderr
    assert "Preparing data: write 0%" in done.stderr


def test_a_function_of_the_user_s_does_not_hear_of_it(folder: Path) -> None:
    begin = "    open('runs', 'w').close()\n"
    loop = "    for n in range(400):\n        time.sleep(0.05)\n        yield [n, 1.5], n % 2\n"
    (folder / "source.py").write_text(f"import time\n\ndef records():\n{begin}{loop}")
    data = "data:\n  source: source.py:records\n"
    (folder / "sweep.yaml").write_text(re.sub(r"data:\n  source: .*\n", data, BLOBS))
    leave_while_preparing(folder, "runs")

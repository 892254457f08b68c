"""Launches whose shards, code, home or store meet a fault: whole sweeps, in one process, over the command line."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from empty_runs import make_empty_runs
from forked import Process
from s3_server import Store

from podium.execution.logs import read_log
from podium.sweep.machine import Machine
from podium.sweep.messages import Advanced
from podium.wiring import summaries
from podium.wiring.place import Place

SWEEP = """
sweep: toy
task: task.py:Clouds
data:
  source: {kind: arrays, path: clouds.npz}
  batch_size: 64
network: {kind: mlp, depth: 1, width: 8}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space: {optimizer.learning_rate: {log: [1e-3, 1e-1]}}
budget: {trials: 4, epochs: {min: 1, max: 3}, policy: asha}
fuse: off
tracking: {plots: false, model: false, diagnosis: false, inside: false}
"""
TASK = """
from podium.training.tasks import Classification


class Clouds(Classification):
    def losses(self, outputs, batch):
        print("a batch of", len(batch.targets), flush=True)
        return super().losses(outputs, batch)

    def log(self, log, outputs, batch):
        log.log_artifact(__file__, "deep/task.txt")
"""

BATCHES = 8
"""Of an epoch of 600 samples: 7 to train on and 1 to validate."""

pytestmark = pytest.mark.slow


class Launch:
    """A sweep's folder, and the command line in it.

    Args:
        folder: Where the sweep file and the home are.
        store: Where shards, code and checkpoints go; the home by default.
        samples: How many there are; each takes 40 bytes.
    """

    def __init__(self, folder: Path, store: str | Path | None = None, samples: int = 600) -> None:
        self.folder, self.home, self.store = folder, folder / "home", str(store or folder / "home")
        make_empty_runs(self.home / "mlflow.db")
        (folder / "sweep.yaml").write_text(SWEEP)
        (folder / "task.py").write_text(TASK)
        draws = np.random.default_rng(0)
        labels = draws.integers(0, 3, samples)
        points = np.eye(3, 8)[labels] * 2 + draws.normal(0, 1.0, (samples, 8))
        np.savez(folder / "clouds.npz", x=points.astype(np.float32), y=labels)

    def begin(self, *arguments: str) -> Process:
        options = ["--home", str(self.home), "--store", self.store, "--cluster", "inline", "--json"]
        return Process([sys.executable, "-m", "podium", *arguments, *options], cwd=self.folder)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.begin(*arguments)
        output, problems = process.communicate(timeout=300)
        return process.returncode, output, problems

    def kill_after(self, advances: int, *overrides: str) -> None:
        """Launches, and kills the driver once that many advances have ended."""
        process = self.begin("launch", "sweep.yaml", *overrides)
        try:
            self.wait_for(advances, process)
        finally:
            process.kill()
            process.wait()

    def wait_for(self, advances: int, process: Process) -> None:
        deadline = time.monotonic() + 300
        while sum(isinstance(event, Advanced) for event in self.events) < advances:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)

    @property
    def events(self) -> list[Any]:
        book = Place.of(self.home, self.store).book()
        return [row.event for row in book.rows("toy")] if book.has("toy") else []

    @property
    def machine(self) -> Machine:
        return summaries.load(Place.of(self.home, self.store).book(), "toy")

    @property
    def shards(self) -> Path:
        (folder,) = (path for path in (Path(self.store) / "shards").iterdir() if not path.name.startswith("."))
        return folder


def outcome(machine: Machine) -> list[tuple[Any, ...]]:
    """What has to be the same whatever happened."""
    trials = machine.trials.values()
    return [(t.number, dict(t.parameters), t.seed, t.state, t.epoch, t.values, t.best_epoch) for t in trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    launch = Launch(tmp_path_factory.mktemp("undisturbed"))
    code, _, problems = launch.run("launch", "sweep.yaml")
    assert code == 0, problems
    return outcome(launch.machine)


def summary(output: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(output.splitlines()[-1])
    return content


def the_problem(problems: str) -> str:
    """The one message at the end."""
    assert "Traceback" not in problems, problems
    return problems.strip().splitlines()[-1]


def test_a_disk_that_fills_up_while_data_is_prepared(small_disk: Path, tmp_path: Path) -> None:
    launch = Launch(tmp_path, small_disk, samples=30_000)
    code, _, problems = launch.run("launch", "sweep.yaml")
    assert code == 75, problems
    problem = the_problem(problems)
    assert f"could not be written: {small_disk}: No space left on device; 0.0 of 1.0 MB are free there" in problem
    assert list((small_disk / "shards").iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=32m", str(small_disk)], check=True)
    code, output, problems = launch.run("launch", "sweep.yaml")
    assert code == 0, problems
    assert summary(output)["trials"]["total"] == 4


@pytest.mark.parametrize("option", ["home", "store"])
def test_a_disk_that_is_read_only(option: str, small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    launch = Launch(tmp_path, small_disk if option == "store" else None)
    launch.home = launch.home if option == "store" else small_disk / "home"
    code, _, problems = launch.run("launch", "sweep.yaml")
    assert code == 2, problems
    assert f"--{option} {small_disk}" in the_problem(problems)
    assert "Read-only file system; give a folder you may write to" in the_problem(problems)


def test_a_sweep_outlives_a_shard_that_is_deleted_and_the_next_launch_prepares_anew(
    undisturbed: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    launch = Launch(tmp_path)
    process = launch.begin("launch", "sweep.yaml")
    launch.wait_for(1, process)
    shard = launch.shards / "train-00000.arrow"
    shard.unlink()
    _, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    assert outcome(launch.machine) == undisturbed
    code, output, problems = launch.run("launch", "sweep.yaml", "budget.trials=5")
    assert code == 0, problems
    assert summary(output)["trials"]["total"] == 5
    assert shard.exists()


def test_a_worker_that_starts_without_a_shard_says_so_once(undisturbed: list[tuple[Any, ...]], tmp_path: Path) -> None:
    launch = Launch(tmp_path)
    launch.kill_after(2)
    shard = launch.shards / "train-00000.arrow"
    for damage in (lambda: os.truncate(shard, shard.stat().st_size - 1), shard.unlink):
        damage()
        code, _, problems = launch.run("resume", "toy")
        assert code == 2, problems
        problem = the_problem(problems)
        assert f"the shard {shard} is missing or truncated; " in problem
        assert f"delete {shard.parent} and launch again, and it is prepared anew" in problem
    code, _, problems = launch.run("launch", "sweep.yaml")
    assert code == 0, problems
    assert outcome(launch.machine) == undisturbed


def test_a_sweep_goes_on_from_another_host_over_an_address(
    undisturbed: list[tuple[Any, ...]], s3_store: Store, tmp_path: Path
) -> None:
    """The other host has the ledger and nothing else: shards, code, checkpoints and logs come from the store."""
    launch = Launch(tmp_path, s3_store.address)
    launch.kill_after(3, "tracking.model=true")
    first, launch.home = launch.home.rename(tmp_path / "first"), tmp_path / "another"
    launch.home.mkdir()
    for path in first.glob("ledger.db*"):
        shutil.copy(path, launch.home)
    (tmp_path / "clouds.npz").unlink()
    code, output, problems = launch.run("resume", "toy")
    assert code == 0, problems
    assert outcome(launch.machine) == undisturbed
    assert summary(output)["model"]["name"] == "toy"
    for number, trial in launch.machine.trials.items():
        log = read_log(launch.store, "toy", number, launch.home / "cache").decode()
        assert log.count("a batch of") >= BATCHES * trial.epoch
    code, output, problems = launch.run("logs", f"toy/{number}")
    assert (code, summary(output)["log"]) == (0, log), problems
    assert not any(path.is_file() for path in (launch.home / "cache" / "logs").rglob("*"))
    shown = [path.read_text() for path in (launch.home / "artifacts").rglob("deep/task.txt")]
    assert shown == [TASK] * len(undisturbed)
    assert len(list((launch.home / "artifacts").rglob("trial-*.log"))) == len(undisturbed)
    text = "".join(path.read_text(errors="replace") for path in launch.home.rglob("*") if path.is_file())
    assert s3_store.environment["AWS_SECRET_ACCESS_KEY"] not in text


def test_a_shard_that_is_gone_from_an_address(
    undisturbed: list[tuple[Any, ...]], s3_store: Store, tmp_path: Path
) -> None:
    launch = Launch(tmp_path, s3_store.address)
    launch.kill_after(2)
    system = fsspec.filesystem("s3")
    (shard,) = (path for path in system.find(s3_store.address) if path.endswith("train-00000.arrow"))
    system.rm_file(shard)
    shutil.rmtree(launch.home / "cache")
    code, _, problems = launch.run("resume", "toy")
    assert code == 2, problems
    assert f"s3://{shard} is missing or truncated; delete s3://{shard.rpartition('/')[0]} and launch" in the_problem(
        problems
    )
    code, _, problems = launch.run("launch", "sweep.yaml")
    assert code == 0, problems
    assert outcome(launch.machine) == undisturbed
    assert system.exists(shard)

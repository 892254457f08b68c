"""Launches whose checkpoints meet a full disk, a killed driver, damage, or a budget: whole sweeps, in one process."""

import json
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empty_runs import make_empty_runs
from forked import Process

from podium.sweep.machine import Machine
from podium.sweep.messages import Advanced, Progress
from podium.training.checkpoint import lying
from podium.wiring import summaries
from podium.wiring.place import Place

FUNCTION = """
sweep: toy
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 6, epochs: {min: 1, max: 3}, policy: asha}
tracking: {plots: false, model: false}
"""
TRAIN = """
import json


def train(trial):
    first = json.loads((trial.saved / "done").read_text()) + 1 if trial.saved else 1
    for step in range(first, 4):
        with trial.checkpoint() as folder:
            (folder / "weights").write_bytes(bytes(80_000))
            (folder / "done").write_text(json.dumps(step))
        trial.report(step, {"score": trial.params["x"] + step / 100})
"""
BLOBS = """
sweep: toy
task: classification
data:
  source: {kind: arrays, path: blobs.npz}
  batch_size: 16
network: {kind: mlp, depth: 1, width: 16, dropout: 0.2}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space: {optimizer.learning_rate: {log: [1e-3, 1e-1]}}
budget: {trials: 6, epochs: {min: 1, max: 9}, policy: asha}
fuse: off
tracking: {plots: false, model: false}
"""

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Outcome:
    """A sweep as its ledger has it."""

    machine: Machine
    curves: dict[int, dict[int, list[dict[str, float | None]]]]

    @property
    def trials(self) -> list[tuple[Any, ...]]:
        """What has to be the same whatever happened."""
        return [
            (t.number, dict(t.parameters), t.seed, t.state, t.epoch, t.values, t.best_epoch)
            for t in self.machine.trials.values()
        ]


class Launch:
    """A sweep's folder, and the command line in it.

    Args:
        folder: Where the sweep file and the home are.
        store: Where checkpoints go; the home by default.
    """

    def __init__(self, folder: Path, text: str, store: Path | None = None) -> None:
        self.folder, self.store = folder, store or folder / "home"
        make_empty_runs(folder / "home" / "mlflow.db")
        (folder / "sweep.yaml").write_text(text)
        (folder / "train.py").write_text(TRAIN)
        draws = np.random.default_rng(0)
        labels = draws.integers(0, 3, 300)
        points = np.eye(3, 4)[labels] * 2 + draws.normal(0, 1.0, (300, 4))
        np.savez(folder / "blobs.npz", x=points.astype(np.float32), y=labels)

    def begin(self, *arguments: str) -> Process:
        options = ["--home", "home", "--store", str(self.store), "--cluster", "inline", "--json"]
        command = [sys.executable, "-m", "podium", *arguments, *options]
        return Process(command, cwd=self.folder)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.begin(*arguments)
        output, problems = process.communicate(timeout=300)
        return process.returncode, output, problems

    @property
    def outcome(self) -> Outcome:
        book = Place.of(self.folder / "home").book()
        curves: dict[int, dict[int, list[dict[str, float | None]]]] = {}
        for row in book.rows("toy"):
            for lane in row.event.lanes if isinstance(row.event, Progress) else ():
                metrics = {name: value for name, value in lane.metrics.items() if name != "train/samples_per_s"}
                known = curves.setdefault(lane.trial, {}).setdefault(lane.epoch, [])
                if metrics not in known:
                    known.append(metrics)
        return Outcome(summaries.load(book, "toy"), curves)

    @property
    def lying(self) -> list[str]:
        """The folders of all checkpoints, and of what is none."""
        checkpoints, hidden = lying(str(self.store), "toy", range(100))
        return [*(saved.folder for saved in checkpoints), *hidden]


def assert_one_checkpoint_each(launch: Launch) -> None:
    """Nothing but the last checkpoint of every trial lies in the store."""
    assert sorted(launch.lying) == sorted(trial.folder for trial in launch.outcome.machine.trials.values())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """By the text of its file, a sweep to which nothing happened."""
    outcomes = {}
    for text in (FUNCTION, BLOBS):
        launch = Launch(tmp_path_factory.mktemp("undisturbed"), text)
        code, _, problems = launch.run("launch", "sweep.yaml")
        assert code == 0, problems
        assert_one_checkpoint_each(launch)
        outcomes[text] = launch.outcome
    return outcomes


def test_a_full_disk_interrupts_and_a_freed_one_completes(
    undisturbed: dict[str, Outcome], tmp_path: Path, small_disk: Path
) -> None:
    launch = Launch(tmp_path / "sweep", FUNCTION, small_disk)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(650_000))
    code, output, problems = launch.run("launch", "sweep.yaml")
    assert code == 75, problems
    assert "Traceback" not in problems
    assert json.loads(output.splitlines()[-1])["state"] == "interrupted"
    fault = f"could not be written: {small_disk}: No space left on device; "
    assert fault in problems
    began = launch.outcome.machine
    assert 0 < sum(trial.saved_epoch > 0 for trial in began.trials.values()) < 6
    told = {trial.folder for trial in began.trials.values()} - {""}
    assert told <= set(launch.lying)
    assert not [folder for folder in launch.lying if "/." in folder]
    ballast.unlink()
    code, _, problems = launch.run("resume", "toy")
    assert code == 0, problems
    assert launch.outcome.trials == undisturbed[FUNCTION].trials
    assert launch.outcome.curves == undisturbed[FUNCTION].curves
    assert_one_checkpoint_each(launch)


def kill_after(launch: Launch, advances: int) -> None:
    """Kills a driver, which is its own worker, when so many advances have ended."""
    process = launch.begin("launch", "sweep.yaml")
    deadline, book = time.monotonic() + 300, Place.of(launch.folder / "home").book()
    while sum(isinstance(row.event, Advanced) for row in book.rows("toy")) < advances:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)


def test_damaged_checkpoints_cost_only_time_and_are_told_in_the_trial_s_log(
    undisturbed: dict[str, Outcome], tmp_path: Path
) -> None:
    launch = Launch(tmp_path, BLOBS)
    kill_after(launch, advances=3)
    unended = [t for t in launch.outcome.machine.trials.values() if t.folder and not t.state.is_ended]
    assert unended
    for trial in unended:
        path = launch.store / trial.folder / "state.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    code, _, problems = launch.run("resume", "toy")
    assert code == 0, problems
    assert launch.outcome.trials == undisturbed[BLOBS].trials
    assert launch.outcome.curves == undisturbed[BLOBS].curves
    assert_one_checkpoint_each(launch)
    gone_on = [t for t in unended if launch.outcome.machine.trials[t.number].folder != t.folder]
    assert gone_on
    for trial in gone_on:
        log = (launch.store / "logs" / "toy" / f"trial-{trial.number:05d}.log").read_text()
        assert f"the checkpoint {trial.folder} was altered: state.safetensors; an earlier one has to do" in log


@pytest.mark.parametrize("text", [FUNCTION, BLOBS], ids=["function", "task"])
def test_what_a_killed_driver_leaves_is_removed(undisturbed: dict[str, Outcome], tmp_path: Path, text: str) -> None:
    launch = Launch(tmp_path, text)
    kill_after(launch, advances=2)
    trial = launch.outcome.machine.trials[0]
    (launch.store / "checkpoints/toy/00000/.h1-0123abcd").mkdir()
    (launch.store / "checkpoints/toy/00000/h1-e99-s0-0123abcd").mkdir()
    assert trial.folder in launch.lying
    code, _, problems = launch.run("resume", "toy")
    assert code == 0, problems
    assert launch.outcome.trials == undisturbed[text].trials
    assert launch.outcome.curves == undisturbed[text].curves
    assert_one_checkpoint_each(launch)


def test_a_budget_changes_no_result(undisturbed: dict[str, Outcome], tmp_path: Path) -> None:
    launch = Launch(tmp_path, BLOBS)
    code, output, problems = launch.run("launch", "sweep.yaml", "checkpoints.total_gb=5e-6")
    assert code == 0, problems
    assert "Traceback" not in problems
    assert launch.outcome.trials == undisturbed[BLOBS].trials
    assert launch.outcome.curves == undisturbed[BLOBS].curves
    best = launch.outcome.machine.best()
    assert best is not None
    assert launch.lying == [best.folder]
    logs = [path.read_text() for path in (launch.store / "logs/toy").iterdir()]
    assert any("can be read: it begins anew" in log for log in logs), "no paused trial lost its checkpoint"
    assert json.loads(output.splitlines()[-1])["state"] == "finished"

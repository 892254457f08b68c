"""Sweeps that the tests of the wiring launch, and the command line they launch them by."""

import io
import json
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from empty_runs import make_empty_runs
from forked import Process

from podium.cli import main

QUICK = """
sweep: quick
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space:
    x: {float: [0, 1]}
    kind: {choice: [plain, fancy]}
budget: {trials: 6, epochs: {min: 1, max: 3}, policy: asha}
tracking: {plots: false}
"""
TRAIN = """
import json
import subprocess
import time


def train(trial):
    first = 1
    if trial.saved:
        first = json.loads((trial.saved / "state.json").read_text())["step"] + 1
    for step in range(first, 4):
        print("step", step)
        with trial.checkpoint() as folder:
            (folder / "state.json").write_text(json.dumps({"step": step}))
        trial.report(step, {"score": trial.params["x"] + step / 100})
"""
BLOBS = """
sweep: blobs
task: classification
data:
  source: {kind: arrays, path: blobs.npz}
  batch_size: 32
network: {kind: mlp, depth: 1, width: 16}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    optimizer.learning_rate: {log: [1e-3, 1e-1]}
    initializer.scheme: {choice: [he_normal, orthogonal]}
budget: {trials: 4, epochs: {min: 1, max: 3}, policy: asha}
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    output: str
    problems: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line on standard output."""
        content: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return content


def podium(folder: Path, *arguments: str) -> Outcome:
    """Runs the command line in `folder`, in one process with its trials."""
    process = Process([sys.executable, "-m", "podium", *arguments], cwd=folder)
    try:
        output, problems = process.communicate(timeout=300)
    finally:
        process.kill()
    return Outcome(process.wait(), output, problems)


def podium_anew(folder: Path, *arguments: str) -> Outcome:
    """The like in a new process, which has imported nothing before."""
    command = [sys.executable, "-m", "podium", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def podium_here(folder: Path, *arguments: str) -> Outcome:
    """The like within this process, which has imported everything before: for commands that launch nothing."""
    output, problems, code = io.StringIO(), io.StringIO(), 0
    argv = mock.patch.object(sys, "argv", ["podium", *arguments])
    with chdir(folder), redirect_stdout(output), redirect_stderr(problems), argv:
        try:
            main()
        except SystemExit as ending:
            code = int(ending.code or 0)
    return Outcome(code, output.getvalue(), problems.getvalue())


def paced(step_s: float) -> str:
    """That training function, with a pause before each step."""
    return TRAIN.replace("        print", f"        time.sleep({step_s})\n        print")


def write_quick(folder: Path, text: str = QUICK, train: str = TRAIN) -> Path:
    """A folder with a sweep of a training function, and a home whose database of runs has its schema."""
    make_empty_runs(folder / ".podium" / "mlflow.db")
    (folder / "sweep.yaml").write_text(text)
    (folder / "train.py").write_text(train)
    return folder


def write_blobs(folder: Path, samples: int = 600) -> Path:
    """The like for the built-in classification over three clouds of points."""
    make_empty_runs(folder / ".podium" / "mlflow.db")
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, samples)
    centres = np.array([[2.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 2.0, 0]])
    points = centres[labels] + source.normal(0, 0.5, (samples, 4))
    np.savez(folder / "blobs.npz", x=points.astype(np.float32), y=labels)
    (folder / "sweep.yaml").write_text(BLOBS)
    return folder


BLOBS_METRIC = "validation/accuracy"

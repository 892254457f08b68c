"""Trials an hour of one warm worker, stacked and one after the other: the real trainer with its data and checkpoints.

python tests/benchmarks/one_worker.py [--device cpu|cuda] [--trials 64] [--epochs 3] [--rounds 3]

Both sides take turns in one process. Widths are measured in the first stacked turn, which is shown and not counted;
later turns find them in the home, as later sweeps do.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from podium.data.prepare import prepare
from podium.execution.worker import keep_freed_memory
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, Measured
from podium.training.checkpoint import Storage
from podium.training.trainer import Trainer, make_trainer

NETWORKS: dict[str, dict[str, Any]] = {
    "MLP on 28 x 28 digits": {"kind": "mlp", "depth": 2},
    "LeNet on digits": {"kind": "convnet", "depth": 2},
}


class Side:
    """A trainer with its own store and home.

    Args:
        fuse: `auto` or `off`.
    """

    def __init__(self, folder: Path, fuse: str, network: dict[str, Any], options: argparse.Namespace) -> None:
        self._options, self._numbers = options, itertools.count()
        self.spec = SweepSpec.model_validate(
            {
                "sweep": "one-worker",
                "task": "classification",
                "data": {"source": "mnist_5k", "batch_size": 64},
                "network": network,
                "fuse": fuse,
                "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
                "budget": {"trials": options.trials, "epochs": {"max": options.epochs}},
                "resources": {"gpus": 1 if options.device == "cuda" else 0},
            }
        )
        self.events: list[Any] = []
        data = self.spec.data
        assert data is not None
        store = folder / fuse
        shards = prepare(data, base=folder, store=str(store), cache=store / "cache")
        self._trainer: Trainer = make_trainer(
            self.spec,
            code=None,
            data=shards,
            storage=Storage(str(store), 1, str(store / "cache")),
            emit=self.events.append,
            halted=lambda: False,
        )

    def turn(self) -> float:
        """Trains that many new trials; the seconds it took."""
        lanes = []
        for _ in range(self._options.trials):
            number = next(self._numbers)
            rate = 1e-4 * 10 ** (2 * (number % self._options.trials) / self._options.trials)
            lanes.append(Lane(trial=number, parameters={"optimizer.learning_rate": rate}, seed=number))
        cohorts = [tuple(lanes)] if self.spec.fuse == "auto" else [(lane,) for lane in lanes]
        began = time.perf_counter()
        for cohort in cohorts:
            self._trainer.advance(Advance(key="key", gang="gang", until=self._options.epochs, lanes=cohort))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print(torch.cuda.get_device_name() if options.device == "cuda" else "CPU, one thread", torch.__version__)
    for name, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            fused, plain = (Side(Path(folder), fuse, network, options) for fuse in ("auto", "off"))
            first = fused.turn()
            (measured,) = (event for event in fused.events if isinstance(event, Measured))
            pairs = [(fused.turn(), plain.turn()) for _ in range(options.rounds)]
        ratios = sorted(theirs / ours for ours, theirs in pairs)
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"{name}: width {measured.width}; {options.trials} trials of {options.epochs} epochs in {ours:.1f} s "
            f"({first:.1f} s when the width was measured), plain in {theirs:.1f} s: "
            f"{statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()

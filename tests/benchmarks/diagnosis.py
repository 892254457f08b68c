"""What diagnosis costs: seconds inside it as a share of an advance, and the same advance without it, in one run.

python tests/benchmarks/diagnosis.py [--trials 8] [--epochs 9] [--rounds 3]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch

from podium.data.prepare import prepare
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane
from podium.training import diagnosis
from podium.training.checkpoint import Storage
from podium.training.trainer import make_trainer

NETWORKS: dict[str, dict[str, Any]] = {
    "mlp": {"kind": "mlp", "depth": 2, "width": 64},
    "convnet": {"kind": "convnet", "depth": 2, "channels": 8},
}


def spec_of(network: dict[str, Any], fuse: int, epochs: int, *, is_on: bool) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "sweep": "cost",
            "task": "classification",
            "data": {"source": "mnist_5k", "batch_size": 64},
            "network": network,
            "fuse": fuse,
            "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
            "budget": {"trials": 1, "epochs": {"max": epochs}},
            "tracking": {"diagnosis": is_on},
        }
    )


def advance(spec: SweepSpec, data: Path, trials: int) -> tuple[float, float]:
    """Seconds of the processor for an advance to the last epoch, and those inside diagnosis."""
    inside = 0.0

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            nonlocal inside
            began = time.thread_time()
            result = method(*arguments)
            inside += time.thread_time() - began
            return result

        return call

    with tempfile.TemporaryDirectory() as store:
        storage = Storage(store, 1, f"{store}/cache")
        trainer = make_trainer(
            spec, code=None, data=data, storage=storage, emit=lambda event: None, halted=lambda: False
        )
        lanes = tuple(
            Lane(trial=number, parameters={"optimizer.learning_rate": 1e-3 * (number + 1)}, seed=number)
            for number in range(trials)
        )
        own = diagnosis.Diagnosis
        with (
            mock.patch.object(own, "begin_step", timed(own.begin_step)),
            mock.patch.object(own, "end_step", timed(own.end_step)),
        ):
            began = time.thread_time()
            trainer.advance(Advance(key="key", gang="gang", until=spec.budget.epochs.max, lanes=lanes))
            return time.thread_time() - began, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = None
        for name, network in NETWORKS.items():
            for fuse in (1, given.trials):
                sides = {is_on: spec_of(network, fuse, given.epochs, is_on=is_on) for is_on in (True, False)}
                settings = sides[True].data
                assert settings is not None
                data = data or prepare(settings, base=Path(folder), store=folder, cache=Path(folder) / "cache")
                found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
                for _ in range(given.rounds):
                    for is_on, spec in sides.items():
                        found[is_on].append(advance(spec, data, given.trials))
                whole, inside = (median(values) for values in zip(*found[True], strict=True))
                without = median(seconds for seconds, _ in found[False])
                row = {"network": name, "width": fuse, "with_s": whole, "without_s": without, "share": inside / whole}
                rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
                print(
                    f"{name:>8} in {fuse}: {whole:.2f} s with, {without:.2f} s without; inside {inside / whole:.1%}",
                    file=sys.stderr,
                )
    print(json.dumps({"trials": given.trials, "epochs": given.epochs, "rows": rows}))


if __name__ == "__main__":
    main()

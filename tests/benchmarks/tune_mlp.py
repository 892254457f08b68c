"""The other side of a benchmark: small MLPs on 4,000 digits, by the obvious glue. Prints one JSON line.

The network and the data are those of `bare_mlp`; each epoch is reported. The data is put into Ray's object store
once, as its manual advises, and not loaded by every trial.
"""

import argparse
from pathlib import Path
from typing import Any

from bare_mlp import load
from tune_glue import run


def train(config: dict[str, Any], data: Any) -> None:
    """What a user writes: train, report every epoch."""
    import sys

    sys.path.insert(0, config["folder"])
    import torch
    from bare_mlp import epochs_of
    from ray import tune

    torch.set_num_threads(1)
    for accuracy in epochs_of(map(torch.from_numpy, data), config["learning_rate"], seed=0, epochs=config["epochs"]):
        tune.report({"accuracy": accuracy})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--asha", action="store_true", help="stop trials by successive halving")
    options = parser.parse_args()
    from ray import tune

    space = {
        "learning_rate": tune.loguniform(1e-4, 1e-1),
        "epochs": options.epochs,
        "folder": str(Path(__file__).parent),
    }
    run(
        lambda: tune.with_parameters(train, data=[part.numpy() for part in load()]),
        space,
        options.trials,
        options.epochs if options.asha else None,
    )


if __name__ == "__main__":
    main()

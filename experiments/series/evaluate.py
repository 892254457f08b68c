"""The test split, which no sweep reads: every trial of a sweep that had all its epochs, and their mean and spread.

`python experiments/series/evaluate.py --sweep series-seeds`
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from podium.api import load_result
from podium.data.reader import Reader
from podium.wiring.networks import TrainedNetwork, load_network
from podium.wiring.place import Place


def score(found: TrainedNetwork) -> float:
    """Accuracy of a classifier; of a forecaster, the mean square error by the variance of the targets."""
    reader = Reader(found.place.fetch(found.data), purpose="promotion")
    outputs, targets = [], []
    for batch in reader.sequential("test", batch_size=64):
        given = [torch.from_numpy(batch.inputs)]
        if batch.lengths is not None:
            given.append(torch.from_numpy(batch.lengths))
        with torch.inference_mode():
            outputs.append(found.module(*given).numpy())
        targets.append(batch.targets)
    answers, truths = np.concatenate(outputs), np.concatenate(targets)
    if found.schema.classes:
        return float((answers.argmax(axis=1) == truths).mean())
    return float(np.square(answers.reshape(truths.shape) - truths).mean() / truths.var())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sweep", default="series")
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    place = Place.of(given.home)
    trials = load_result(given.sweep, place.home).trials()
    scores = [score(load_network(place, given.sweep, number)) for number in trials.index[trials["state"] == "complete"]]
    print(" ".join(f"{each:.4f}" for each in scores))
    print(f"mean {np.mean(scores):.4f}, standard deviation {np.std(scores, ddof=1) if len(scores) > 1 else 0:.4f}")


if __name__ == "__main__":
    main()

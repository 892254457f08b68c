"""Which digits the best network of a sweep finds on canvases: average precision by digit, and a picture.

python experiments/detect/evaluate.py --home .podium --sweep detect --picture canvases.png
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

import podium
from podium.training.answers import answers

SHOWN = 12
"""Canvases of the picture."""


def told(trained: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Canvases of the validation split, what they hold, and the probability of each digit."""
    found = list(answers(trained.module, trained.link, trained.reader(), "validation"))
    inputs, targets = (np.concatenate([getattr(batch, name) for batch, _ in found]) for name in ("inputs", "targets"))
    return inputs, targets, torch.cat([each for _, each in found]).numpy()


def draw(inputs: NDArray[Any], targets: NDArray[Any], probabilities: NDArray[Any], path: Path) -> None:
    """Canvases with the digits that were found; those that are not there, and those that were missed, in brackets."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, SHOWN // 2, figsize=(11, 4.4))
    for axis, canvas, target, chances in zip(axes.flat, inputs, targets, probabilities, strict=False):
        found, there = set(np.flatnonzero(chances > 0.5)), set(np.flatnonzero(target))
        wrong = [f"[+{digit}]" for digit in sorted(found - there)] + [f"[-{digit}]" for digit in sorted(there - found)]
        axis.imshow(canvas[0], cmap="gray")
        axis.set_title(" ".join([*map(str, sorted(found & there)), *wrong]), color="crimson" if wrong else "black")
        axis.axis("off")
    figure.suptitle("Digits found; [+ not there], [- missed]")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", default=".podium")
    parser.add_argument("--sweep", default="detect")
    parser.add_argument("--trial", type=int)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    trained = podium.load_network(given.sweep, trial=given.trial, home=given.home)
    inputs, targets, probabilities = told(trained)
    precisions = average_precision_score(targets, probabilities, average=None)
    print(f"trial {trained.trial}, epoch {trained.epoch}: mean average precision {np.mean(precisions):.4f}")
    print("by digit: " + "  ".join(f"{digit}: {precision:.3f}" for digit, precision in enumerate(precisions)))
    print(f"chance, the share of canvases that hold a digit: {targets.mean():.4f}")
    if given.picture is not None:
        draw(inputs, targets, probabilities, given.picture)


if __name__ == "__main__":
    main()

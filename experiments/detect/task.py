"""Canvases of one to four handwritten digits, and which digits each holds.

The digits of MNIST are divided first: a canvas is composed of digits of its own split alone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDE = 64
MOST = 4
"""Digits on a canvas at most; as many canvases have one, two, three and four."""

GAP = 2
"""Pixels between two digits at least."""

CANVASES = {"train": 8000, "validation": 1500, "test": 1500}
SPLITS = {"train": ("train", 0, 50_000), "validation": ("train", 50_000, 60_000), "test": ("test", 0, 10_000)}
"""Which of MNIST's images, from its own train or test set, the canvases of a split are composed of."""

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"


def canvases() -> Iterator[dict[str, Any]]:
    """Every canvas, `[1, 64, 64]` bytes, with 1 for each digit that it holds and the split it belongs to."""
    with np.load(archive()) as file:
        arrays = {name: file[name] for name in ("x_train", "y_train", "x_test", "y_test")}
    for number, (split, (own, first, end)) in enumerate(SPLITS.items()):
        images, classes = arrays[f"x_{own}"][first:end], arrays[f"y_{own}"][first:end]
        draws = np.random.default_rng(number)
        for index in range(CANVASES[split]):
            chosen = draws.choice(len(images), size=index % MOST + 1, replace=False)
            target = np.zeros(10, np.float32)
            target[classes[chosen]] = 1
            yield {"input": composed(images[chosen], draws)[None], "target": target, "split": split}


def composed(images: NDArray[np.uint8], draws: np.random.Generator) -> NDArray[np.uint8]:
    """Digits, without the empty rows and columns around them, at random places where none touches another."""
    while True:
        canvas, is_taken = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), bool)
        for image in images:
            digit = inked(image)
            height, width = digit.shape
            top, left = (int(draws.integers(0, SIDE - side + 1)) for side in (height, width))
            around = (slice(max(top - GAP, 0), top + height + GAP), slice(max(left - GAP, 0), left + width + GAP))
            if is_taken[around].any():
                break
            canvas[top : top + height, left : left + width] = digit
            is_taken[top : top + height, left : left + width] = True
        else:
            return canvas


def inked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The part of an image that holds ink."""
    rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def archive() -> Path:
    """Where MNIST is.

    Raises:
        FileNotFoundError: if it is not there.
    """
    data = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = data / "mnist" / "mnist.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; set PODIUM_DATA to the folder in which mnist/mnist.npz lies, which is {ORIGIN}"
        )
    return path

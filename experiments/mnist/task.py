"""MNIST as it was published: 60,000 digits to learn from, and the 10,000 of the official test set apart."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PUBLISHED = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"


def arrays() -> dict[str, Any]:
    """`x_train` `[60000, 28, 28]`, `y_train`, `x_test` and `y_test`, uint8.

    Raises:
        FileNotFoundError: if they are not there, with where they can be had.
    """
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    path = Path(os.environ.get("PODIUM_DATA", beside)) / "mnist" / "mnist.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; get it from {PUBLISHED}, or say in PODIUM_DATA where it lies")
    with np.load(path) as file:
        return dict(file)


def digits() -> Iterator[dict[str, Any]]:
    """One record a digit; what is not the official test set is split into train and validation by content."""
    found = arrays()
    for split in ("train", "test"):
        for image, label in zip(found[f"x_{split}"], found[f"y_{split}"], strict=True):
            yield {"input": image, "target": int(label), "split": split}

"""MNIST as it was published: 60,000 digits to learn from, and the 10,000 of the official test set apart."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"


def digits() -> Iterator[dict[str, Any]]:
    """One record a digit, `[28, 28]` uint8; the first 10,000 of the published train split validate.

    Raises:
        FileNotFoundError: if the data are not there, with where they can be had.
    """
    path = Path(os.environ.get("PODIUM_DATA", BESIDE)) / "mnist" / "mnist.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; get it from {ORIGIN}, or say in PODIUM_DATA where it lies")
    with np.load(path) as file:
        found = dict(file)
    for published in ("train", "test"):
        images, labels = found[f"x_{published}"], found[f"y_{published}"]
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            validates = published == "train" and number < 10_000
            yield {"input": image, "target": int(label), "split": "validation" if validates else published}

"""Sheep that people drew, as offsets of a pen."""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import DataError

DATA = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

LONGEST = 50
"""Points of the longest drawings that are taken, once they are thinned out: longer ones cost most of the time."""

SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def sheep() -> Iterator[dict[str, Any]]:
    """Drawings `[points, 3]`: offsets, and whether the pen is lifted after them, in the splits that the set gives."""
    file = DATA / "sketch" / "aaron_sheep.npz"
    if not file.is_file():
        raise DataError(
            f"there is no {file}: make it of aaron_sheep.npz from https://github.com/hardmaru/sketch-rnn-datasets, or "
            "set PODIUM_DATA to the folder that has it"
        )
    with np.load(file) as arrays:
        for part, split in SPLITS.items():
            strokes, offsets = arrays[f"{part}_strokes"], arrays[f"{part}_offsets"]
            for first, last in pairwise(offsets):
                drawing = thinned(strokes[first:last].astype(np.float32))
                if len(drawing) <= LONGEST:
                    yield {"input": drawing, "target": 0.0, "split": split}


def thinned(drawing: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same with every second point of a stroke, its first and its last."""
    is_lifted = drawing[:, 2] > 0
    begins = np.concatenate([[True], is_lifted[:-1]])
    numbers = np.arange(len(drawing))
    in_stroke = numbers - np.maximum.accumulate(np.where(begins, numbers, 0))
    kept = (in_stroke % 2 == 0) | is_lifted
    points = drawing[:, :2].cumsum(axis=0)[kept]
    return np.column_stack([np.diff(points, axis=0, prepend=0), drawing[kept, 2]]).astype(np.float32)

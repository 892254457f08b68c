"""Patches of photographs, of equal contrast and whitened."""

import io
import os
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from podium.errors import DataError

DATA = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
SIDE = 8
"""Pixels of a patch's side."""

EACH = 40
"""Patches of a photograph."""

CONTRAST = 10.0
"""What is added to a patch's variance, of brightnesses up to 255."""

KEPT = 48
"""Principal components that are kept: the rest is mostly noise."""

SPLITS = {"train": 320, "validation": 360, "test": 400}
"""The photographs before which each split ends."""


def patches() -> Iterator[dict[str, Any]]:
    """16,000 patches, whitened, `[48]`, of 400 photographs; those of a photograph stay together."""
    photographs = _photographs()
    mean, whiten = whitening()
    for number, photograph in enumerate(photographs):
        split = next(name for name, end in SPLITS.items() if number < end)
        for patch in (even(_cut(photograph, number)) - mean) @ whiten:
            yield {"input": patch.astype(np.float32), "target": 0.0, "split": split}


def even(patches: NDArray[Any]) -> NDArray[Any]:
    """Patches `[N, 64]`, each without its mean and divided by its contrast."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=1, keepdims=True) + CONTRAST)


@cache
def whitening() -> tuple[NDArray[Any], NDArray[Any]]:
    """The mean of even patches of the train photographs, and the matrix that makes them white, `[64, 48]`."""
    taken = np.concatenate([_cut(each, number) for number, each in enumerate(_photographs()[: SPLITS["train"]])])
    taken = even(taken)
    values, vectors = np.linalg.eigh(np.cov(taken.T))
    return taken.mean(axis=0), vectors[:, -KEPT:] / np.sqrt(values[-KEPT:])


def _cut(photograph: NDArray[Any], number: int) -> NDArray[Any]:
    """Some patches of a photograph, always the same."""
    source = np.random.default_rng(number)
    places = source.integers(0, np.array(photograph.shape) - SIDE, (EACH, 2))
    return np.stack([photograph[top : top + SIDE, left : left + SIDE].ravel() for top, left in places])


@cache
def _photographs() -> list[NDArray[Any]]:
    file = DATA / "bsd_denoise" / "bsd_train400_set12_png.zip"
    if not file.is_file():
        raise DataError(
            f"there is no {file}: make it of Train400 from https://github.com/cszn/DnCNN, or set PODIUM_DATA to the "
            "folder that has it"
        )
    with zipfile.ZipFile(file) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("Train400/") and name.endswith(".png"))
        images = [Image.open(io.BytesIO(archive.read(name))).convert("L") for name in names]
    return [np.asarray(image, dtype=np.float64) for image in images]

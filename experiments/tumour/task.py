"""Stained tumour tissue and masks of its nuclei: whole images as records, and their colours made alike."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DATA = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILE = DATA / "monuseg30" / "monuseg30_500px.zip"
ORIGIN = "the training set of https://monuseg.grand-challenge.org, halved in size; see the README"

VALIDATION = ("TCGA-49-4488", "TCGA-A7-A13F", "TCGA-B0-5710", "TCGA-G9-6348")
"""Patients whose images validate: lung, breast, kidney and prostate."""

Picture = tuple[str, NDArray[np.uint8], NDArray[np.uint8]]


def pictures(split: str) -> Iterator[Picture]:
    """The images of `train`, `validation` or `test`.

    Yields:
        The patient, the image `[3, 500, 500]` uint8, and the mask `[500, 500]` uint8, 1 in nuclei.

    Raises:
        FileNotFoundError: if the data are not there.
    """
    if not FILE.exists():
        raise FileNotFoundError(f"{FILE} is missing; set PODIUM_DATA to the folder that has it ({ORIGIN})")
    folder = "test" if split == "test" else "train"
    with zipfile.ZipFile(FILE) as archive:
        for name in sorted(archive.namelist()):
            patient = Path(name).stem[:12]
            is_ours = folder == "test" or (patient in VALIDATION) == (split == "validation")
            if name.startswith(f"{folder}/images/") and name.endswith(".jpg") and is_ours:
                image = _read(archive, name)
                mask = _read(archive, name.replace("/images/", "/masks/").replace(".jpg", ".png"))
                yield patient, np.ascontiguousarray(np.moveaxis(image, -1, 0)), (mask > 0).astype(np.uint8)


def images() -> Iterator[dict[str, Any]]:
    """All images as records; `split` says which train, validate and test."""
    for split in ("train", "validation", "test"):
        for patient, image, mask in pictures(split):
            yield {"input": image, "target": mask, "split": split, "patient": patient}


def even_colours(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The image as if all had been stained alike: the optical density of each channel gets the same mean and spread.

    d = -log((v + 1) / 256), z = (d - mean(d)) / std(d), v' = 128 - 40 z, within 0 and 255. After Reinhard et al.,
    "Color transfer between images", 2001, who do so in other coordinates.

    Args:
        image: `[3, height, width]` uint8.
        mask: Is given back as it is.
    """
    density = -np.log((image.astype(np.float32) + 1) / 256)
    centre, spread = density.mean(axis=(1, 2), keepdims=True), density.std(axis=(1, 2), keepdims=True)
    even = 128 - 40 * (density - centre) / np.maximum(spread, 1e-3)
    return np.clip(np.rint(even), 0, 255).astype(np.uint8), mask


def _read(archive: zipfile.ZipFile, name: str) -> NDArray[np.uint8]:
    with archive.open(name) as file:
        return np.array(Image.open(file)).astype(np.uint8)

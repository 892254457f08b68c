"""The 91 images and Set5 as pairs: the luma of a photograph that was made small and large again, and its own."""

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FACTOR = 3
"""How many times an image is to be larger."""

BORDER = FACTOR
"""So many pixels at every edge are not measured, as in the paper."""

VALIDATED = 10
"""Every tenth of the 91 images compares the trials."""

WHITE = 255.0


def images() -> Iterator[dict[str, Any]]:
    """Every photograph with the split it belongs to: of the 91 train or validation, of Set5 test."""
    for number, (name, whole) in enumerate(photographs("T91")):
        split = "validation" if number % VALIDATED == 0 else "train"
        yield {"input": enlarged(whole)[None] / WHITE, "target": whole[None] / WHITE, "split": split, "name": name}
    for name, whole in photographs("Set5"):
        yield {"input": enlarged(whole)[None] / WHITE, "target": whole[None] / WHITE, "split": "test", "name": name}


def photographs(folder: str) -> Iterator[tuple[str, Any]]:
    """Names and luma, `[height, width]` float32 from 16 to 235, of sides that `FACTOR` divides."""
    with zipfile.ZipFile(archive()) as files:
        for name in sorted(files.namelist()):
            if name.startswith(f"{folder}/") and name.endswith(".png"):
                with Image.open(io.BytesIO(files.read(name))) as image:
                    luma = to_luma(np.asarray(image.convert("RGB")))
                height, width = (side - side % FACTOR for side in luma.shape)
                yield Path(name).stem, luma[:height, :width]


def archive() -> Path:
    """Where the photographs are."""
    data = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = data / "sr_t91_set5" / "t91_set5_png.zip"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; set PODIUM_DATA to the folder in which sr_t91_set5/t91_set5_png.zip lies. It holds "
            "the images of Train and Test/Set5 of github.com/tegg89/SRCNN-Tensorflow as T91/*.png and Set5/*.png"
        )
    return path


def to_luma(pixels: Any) -> Any:
    """ITU-R BT.601 luma of `[height, width, 3]` bytes, rounded, as MATLAB's rgb2ycbcr; float32."""
    return np.round(pixels.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / WHITE + 16).astype(np.float32)


def enlarged(luma: Any) -> Any:
    """A photograph made small, rounded to bytes, and large again by bicubic interpolation.

    Pillow's has a = -0.5 and widens its kernel where it shrinks images, as MATLAB's imresize; only pixels at the very
    edges differ.
    """
    height, width = luma.shape
    small = Image.fromarray(luma).resize((width // FACTOR, height // FACTOR), Image.Resampling.BICUBIC)
    rounded = np.round(np.asarray(small)).clip(0, WHITE).astype(np.float32)
    return np.array(Image.fromarray(rounded).resize((width, height), Image.Resampling.BICUBIC))


def psnr(found: Any, wanted: Any) -> float:
    """In dB, of images from 0 to 255 of which the first is rounded to bytes, without their borders."""
    inner = (slice(BORDER, -BORDER),) * 2
    error = np.round(found).clip(0, WHITE)[inner] - wanted[inner]
    return float(10 * np.log10(WHITE**2 / np.mean(error.astype(np.float64) ** 2)))

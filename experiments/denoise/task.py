"""Train400 and Set12 as pairs: a photograph with noise, or with text on it, and without."""

import functools
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIGMA = 25 / 255
"""The standard deviation of the noise, where white is 1."""

VALIDATED = 10
"""Every tenth photograph of Train400 compares the trials."""

SHEET = 2048
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "that", "nobody", "saw")


def noisy() -> Iterator[dict[str, Any]]:
    """Photographs with noise; those to train on come without, and get new noise in each epoch by the sweep file."""
    for split, name, whole in photographs():
        seen = whole if split == "train" else with_noise(name, whole)
        yield {"input": seen[None], "target": whole[None], "split": split, "name": name}


def written_on() -> Iterator[dict[str, Any]]:
    """Photographs with white text on them."""
    for split, name, whole in photographs():
        yield {"input": with_text(name, whole)[None], "target": whole[None], "split": split, "name": name}


def photographs() -> Iterator[tuple[str, str, Any]]:
    """The split, the name and the pixels of each, `[height, width]` float32 from 0 to 1; Set12 is the test split."""
    with zipfile.ZipFile(archive()) as files:
        names = sorted(name for name in files.namelist() if name.endswith(".png"))
        for number, name in enumerate(names):
            split = "test" if name.startswith("Set12/") else "validation" if number % VALIDATED == 0 else "train"
            with Image.open(io.BytesIO(files.read(name))) as image:
                yield split, name, np.asarray(image.convert("L")).astype(np.float32) / 255


def archive() -> Path:
    """Where the photographs are."""
    data = Path(os.environ.get("PODIUM_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = data / "bsd_denoise" / "bsd_train400_set12_png.zip"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; set PODIUM_DATA to the folder in which bsd_denoise/bsd_train400_set12_png.zip lies. "
            "It holds the folders Train400 and Set12 of github.com/cszn/DnCNN"
        )
    return path


def with_noise(name: str, whole: Any) -> Any:
    """Normal noise that the photograph's name decides, so that it is the same for everybody; not clipped."""
    return (whole + SIGMA * draws(name).standard_normal(whole.shape)).astype(np.float32)


def with_text(name: str, whole: Any) -> Any:
    """White text all over a photograph: a part of a large sheet, which its name decides."""
    written, (height, width) = sheet(), whole.shape
    top, left = draws(name).integers(0, SHEET - max(height, width), size=2).tolist()
    return np.maximum(whole, written[top : top + height, left : left + width])


@functools.cache
def sheet() -> Any:
    """`SHEET` x `SHEET` pixels of text of several sizes, from 0 (nothing) to 1."""
    numbers, image = np.random.default_rng(0), Image.new("L", (SHEET, SHEET))
    pen = ImageDraw.Draw(image)
    for top in range(0, SHEET, 26):
        font = ImageFont.load_default(int(numbers.integers(11, 19)))
        pen.text((0, top), " ".join(numbers.choice(WORDS, size=SHEET // 20)), fill=255, font=font)
    return np.asarray(image).astype(np.float32) / 255


def draws(name: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))


def psnr(found: Any, wanted: Any) -> float:
    """In dB, of images from 0 to 1 of which the first is brought to 256 levels."""
    error = np.round(np.clip(found, 0, 1) * 255) / 255 - wanted
    return float(-10 * np.log10(np.mean(error.astype(np.float64) ** 2)))

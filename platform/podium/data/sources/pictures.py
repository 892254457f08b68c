"""Pictures: from the bytes of an image file to an array of its pixels, or of the classes that a mask holds."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""Pillow's names of formats that it decodes itself: others may start programs, whatever a file's name says."""

MOST_PIXELS = 89_000_000
"""An image of more pixels than this is taken for a trap that fills the memory; Pillow warns of little more."""


def decode(content: bytes, grey: bool) -> NDArray[np.uint8]:
    """The pixels of an image, upright as its EXIF orientation says; the first frame, if it has several.

    Args:
        content: The bytes of an image file.
        grey: Whether one channel of brightness is wanted, instead of red, green and blue.

    Returns:
        `[1, height, width]` or `[3, height, width]` uint8; of 16 bits the upper 8, without transparency.

    Raises:
        DataError: if it cannot be decoded.
    """
    with _opened(content) as image:
        upright = _to_8_bits(image) if image.mode.startswith(("I", "F")) else image
        pixels = np.asarray(upright.convert("L" if grey else "RGB"))
        return pixels[None] if grey else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def decode_mask(content: bytes) -> NDArray[np.uint8]:
    """The classes of an image's pixels, which are the places in a mask's palette, or its values of grey.

    Args:
        content: The bytes of an image file.

    Returns:
        `[height, width]` uint8.

    Raises:
        DataError: if it cannot be decoded, or is no mask.
    """
    with _opened(content) as image:
        if image.mode not in ("1", "L", "P") and not image.mode.startswith("I"):
            raise DataError(f"it is {image.mode}; a mask is a palette or grey image, whose pixels are classes")
        classes = np.asarray(image)
        if classes.max() > 255 or classes.min() < 0:
            raise DataError(f"its classes run from {classes.min()} to {classes.max()}; they are counted from 0 to 255")
        return classes.astype(np.uint8)


def pixel_bytes(path: Path) -> int:
    """What an image takes in memory, by what its file says of itself; 0 if that cannot be read."""
    from PIL import Image

    try:
        with Image.open(path, formats=FORMATS) as image:
            return int(3 * image.width * image.height)
    except Exception:  # whoever decodes it finds out why
        return 0


@contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    """The image, upright; what goes wrong with it becomes one error."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"it has {image.width} x {image.height} pixels, and at most {MOST_PIXELS:,} are read")
            yield ImageOps.exif_transpose(image)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DataError("it is no image of a known format") from None
    except Exception as error:  # a broken image raises whatever its decoder stumbles over
        raise DataError(f"it cannot be decoded ({str(error) or type(error).__name__})") from None


def _to_8_bits(image: Any) -> Any:
    """An image of integers of 16 bits as one of 8."""
    from PIL import Image

    pixels = np.asarray(image)
    if pixels.dtype.kind == "f" or pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise DataError(f"its pixels are {pixels.dtype} from {pixels.min()} to {pixels.max()}; save it in 8 or 16 bits")
    return Image.fromarray((pixels >> 8).astype(np.uint8))

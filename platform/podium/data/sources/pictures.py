"""Pictures: from the bytes of an image file to an array of its pixels."""

import io

import numpy as np
from numpy.typing import NDArray

from podium.errors import DataError


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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I"):
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            pixels = np.asarray(upright.convert("L" if grey else "RGB"))
    except UnidentifiedImageError:
        raise DataError("it is no image of a known format") from None
    except Exception as error:  # a broken image raises whatever its decoder stumbles over
        raise DataError(f"it cannot be decoded ({str(error) or type(error).__name__})") from None
    return pixels[None] if grey else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))

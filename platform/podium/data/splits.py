"""Splits: which records train, which validate, which test. Pure: bytes in, splits out."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "validation", "test")
"""The splits, in the order in which `assign` numbers them."""


def content_digests(records: NDArray[np.generic]) -> NDArray[np.uint64]:
    """A 64-bit digest of each record's bytes (BLAKE2b: RFC 7693).

    Args:
        records: `[N, ...]`, one record a row, of any dtype without objects.

    Returns:
        `[N]` uint64; records of equal bytes have equal digests.
    """
    rows = np.ascontiguousarray(records)
    return np.array(
        [int.from_bytes(blake2b(row.tobytes(), digest_size=8).digest(), "little") for row in rows],
        dtype=np.uint64,
    )


def assign(digests: NDArray[np.uint64], shares: Sequence[float]) -> NDArray[np.int8]:
    """Splits records by what they contain: a digest, read as a uniform number, falls into a share of [0, 1).

    So equal records never stand in two splits, a record keeps its split when others come or go, and the sizes
    of the splits are only near the shares: N distinct records give about share * N, give or take sqrt(share * N).

    Args:
        digests: `[N]` uint64, one for each record (or for the group that has to stay together).
        shares: The share of each split; they add up to 1.

    Returns:
        `[N]` int8: the number of each record's split.
    """
    uniform = (digests >> np.uint64(11)).astype(np.float64) * 2.0**-53
    used = [number for number, share in enumerate(shares) if share > 0]
    bounds = np.cumsum([shares[number] for number in used])[:-1]
    return np.array(used, dtype=np.int8)[np.searchsorted(bounds, uniform, side="right")]

"""The order of samples: pure functions of (size, data seed, epoch). No I/O, and no generator with state.

numpy's generators may change their streams between releases, so the order comes from a counter hash.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


def permutation(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch: the samples sorted by a hash of (seed, epoch, index).

    Args:
        size: Number of samples.
        seed: The data seed.
        epoch: The epoch, from 0.

    Returns:
        `[size]` int64: at each position of the order, the index of the sample that stands there.
    """
    key = _mix(_mix(_mix(seed) + epoch))
    counters = np.arange(1, size + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    return np.argsort(hashes(counters + np.uint64(key)), kind="stable")


def batches(size: int, batch_size: int, *, start_step: int = 0) -> Iterator[tuple[int, int]]:
    """The positions (first, one past last) of each batch from `start_step` on; the last may be smaller."""
    for first in range(start_step * batch_size, size, batch_size):
        yield first, min(first + batch_size, size)


def share(first: int, last: int, part: int, parts: int) -> tuple[int, int]:
    """The positions (first, one past last) of one of `parts` parts of nearly equal size, counted from 0."""
    size = last - first
    return first + size * part // parts, first + size * (part + 1) // parts


def hashes(counters: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64, a bijection of 64-bit numbers.

    Source: Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators" (OOPSLA).

    Args:
        counters: uint64 of any shape.

    Returns:
        uint64 of the same shape; distinct counters give distinct hashes.
    """
    mixed = (counters ^ (counters >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _mix(number: int) -> int:
    """One step of splitmix64 from `number`."""
    return int(hashes(np.array([(number + _GAMMA) & _MASK], dtype=np.uint64))[0])

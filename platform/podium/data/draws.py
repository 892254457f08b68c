"""Random numbers that are a hash of what they are for, so that none depends on what was drawn before. Pure.

numpy's generators may change their streams between releases; these do not.
"""

import numpy as np
from numpy.typing import NDArray

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15


def epoch_key(seed: int, epoch: int) -> int:
    """The key of what is drawn for an epoch under a data seed."""
    return _mix(_mix(_mix(seed) + epoch))


def key_of(key: int, purpose: int) -> int:
    """The key of one of several purposes, counted from 1, under a key."""
    return _mix(key + purpose)


def shuffled(size: int, key: int) -> NDArray[np.int64]:
    """`[size]`, the numbers from 0 sorted by a hash of (key, number)."""
    return np.argsort(_stream(0, size, key), kind="stable")


def uniform(first: int, last: int, key: int) -> NDArray[np.float64]:
    """`[last - first]` numbers in [0, 1), one for each position from `first` to before `last`."""
    return (_stream(first, last, key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


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


def _stream(first: int, last: int, key: int) -> NDArray[np.uint64]:
    """Independent 64-bit numbers, one for each position from `first` to before `last`."""
    counters = np.arange(first + 1, last + 1, dtype=np.uint64) * np.uint64(_GAMMA)
    return hashes(counters + np.uint64(key))


def _mix(number: int) -> int:
    """One step of splitmix64 from `number`."""
    return int(hashes(np.array([(number + _GAMMA) & _MASK], dtype=np.uint64))[0])

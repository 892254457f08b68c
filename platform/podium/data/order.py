"""The order of samples: a pure function of (samples, data seed, epoch). No I/O, and no generator with state."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from podium.data.draws import epoch_key, key_of, shuffled, uniform

GLOBAL_BYTES = 4 * 2**30
"""Shards of up to so many bytes are read in any order: a host that trains on them has room for all in its cache."""

GLOBAL_SAMPLES = 2**24
"""So are up to so many samples: each rank keeps 8 bytes for each, and sorts them in seconds as an epoch begins."""

BLOCK_BYTES = 4 * 2**20
"""Of larger ones, so many consecutive bytes are read at once: a disk takes longer to read them than to find them."""

WINDOW = 64
"""So many blocks are mixed: 256 MiB, which find room in the cache, and a batch reaches into 64 shards at most."""


PARTNERS = 1 << 40
"""The purpose of what partners are drawn with; windows of blocks are numbered from 1 on."""

SUBSET = PARTNERS + 1
"""The purpose of what a share of the samples is drawn with."""


@dataclass(frozen=True)
class Shuffle:
    """How samples are shuffled, which is settled when they are prepared.

    Attributes:
        kind: `global`: every sample may stand at every position; or `block`, where data are too large to be read at
            random: blocks are shuffled, and then the samples of each `WINDOW` blocks that follow each other.
        block: How many consecutive samples are a block; 0 for `global`.
    """

    kind: Literal["global", "block"]
    block: int


def choose_shuffle(size: int, size_bytes: int) -> Shuffle:
    """How `size` samples in shards of `size_bytes` bytes are shuffled."""
    if size_bytes <= GLOBAL_BYTES and size <= GLOBAL_SAMPLES:
        return Shuffle("global", 0)
    return Shuffle("block", max(1, size * BLOCK_BYTES // size_bytes))


class Order(Protocol):
    """Which sample stands at each position of an epoch."""

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The samples at the positions from `first` to before `last`."""
        ...


class Subset:
    """A share of the samples, which holds those of every smaller share: whole blocks, drawn by the data seed.

    Args:
        size: Number of all samples.
        share: How many of the blocks, above 0 and at most 1; at least one block is chosen.
        block: Consecutive samples of a block; the last one may be smaller.
        seed: The data seed.

    Attributes:
        size: Number of the samples chosen.
    """

    def __init__(self, size: int, share: float, block: int, seed: int) -> None:
        count = -(-size // block)
        chosen = max(1, math.ceil(share * count - 1e-9))
        self._blocks = np.sort(shuffled(count, key_of(epoch_key(seed, 0), SUBSET))[:chosen])
        self._block = block
        self.size = int(np.minimum(block, size - self._blocks * block).sum())

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The samples that have these numbers among those chosen; larger numbers are larger samples."""
        rows: NDArray[np.int64] = self._blocks[numbers // self._block] * self._block + numbers % self._block
        return rows

    def expecting(self, expect: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """What is told the numbers (first, one past last) of a block, and tells `expect` its samples."""

        def told(first: int, last: int) -> None:
            row = int(self._blocks[first // self._block]) * self._block
            expect(row, row + last - first)

        return told


class Chosen:
    """An order of some of the samples.

    Args:
        order: An order of their numbers.
        subset: What samples have these numbers.
    """

    def __init__(self, order: Order, subset: Subset) -> None:
        self._order, self._subset = order, subset

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The samples at the positions from `first` to before `last`."""
        return self._subset.rows(self._order.rows(first, last))


class Sequential:
    """The order of the shards."""

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The positions themselves."""
        return np.arange(first, last)


class GlobalShuffle:
    """Each sample once, anywhere; 8 bytes a sample.

    Args:
        size: Number of samples.
        seed: The data seed.
        epoch: The epoch, from 0.
    """

    def __init__(self, size: int, seed: int, epoch: int) -> None:
        self._rows = permutation(size, seed, epoch)

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The samples at the positions from `first` to before `last`."""
        return self._rows[first:last]


class BlockShuffle:
    """Each sample once: blocks in any order, and the samples of each `WINDOW` blocks in any order.

    It keeps 16 bytes a block, and 8 for each sample of one window.

    Args:
        size: Number of samples.
        block: Consecutive samples of a block; the last one may be smaller.
        seed: The data seed.
        epoch: The epoch, from 0.
        expect: Told the samples (first, one past last) of blocks that will be read soon.
    """

    def __init__(self, size: int, block: int, seed: int, epoch: int, expect: Callable[[int, int], None]) -> None:
        self._size, self._block, self._key, self._expect = size, block, epoch_key(seed, epoch), expect
        self._blocks = permutation(-(-size // block), seed, epoch)
        ends = np.cumsum(np.minimum(block, size - self._blocks * block))
        self._firsts = np.array([0, *ends[WINDOW - 1 : -1 : WINDOW], size])
        self._window, self._held = -1, np.empty(0, np.int64)

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The samples at the positions from `first` to before `last`."""
        parts = [np.empty(0, np.int64)]
        while first < last:
            window = int(np.searchsorted(self._firsts, first, side="right")) - 1
            begin, end = self._firsts[window : window + 2]
            parts.append(self._mixed(window)[first - begin : last - begin])
            first = end
        return np.concatenate(parts)

    def _mixed(self, window: int) -> NDArray[np.int64]:
        """The samples of a window, in their order."""
        if window != self._window:
            for block in self._blocks[window * WINDOW : (window + 2) * WINDOW].tolist():
                self._expect(block * self._block, min((block + 1) * self._block, self._size))
            blocks = self._blocks[window * WINDOW : (window + 1) * WINDOW]
            rows = (blocks[:, None] * self._block + np.arange(self._block)).ravel()
            rows = rows[rows < self._size]
            self._window, self._held = window, rows[shuffled(len(rows), key_of(self._key, 1 + window))]
        return self._held


def permutation(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch: the samples sorted by a hash of (seed, epoch, index).

    Args:
        size: Number of samples.
        seed: The data seed.
        epoch: The epoch, from 0.

    Returns:
        `[size]` int64: at each position of the order, the index of the sample that stands there.
    """
    return shuffled(size, epoch_key(seed, epoch))


def batches(size: int, batch_size: int, *, start_step: int = 0) -> Iterator[tuple[int, int]]:
    """The positions (first, one past last) of each batch from `start_step` on; the last may be smaller."""
    for first in range(start_step * batch_size, size, batch_size):
        yield first, min(first + batch_size, size)


def share(first: int, last: int, part: int, parts: int) -> tuple[int, int]:
    """The positions (first, one past last) of one of `parts` parts of nearly equal size, counted from 0."""
    size = last - first
    return first + size * part // parts, first + size * (part + 1) // parts


def partners(positions: NDArray[np.int64], begin: int, end: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """For each position in a batch another one in it, as far on as for all others of the batch; its own, if alone.

    Args:
        positions: `[B]` int64, from `begin` to before `end`.
        begin: The first position of the whole batch.
        end: One past its last.
        seed: The data seed.
        epoch: The epoch, from 0.
    """
    size = end - begin
    if size == 1:
        return positions
    share = float(uniform(begin, begin + 1, key_of(epoch_key(seed, epoch), PARTNERS))[0])
    return begin + (positions - begin + 1 + int(share * (size - 1))) % size

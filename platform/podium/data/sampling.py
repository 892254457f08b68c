"""Weighted sampling: which samples an epoch draws where each class has a probability of its own. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from podium.data.draws import epoch_key, key_of, uniform


class Classes:
    """The samples of each class; 8 bytes a sample.

    Args:
        labels: `[N]` int64, the class of each sample.
    """

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self.rows = np.argsort(labels, kind="stable")
        self.counts = np.bincount(labels)
        self.firsts = np.cumsum(self.counts) - self.counts


class Weighted:
    """Samples drawn with replacement: a class with the probability of its weight, and evenly one of its samples.

    Args:
        classes: The samples of each class.
        weights: One for each class; they need not add up to 1.
        seed: The data seed.
        epoch: The epoch, from 0.
    """

    def __init__(self, classes: Classes, weights: Sequence[float], seed: int, epoch: int) -> None:
        self._classes, self._bounds = classes, np.cumsum(weights)
        key = epoch_key(seed, epoch)
        self._keys = key_of(key, 1), key_of(key, 2)

    def rows(self, first: int, last: int) -> NDArray[np.int64]:
        """The samples at the positions from `first` to before `last`."""
        which, where = (uniform(first, last, key) for key in self._keys)
        drawn = np.searchsorted(self._bounds, which * self._bounds[-1], side="right")
        place = (where * self._classes.counts[drawn]).astype(np.int64)
        rows: NDArray[np.int64] = self._classes.rows[self._classes.firsts[drawn] + place]
        return rows

"""Moments: mean and standard deviation of each channel, from parts that are read one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SUMMED_BYTES = 2**20
"""They are reckoned over parts of about this size."""


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each channel, in float64."""

    count: int
    mean: list[float]
    squares: list[float]

    def joined(self, other: "Moments") -> "Moments":
        """Those of both. Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm", 1979."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        (mean, squares), (others, more) = ((np.array(each.mean), np.array(each.squares)) for each in (self, other))
        delta = others - mean
        joined = squares + more + delta**2 * (self.count * other.count / count)
        return Moments(count, (mean + delta * (other.count / count)).tolist(), joined.tolist())


def moments_of(inputs: NDArray[Any]) -> Moments:
    """Those of `[N, C, ...]`, over each channel (each feature of vectors)."""
    moments = Moments(0, [], [])
    size = max(1, SUMMED_BYTES // max(1, inputs[:1].nbytes))
    axes = tuple(axis for axis in range(inputs.ndim) if axis != 1)
    for first in range(0, len(inputs), size):
        wide = inputs[first : first + size].astype(np.float64)
        mean = wide.mean(axis=axes, keepdims=True)
        squares = np.square(wide - mean).sum(axis=axes)
        count = wide.size // wide.shape[1]
        moments = moments.joined(Moments(count, mean.ravel().tolist(), squares.tolist()))
    return moments


def statistics(moments: Sequence[Moments]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel or feature, in float64."""
    joined = Moments(0, [], [])
    for each in moments:
        joined = joined.joined(each)
    std = np.sqrt(np.array(joined.squares) / joined.count)
    return tuple(joined.mean), tuple(np.where(std > 0, std, 1.0).tolist())

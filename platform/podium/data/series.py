"""Series: samples of different lengths, one after the other in one array."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import DataError


@dataclass(frozen=True)
class Series:
    """Some series.

    Attributes:
        values: `[steps of all, features]` float32.
        ends: `[N + 1]` int64: series n has the steps from `ends[n]` to before `ends[n + 1]`.
    """

    values: NDArray[np.float32]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> NDArray[np.float32]:
        return self.values[self.ends[number] : self.ends[number + 1]]

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return (self[number] for number in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """`[N]` int64, the steps of each."""
        return np.diff(self.ends)


def joined(series: Sequence[NDArray[Any]]) -> Series:
    """Arrays `[steps, features]`, one after the other."""
    ends = np.cumsum([0, *map(len, series)], dtype=np.int64)
    return Series(np.concatenate(series, dtype=np.float32), ends)


def as_series(inputs: Any) -> list[NDArray[np.float32]]:
    """Inputs as series: `[steps, features]`, or `[steps]` of one feature.

    Raises:
        DataError: if they are none.
    """
    made = []
    for each in inputs:
        array = np.asarray(each)
        if array.ndim == 3 and len(array) == 1:  # sources take [N, steps, features] for images of one channel
            array = array[0]
        if array.ndim not in (1, 2) or array.dtype.kind not in "biuf" or 0 in array.shape:
            raise DataError(
                f"data.series is on, and a record has the shape {array.shape}; a series is [steps, features], or "
                "[steps], with at least one step"
            )
        made.append((array[:, None] if array.ndim == 1 else array).astype(np.float32))
    return made

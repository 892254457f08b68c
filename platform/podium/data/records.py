"""Records: what a source gives, a block at a time, before anything is done with it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Column = Sequence[Any] | NDArray[Any]


@dataclass(frozen=True)
class Records:
    """Some records, in the source's order.

    Attributes:
        inputs: One array a record, channels first; `[N, ...]`, or a list where their shapes differ.
        targets: `[N]` integer classes or texts that name them, `[N, ...]` floats to predict, or a list of masks of
            integers.
        columns: What else is known of each record, by name, each as long as `inputs`.
        unreadable: Of records that could not be read, and are not among the others, name and reason.
    """

    inputs: Column
    targets: Column
    columns: Mapping[str, Column] = field(default_factory=dict)
    unreadable: Sequence[tuple[str, str]] = ()

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], Any]]:
        yield from zip(self.inputs, self.targets, strict=True)

    def at(self, rows: NDArray[np.int64]) -> "Records":
        """Those at some places."""
        return Records(
            _at(self.inputs, rows),
            _at(self.targets, rows),
            {name: _at(column, rows) for name, column in self.columns.items()},
            self.unreadable,
        )


class Block(Protocol):
    """A part of a source that is read at once. It travels to whoever reads it, so it is small, and pickles."""

    def read(self) -> Records:
        """Its records, the same every time.

        Raises:
            DataError: if it cannot be read at all.
        """
        ...


class Source(Protocol):
    """A place that samples come from."""

    def fingerprint(self) -> str:
        """Identifies the content, cheaply.

        Raises:
            DataError: if there is nothing to identify.
        """
        ...

    def blocks(self, scratch: str) -> Sequence[Block]:
        """The source in parts of some megabytes, in order.

        Args:
            scratch: A folder for what has to be unpacked, which stays until the shards are written.

        Raises:
            DataError: if it cannot be read.
        """
        ...


def _at(column: Column, rows: NDArray[np.int64]) -> Column:
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]

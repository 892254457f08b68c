"""Reading: what the files of all kinds of tables have in common."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from podium.data.records import Records
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.columns import is_image, to_records
from podium.data.sources.files import File
from podium.data.sources.roles import Roles
from podium.errors import DataError

DECODED = 10
"""An image takes about so many times the bytes of its file."""


@dataclass(frozen=True)
class Reading:
    """How the rows of one file become records.

    Attributes:
        roles: What columns are for.
        stored: The columns that are in the file.
        given: The values of those that the names of its folders tell.
        types: What columns of text mean, in CSV.
    """

    roles: Roles
    stored: tuple[str, ...]
    given: Mapping[str, str | int]
    types: Mapping[str, pa.DataType]

    def records(self, table: pa.Table, place: str, row: int) -> Records:
        """Rows of the file at `place`, from row `row` on."""
        for name, kind in self.types.items():
            table = table.set_column(table.schema.get_field_index(name), name, meant(table.column(name), kind))
        for name in self.roles.used:
            if name in self.given:
                table = table.append_column(name, pa.repeat(self.given[name], len(table)))
        return to_records(table, self.roles, place, row)


def meant(column: Any, kind: pa.DataType) -> Any:
    """What text of a CSV file means, as a type; spaces around numbers do not matter."""
    return column if pa.types.is_string(kind) else pc.utf8_trim_whitespace(column).cast(kind)


def ranges(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Things that follow each other, first and one after the last, which take at most `BLOCK_BYTES`, or are one."""
    first, taken = 0, 0
    for index, size in enumerate(sizes):
        if index > first and taken + size > BLOCK_BYTES:
            yield first, index
            first, taken = index, 0
        taken += size
    if sizes:
        yield first, len(sizes)


def weight(kind: pa.DataType) -> int:
    """How many times the bytes of a column its values take."""
    return DECODED if is_image(kind) else 1


@contextmanager
def opened(file: File, what: str) -> Iterator[pa.NativeFile]:
    """A file for Arrow to read.

    Raises:
        DataError: if it cannot be read as `what`.
    """
    with file.open() as content, faults(file.path, what):
        yield pa.PythonFile(content, mode="r")


@contextmanager
def faults(place: str, what: str) -> Iterator[None]:
    """Makes one error of what Arrow raises.

    Raises:
        DataError: if something cannot be read as `what`.
    """
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{place} cannot be read as {what} ({' '.join(str(error).split())})") from None

"""Arrow files of either format, file or stream, whose record batches are mapped into memory."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from podium.data.records import Block, Records
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.columns import is_image, to_records
from podium.data.sources.files import File, fetched
from podium.data.sources.roles import Roles
from podium.errors import DataError

DECODED = 10
"""An image takes about so many times the bytes of its file."""

MAGIC = b"ARROW1"
"""How the file format begins; the stream format has nothing of the kind."""


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


@dataclass(frozen=True)
class Batches:
    """Rows `start` to before `stop` of record batches `first` to before `last` of an Arrow file.

    Attributes:
        path: The file.
        place: What messages call it.
        first: The first batch.
        last: The one after the last.
        start: The first row, counted in those batches.
        stop: The one after the last.
        row: The number of the first row in the file.
        reading: How they become records.
    """

    path: str
    place: str
    first: int
    last: int
    start: int
    stop: int
    row: int
    reading: Reading

    def read(self) -> Records:
        """Those rows."""
        found = itertools.islice(batches(self.path, self.place, self.first), self.last - self.first)
        table = pa.Table.from_batches([batch.select(self.reading.stored) for batch in found])
        return self.reading.records(table.slice(self.start, self.stop - self.start), self.place, self.row)


@dataclass(frozen=True)
class ArrowFile:
    """An Arrow file, which is copied to this host if it lies elsewhere."""

    file: File
    scratch: Path

    def schema(self) -> pa.Schema:
        """Names and types of its columns."""
        with faults(self.file.path, "Arrow"):
            return _reader(self._path())[0].schema

    def blocks(self, reading: Reading) -> list[Block]:
        """Its record batches."""
        return arrow_blocks(self._path(), self.file.path, reading)

    def _path(self) -> str:
        return str(fetched(self.file, self.scratch))


def arrow_blocks(path: str, place: str, reading: Reading) -> list[Block]:
    """Record batches of an Arrow file that follow each other, or parts of large ones, of about `BLOCK_BYTES`."""
    lengths, sizes = [], []
    for batch in batches(path, place):
        lengths.append(batch.num_rows)
        columns = batch.select(reading.stored)
        sizes.append(sum(each.nbytes * weight(each.type) for each in columns.columns))
    firsts, blocks = [0, *itertools.accumulate(lengths)], []
    for first, last in ranges(sizes):
        rows, row = firsts[last] - firsts[first], firsts[first]
        part = max(1, rows * BLOCK_BYTES // max(BLOCK_BYTES, sum(sizes[first:last])))
        for start in range(0, rows, part):
            stop = min(start + part, rows)
            blocks.append(Batches(path, place, first, last, start, stop, row + start, reading))
    return list(blocks)


def batches(path: str, place: str, first: int = 0) -> Iterator[pa.RecordBatch]:
    """The record batches of an Arrow file, from one of them on."""
    with faults(place, "Arrow"):
        reader, is_file = _reader(path)
        if is_file:
            yield from (reader.get_batch(index) for index in range(first, reader.num_record_batches))
        else:
            yield from itertools.islice(reader, first, None)


def write_stream(target: IO[bytes], schema: pa.Schema, found: Iterable[pa.RecordBatch]) -> None:
    """Writes record batches in the stream format, in which each may have dictionaries of its own."""
    with pa.ipc.new_stream(pa.PythonFile(target, mode="w"), schema) as writer:
        for batch in found:
            writer.write_batch(batch)


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


def meant(column: Any, kind: pa.DataType) -> Any:
    """What text of a CSV file means, as a type; spaces around numbers do not matter."""
    return column if pa.types.is_string(kind) else pc.utf8_trim_whitespace(column).cast(kind)


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
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{place} cannot be read as {what} ({' '.join(str(error).split())})") from None


def _reader(path: str) -> tuple[Any, bool]:
    """What reads a file, and whether it has the file format."""
    mapped = pa.memory_map(path)
    is_file = mapped.read(len(MAGIC)) == MAGIC
    mapped.seek(0)
    return (pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)), is_file

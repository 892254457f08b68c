"""Arrow files of either format, file or stream, whose record batches are mapped into memory."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from podium.data.records import Block, Records
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.files import File, fetched
from podium.data.sources.reading import Reading, faults, ranges, weight

MAGIC = b"ARROW1"
"""How the file format begins; the stream format has nothing of the kind."""


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


def _reader(path: str) -> tuple[Any, bool]:
    """What reads a file, and whether it has the file format."""
    mapped = pa.memory_map(path)
    is_file = mapped.read(len(MAGIC)) == MAGIC
    mapped.seek(0)
    return (pa.ipc.open_file(mapped) if is_file else pa.ipc.open_stream(mapped)), is_file

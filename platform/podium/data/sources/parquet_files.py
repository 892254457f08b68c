"""Parquet files, whose row groups are read as a whole."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from podium.data.records import Block, Records
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.arrow_files import arrow_blocks, write_stream
from podium.data.sources.files import File, unpacked_once
from podium.data.sources.reading import Reading, opened, ranges, weight

ROW_GROUP_BYTES = 8 * BLOCK_BYTES
"""A file with larger row groups becomes an Arrow file before."""


@dataclass(frozen=True)
class RowGroups:
    """Row groups `first` to before `last` of a Parquet file, which begin with row `row`."""

    file: File
    first: int
    last: int
    row: int
    reading: Reading

    def read(self) -> Records:
        """Their rows."""
        with opened(self.file, "Parquet") as content:
            parquet = pq.ParquetFile(content)
            table = parquet.read_row_groups(range(self.first, self.last), columns=list(self.reading.stored))
        return self.reading.records(table, self.file.path, self.row)


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; `scratch` is where it is unpacked if need be."""

    file: File
    scratch: Path

    def schema(self) -> pa.Schema:
        """Names and types of its columns."""
        with opened(self.file, "Parquet") as content:
            return pq.ParquetFile(content).schema_arrow

    def blocks(self, reading: Reading) -> list[Block]:
        """Row groups that follow each other, of about `BLOCK_BYTES`."""
        with opened(self.file, "Parquet") as content:
            parquet = pq.ParquetFile(content)
            groups = [parquet.metadata.row_group(index) for index in range(parquet.num_row_groups)]
            schema = pa.schema([field for field in parquet.schema_arrow if field.name in reading.stored])
        lengths, sizes = [group.num_rows for group in groups], [_bytes(group, schema) for group in groups]
        if max(sizes, default=0) > ROW_GROUP_BYTES:
            rows = max(1, sum(lengths) * BLOCK_BYTES // sum(sizes))
            return arrow_blocks(self._unpacked(schema, rows), self.file.path, reading)
        firsts = [0, *itertools.accumulate(lengths)]
        filled = (each for each in ranges(sizes) if firsts[each[0]] < firsts[each[1]])
        return [RowGroups(self.file, first, last, firsts[first], reading) for first, last in filled]

    def _unpacked(self, schema: pa.Schema, rows: int) -> str:
        def write(target: IO[bytes]) -> None:
            with opened(self.file, "Parquet") as content:
                write_stream(target, schema, pq.ParquetFile(content).iter_batches(rows, columns=schema.names))

        return str(unpacked_once(self.scratch / f"{self.file.key}.arrow", write))


def _bytes(group: Any, schema: pa.Schema) -> int:
    """What a row group's columns take in memory, about: at least 8 bytes a value, whatever they are encoded as."""
    columns = [group.column(index) for index in range(group.num_columns)]
    total = 0
    for field in schema:
        own = [each for each in columns if f"{each.path_in_schema}.".startswith(f"{field.name}.")]
        total += max(8 * group.num_rows, weight(field.type) * sum(each.total_uncompressed_size for each in own))
    return total

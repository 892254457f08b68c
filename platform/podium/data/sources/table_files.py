"""The files of a table: whether their columns are alike, and their blocks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from podium.data.records import Block
from podium.data.sources.arrow_files import ArrowFile
from podium.data.sources.csv_files import CsvFile, text_types
from podium.data.sources.files import File
from podium.data.sources.parquet_files import ParquetFile
from podium.data.sources.reading import Reading
from podium.data.sources.roles import Roles
from podium.errors import DataError

Given = Mapping[str, str | int]
"""What the names of a file's folders tell of all its rows, by column."""


class TableFile(Protocol):
    """A file with rows."""

    def schema(self) -> pa.Schema:
        """Names and types of its columns."""
        ...

    def blocks(self, reading: Reading) -> list[Block]:
        """Its rows in blocks of about `BLOCK_BYTES`."""
        ...


KINDS: dict[str, Callable[[File, Path], TableFile]] = {"parquet": ParquetFile, "arrow": ArrowFile, "csv": CsvFile}


def table_blocks(
    kind: str, files: Sequence[tuple[File, Given]], choose: Callable[[Sequence[str], str], Roles], scratch: Path
) -> list[Block]:
    """The rows of a table in blocks.

    Args:
        kind: `parquet`, `arrow` or `csv`.
        files: Its files, with what their folders tell.
        choose: Says of the names of the columns of a file, and its path, what they are for.
        scratch: Where files are copied and unpacked.

    Raises:
        DataError: if a file cannot be read, or is not like the first one.
    """
    tables = [KINDS[kind](file, scratch) for file, _ in files]
    types = [_types(table, file, given) for table, (file, given) in zip(tables, files, strict=True)]
    chosen = [choose(list(own), file.path) for own, (file, _) in zip(types, files, strict=True)]
    roles = chosen[0]
    for other, own, (file, _) in zip(chosen, types, files, strict=True):
        for name in (*roles.used, *other.used):
            _require_alike(name, types[0].get(name), own.get(name), files[0][0], file)
    stored = tuple(name for name in roles.used if name not in files[0][1])
    texts = text_types([table for table in tables if isinstance(table, CsvFile)], stored) if kind == "csv" else {}
    return [
        block
        for table, (_, given) in zip(tables, files, strict=True)
        for block in table.blocks(Reading(roles, stored, given, texts))
    ]


def _types(table: TableFile, file: File, given: Given) -> dict[str, str]:
    """By name the types of all columns, however they are encoded."""
    schema = table.schema()
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        raise DataError(f"{file.path} has {schema.names.count(twice[0])} columns {twice[0]!r}; rename all but one")
    told = {name: "text" if isinstance(value, str) else "numbers" for name, value in given.items()}
    return {field.name: _name(field.type) for field in schema} | told


def _name(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return str(kind).removeprefix("large_")


def _require_alike(name: str, wanted: str | None, found: str | None, first: File, file: File) -> None:
    if found != wanted:
        raise DataError(
            f"the column {name!r} is {wanted or 'absent'} in {first.path} and {found or 'absent'} in {file.path}; the "
            "files of a table have the same columns: write them anew, or name others in data.source"
        )

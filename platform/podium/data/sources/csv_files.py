"""CSV files, which become Arrow files of text, so that all of a column tells what it means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from podium.data.records import Block
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.arrow_files import arrow_blocks, batches, write_stream
from podium.data.sources.files import File, unpacked_once
from podium.data.sources.reading import Reading, meant, opened

TYPES = (pa.int64(), pa.float64(), pa.bool_(), pa.string())
"""What text may mean; the first of them that all of a column fits."""


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with a header, in UTF-8, compressed with gzip or not; `scratch` is where its texts go."""

    file: File
    scratch: Path

    def schema(self) -> pa.Schema:
        """The names of its columns, all of text."""
        with opened(self.file, "CSV") as content:
            return pa.schema([(name, pa.string()) for name in self._reader(content).schema.names])

    def blocks(self, reading: Reading) -> list[Block]:
        """Parts of the Arrow file."""
        return arrow_blocks(self.texts(reading.stored), self.file.path, reading)

    def texts(self, names: Sequence[str]) -> str:
        """The Arrow file with the texts of some columns; where there is none, one is missing."""
        options = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names,
            null_values=[""],
            strings_can_be_null=True,
        )

        def write(target: IO[bytes]) -> None:
            with opened(self.file, "CSV") as content:
                reader = self._reader(content, options)
                write_stream(target, reader.schema, reader)

        return str(unpacked_once(self.scratch / f"{self.file.key}.arrow", write))

    def _reader(self, content: pa.NativeFile, options: Any = None) -> Any:
        return pa.csv.open_csv(
            pa.CompressedInputStream(content, "gzip") if self.file.path.endswith(".gz") else content,
            pa.csv.ReadOptions(block_size=BLOCK_BYTES),
            pa.csv.ParseOptions(newlines_in_values=True),
            options,
        )


def text_types(files: Sequence[CsvFile], names: Sequence[str]) -> dict[str, pa.DataType]:
    """What the texts of some columns mean, over all files."""
    paths = [(file.texts(names), file.file.path) for file in files]
    return {name: next(kind for kind in TYPES if _fits(paths, name, kind)) for name in names}


def _fits(paths: Sequence[tuple[str, str]], name: str, kind: pa.DataType) -> bool:
    for path, place in paths:
        for batch in batches(path, place):
            try:
                meant(batch.column(name), kind)
            except pa.ArrowInvalid:
                return False
    return True

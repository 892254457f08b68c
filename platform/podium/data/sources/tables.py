"""Tables with a row a sample: Parquet, CSV and Arrow files, partitioned folders, data sets of Hugging Face's."""

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from podium.data.records import Block
from podium.data.sources.files import File, Files
from podium.data.sources.roles import Roles, choose
from podium.errors import DataError
from podium.spec.data import DataSettings, Filter, TableSource

DATASET_DICT = "dataset_dict.json"
"""What lies at the top of a data set that Hugging Face's `datasets` saved with its splits, a folder each."""

STATE = "state.json"
"""What it puts beside the files of a split: their names, among others."""

ENDINGS = {
    "parquet": (".parquet", ".pq"),
    "csv": (".csv", ".csv.gz"),
    "arrow": (".arrow", ".arrows", ".feather", ".ipc", STATE, DATASET_DICT),
}
"""By kind, which files of a folder count."""


class Tables:
    """One table in one file or many.

    Args:
        source: Where it lies, and what its columns are for.
        settings: Those of the data, whose split and steps read columns, too.
        base: The sweep file's folder.
        cache: Where this host keeps what it knows of files; None for nowhere.
    """

    def __init__(self, source: TableSource, settings: DataSettings, base: Path, cache: Path | None) -> None:
        self._source, self._key = source, settings.split.key
        columns = (step.column for step in settings.steps if isinstance(step, Filter))
        self._filtered = [column for column in columns if column != "targets"]
        self._files = Files(source.path, base, cache, ENDINGS[source.kind])

    def fingerprint(self) -> str:
        """The checksums of the files."""
        return self._files.fingerprint()

    def blocks(self, scratch: str) -> Sequence[Block]:
        """Row groups of Parquet; record batches of Arrow, and of what becomes of CSV."""
        from podium.data.sources.table_files import table_blocks

        found = table_blocks(self._source.kind, self._found(), self._roles, Path(scratch))
        if not found:
            raise DataError(f"{self._files.place} has no rows; there must be one for each sample")
        return found

    def _roles(self, names: Sequence[str], place: str) -> Roles:
        return choose(self._source, self._key, self._filtered, names, place)

    def _found(self) -> list[tuple[File, dict[str, str | int]]]:
        """The files that hold rows, each with what its folders tell."""
        files = {file.name: file for file in self._files.found()}
        tables = list(_with_rows(files))
        if not tables:
            raise DataError(f"{self._files.place} has no file with rows, only {', '.join(files)}; save it again")
        is_split = DATASET_DICT in files and "split" in (self._key, *self._filtered)
        told = [dict(_folders(file.name, is_split)) for file in tables]
        numbers = {key for key in told[0] if all(re.fullmatch(r"-?\d+", each.get(key, "")) for each in told)}
        return [
            (file, {key: int(text) if key in numbers else text for key, text in each.items()})
            for file, each in zip(tables, told, strict=True)
        ]


def _with_rows(files: dict[str, File]) -> Iterator[File]:
    """Those files that are tables; of a saved data set, those that its state names."""
    states = {name: _named(file) for name, file in files.items() if posixpath.basename(name) == STATE}
    for name, file in files.items():
        folder, own = posixpath.split(name)
        state = states.get(posixpath.join(folder, STATE))
        if not own.endswith(".json") and (state is None or own in state):
            yield file


def _named(state: File) -> set[str]:
    try:
        return {each["filename"] for each in json.loads(state.read())["_data_files"]}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{state.path} is not as Hugging Face's save_to_disk writes it; save the data again") from None


def _folders(name: str, is_split: bool) -> Iterator[tuple[str, str]]:
    """Of `year=2024/month=1/part.parquet` the year and the month; of a split's folder its name."""
    folders = name.split("/")[:-1]
    if is_split and folders:
        yield "split", folders[0]
    for folder in folders:
        key, sign, value = folder.partition("=")
        if key and sign:
            yield key, unquote(value)

"""A function of the user's as a source: records one by one, a data set to index, or a Dask collection."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from podium.data.functions import code_digest, load
from podium.data.records import Block, Records
from podium.data.sources import pieces
from podium.data.sources.arrays import BLOCK_BYTES
from podium.data.sources.files import unpacked_once
from podium.errors import DataError, TaskError, UserError

OBJECT_BYTES = 500
"""What Python needs for a record beside its numbers."""

RETURNS = "it takes no arguments and returns records, a data set with __len__ and __getitem__, or a Dask collection"


@dataclass(frozen=True)
class Piece:
    """Records in a file of the scratch folder."""

    path: str

    def read(self) -> Records:
        """Those records."""
        return pieces.load(Path(self.path))


@dataclass(frozen=True)
class Partition:
    """A partition of a Dask collection, which is computed once, and then lies in a file of the scratch folder.

    Attributes:
        path: The file.
        reference: The function that made the collection.
        compute: Gives the partition's records; a function, since Dask would compute a collection that lay here itself.
    """

    path: str
    reference: str
    compute: Callable[[], Records]

    def read(self) -> Records:
        """Its records."""

        def write(file: IO[bytes]) -> None:
            with _guarded(self.reference):
                records = self.compute()
            pieces.save(records, file)

        return pieces.load(unpacked_once(Path(self.path), write))


class Function:
    """What a function of the user's returns.

    Records, and those of a data set, are gone through once and kept in pieces, so that they need not be the same twice.

    Args:
        reference: `file.py:name`.
        base: The sweep file's folder.
    """

    def __init__(self, reference: str, base: Path) -> None:
        self._reference, self._base = reference, base

    def fingerprint(self) -> str:
        """The checksum of its code."""
        return f"code sha256 {code_digest(self._reference, self._base)}"

    def blocks(self, scratch: str) -> Sequence[Block]:
        """Pieces of about `BLOCK_BYTES`, or the partitions of a Dask collection."""
        from podium.data.sources.partitions import partitions

        folder = Path(scratch)
        done = folder / "pieces.json"
        if not done.exists():
            function = load(self._reference, self._base)
            with _guarded(self._reference):
                made = function()
            parts = partitions(made, self._reference)
            if parts is not None:
                _require_same(made, len(parts), folder, self._reference)
                paths = [str(folder / f"partition-{index:05d}.npz") for index in range(len(parts))]
                return [Partition(path, self._reference, part) for path, part in zip(paths, parts, strict=True)]
            names = self._kept(_records(made, self._reference), folder)
            unpacked_once(done, lambda file: _write(file, json.dumps(names)))
        return [Piece(str(folder / name)) for name in json.loads(done.read_text())]

    def _kept(self, records: Iterator[Any], folder: Path) -> list[str]:
        """Writes records in pieces, and gives their names; those of an earlier time, which did not end, are dropped."""
        for old in folder.glob("piece-*"):
            old.unlink()
        names: list[str] = []
        kept: list[pieces.Record] = []
        count = size = 0
        for given in records:
            kept.append(pieces.to_record(given, f"record {count} of {self._reference}"))
            count, size = count + 1, size + _bytes_of(kept[-1])
            if size >= BLOCK_BYTES:
                names.append(self._write_piece(kept, folder, len(names)))
                kept, size = [], 0
        if kept:
            names.append(self._write_piece(kept, folder, len(names)))
        if not names:
            raise DataError(f"{self._reference} gave no records")
        return names

    def _write_piece(self, kept: Sequence[pieces.Record], folder: Path, number: int) -> str:
        records = pieces.to_records(kept, self._reference)
        return unpacked_once(folder / f"piece-{number:05d}.npz", lambda file: pieces.save(records, file)).name


def _records(made: Any, reference: str) -> Iterator[Any]:
    """The records that a function gave, one after the other."""
    if isinstance(made, tuple) and len(made) == 2 and all(hasattr(each, "shape") for each in made):
        made = zip(*made, strict=True)
    if isinstance(made, Mapping | str | bytes) or not (isinstance(made, Iterable) or hasattr(made, "__getitem__")):
        raise TaskError(f"{reference} returned {type(made).__name__}; {RETURNS}")
    is_set = hasattr(made, "__len__") and hasattr(made, "__getitem__")
    with _guarded(reference):
        # a data set is indexed as far as its length, since one that does not raise IndexError would never end
        yield from (made[index] for index in range(len(made))) if is_set else made


def _bytes_of(record: pieces.Record) -> int:
    """About what a record takes in memory while it is kept with others."""
    columns = sum(len(value) * 4 if isinstance(value, str) else 8 for value in record.columns.values())
    return record.input.nbytes + record.target.nbytes + columns + OBJECT_BYTES


def _require_same(made: Any, count: int, folder: Path, reference: str) -> None:
    """Refuses to go on with another collection than the one that an interrupted preparation began with."""
    from dask.base import tokenize

    token = f"{count} {tokenize(made)}"
    begun = unpacked_once(folder / "collection.txt", lambda file: _write(file, token)).read_text()
    if begun != token:
        raise DataError(
            f"{reference} returned another collection than when the preparation began, which was interrupted; launch "
            "again, and it begins anew"
        )


def _write(file: IO[bytes], text: str) -> None:
    file.write(text.encode())


@contextmanager
def _guarded(reference: str) -> Iterator[None]:
    """Makes one error of what a function of the user's raises.

    Raises:
        TaskError: naming the function.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise TaskError(f"{reference} failed: {type(error).__name__}: {reason}; {RETURNS}") from error

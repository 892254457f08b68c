"""Tar files as WebDataset writes them: the members of a sample follow each other, and have a name in common."""

import io
import json
import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from podium.data.records import Block, Records
from podium.data.sources.files import File, Files
from podium.data.sources.images import fitting_mask
from podium.data.sources.pictures import decode
from podium.errors import DataError
from podium.spec.data import IMAGES, TarSource

BLOCK_BYTES = 8 * 2**20
"""A block is a tar of at most so many bytes, or about as many of a larger one."""


@dataclass(frozen=True)
class Sample:
    """Where the members of a sample lie in a tar.

    Attributes:
        name: What they have in common.
        members: By ending, offset and size in bytes.
    """

    name: str
    members: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class TarBlock:
    """Samples of a tar; all of them if `samples` is None."""

    file: File
    inputs: str
    targets: str
    samples: tuple[Sample, ...] | None

    def read(self) -> Records:
        """Those that have what is asked for, and can be decoded."""
        inputs, targets, tables, unreadable = [], [], [], []
        with self.file.open() as opened:
            for sample in self.samples or _index(opened, self.file.path):
                try:
                    image, target, table = self._decoded(opened, sample)
                except DataError as error:
                    unreadable.append((f"{self.file.path}: {sample.name}", str(error)))
                    continue
                inputs.append(image)
                targets.append(target)
                tables.append(table)
        shared = sorted(set.intersection(*map(set, tables))) if tables else []
        columns = {key: [table[key] for table in tables] for key in shared}
        return Records(inputs, targets, columns, unreadable)

    def _decoded(self, opened: IO[bytes], sample: Sample) -> tuple[NDArray[Any], Any, dict[str, Any]]:
        """Input, target and columns of a sample."""
        for ending in (self.inputs, self.targets):
            if ending not in sample.members:
                raise DataError(f"it has no {ending!r}; it has {', '.join(sorted(sample.members))}")
        image = _array(_cut(opened, *sample.members[self.inputs]), self.inputs)
        content, kind = _cut(opened, *sample.members[self.targets]), self.targets.rpartition(".")[2]
        target = fitting_mask(content, image) if kind in IMAGES else _ANSWERS[kind](content)
        return image, target, _scalars(_cut(opened, *sample.members["json"])) if "json" in sample.members else {}


class Tars:
    """Tar files of samples.

    Args:
        settings: The endings of what is read.
        files: The tars.
    """

    def __init__(self, settings: TarSource, files: Files) -> None:
        self._settings, self._files = settings, files

    def fingerprint(self) -> str:
        """The checksums of the tars."""
        return self._files.fingerprint()

    def blocks(self, scratch: str) -> Sequence[Block]:
        """All tars, in the order of their names; only of large ones the headers are read now."""
        endings = (self._settings.inputs, self._settings.targets)
        return [TarBlock(file, *endings, samples) for file in self._files.found() for samples in _ranges(file)]


def _ranges(file: File) -> Iterator[tuple[Sample, ...] | None]:
    """The samples of each block of a tar; None for all of them."""
    with file.open() as opened:
        if opened.seek(0, os.SEEK_END) <= BLOCK_BYTES:
            yield None
            return
        samples: list[Sample] = []
        taken = 0
        for sample in _index(opened, file.path):
            size = sum(size for _, size in sample.members.values())
            if samples and taken + size > BLOCK_BYTES:
                yield tuple(samples)
                samples, taken = [], 0
            samples.append(sample)
            taken += size
        if samples:
            yield tuple(samples)


def _index(opened: IO[bytes], path: str) -> Iterator[Sample]:
    """The samples of a tar, in order.

    Raises:
        DataError: if it is none, or not whole.
    """
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    opened.seek(0)
    try:
        with tarfile.open(fileobj=opened, mode="r:", errors="replace") as archive:
            for member in archive:
                folder, base = posixpath.split(member.name)
                name, _, ending = base.partition(".")
                if member.isreg() and not member.issparse() and name and ending:
                    place = (member.offset_data, member.size)
                    samples.setdefault(posixpath.join(folder, name), {})[ending.lower()] = place
            # tarfile stops at a header that it cannot read without a word; a whole tar stops at an empty one
            if _cut(opened, archive.offset, tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise DataError(f"{path} is not whole: it breaks off, or is damaged, at byte {archive.offset}")
    except tarfile.TarError as error:
        raise DataError(
            f"{path} cannot be read as a tar file ({error}); it must be a whole one that is not compressed"
        ) from None
    yield from (Sample(name, members) for name, members in samples.items())


def _cut(opened: IO[bytes], offset: int, size: int) -> bytes:
    opened.seek(offset)
    return opened.read(size)


def _array(content: bytes, ending: str) -> NDArray[Any]:
    """An input, channels first."""
    if ending.rpartition(".")[2] in IMAGES:
        return decode(content, grey=False)
    array = _load(content)
    if not array.ndim:
        raise DataError("its input is a single number; inputs are arrays of one dimension or more")
    return array[None] if array.ndim == 2 else array


def _load(content: bytes) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError, OverflowError, MemoryError) as error:
        raise DataError(f"its array cannot be read ({error}); save it with numpy.save, without objects") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf" or not array.size:
        raise DataError("its array holds no numbers; save integers or floats with numpy.save")
    return array


def _class(content: bytes) -> int:
    try:
        return int(content)
    except ValueError:
        raise DataError(f"its class is {content[:40]!r}; write an integer, or name it in a .txt") from None


def _name(content: bytes) -> str:
    name = content.decode("utf-8", "replace").strip()
    if not name:
        raise DataError("the name of its class is empty")
    return name


_ANSWERS: Mapping[str, Callable[[bytes], Any]] = {"cls": _class, "txt": _name, "npy": _load}


def _scalars(content: bytes) -> dict[str, Any]:
    """What a JSON object says in single texts and numbers."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"its json cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise DataError(f"its json holds a {type(found).__name__}; write an object, with a key for each column")
    return {key: value for key, value in found.items() if isinstance(value, str | int | float)}

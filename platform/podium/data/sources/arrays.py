"""Arrays: an `.npz` file, a folder of `.npy` files, or a Zarr group."""

import hashlib
import lzma
import math
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from podium.data.records import Block, Records
from podium.data.sources.files import COPIED_BYTES, File, Files, fetched, readable, unpacked_once
from podium.errors import DataError, UserError
from podium.spec.data import ArraysSource

BLOCK_BYTES = 16 * 2**20
"""Records are read in blocks of about this size."""

ZARR = ("zarr.json", ".zgroup")
"""What lies in a Zarr group."""


class Stored(Protocol):
    """An array that lies somewhere. It pickles."""

    @property
    def place(self) -> str:
        """Where."""
        ...

    def open(self) -> Any:
        """What has shape and dtype, and gives its rows as numpy's arrays where it is sliced."""
        ...


@dataclass(frozen=True)
class Npy:
    """An array in an `.npy` file."""

    path: str
    what: str

    @property
    def place(self) -> str:
        """Where."""
        return self.path

    def open(self) -> NDArray[Any]:
        """Mapped into memory."""
        try:
            array: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{self.what} cannot be read ({error}); save it with numpy, without objects") from None
        return array


@dataclass(frozen=True)
class Zarr:
    """An array of a Zarr group at a path or address."""

    place: str
    name: str

    def open(self) -> Any:
        """As it is; its chunks are read when it is sliced."""
        try:
            import zarr
        except ImportError:
            raise DataError(
                f"{self.place} is a Zarr group, and zarr is not installed; run: pip install 'podium[zarr]'"
            ) from None
        with _sound(self.place):
            group = zarr.open_group(self.place, mode="r")
            names = sorted(name for name, _ in group.arrays())
        if self.name not in names:
            raise _no_array(self.place, self.name, names)
        return group[self.name]


@dataclass(frozen=True)
class ArrayBlock:
    """Rows `first` to before `last` of two arrays."""

    inputs: Stored
    targets: Stored
    first: int
    last: int

    def read(self) -> Records:
        """Those rows."""
        rows = slice(self.first, self.last)
        with _sound(self.inputs.place):
            inputs, targets = (np.asarray(each.open()[rows]) for each in (self.inputs, self.targets))
        return Records(inputs[:, None] if inputs.ndim == 3 else inputs, targets)


class Arrays:
    """Two arrays, samples first.

    Inputs are `[N, features]`, `[N, height, width]` (one channel) or `[N, channels, ...]`. Integer targets `[N]` are
    classes, `[N, height, width]` masks of classes; float targets `[N, ...]` are numbers to predict.

    Args:
        settings: The arrays' names.
        files: What lies at the path.
    """

    def __init__(self, settings: ArraysSource, files: Files) -> None:
        self._settings, self._files = settings, files

    def fingerprint(self) -> str:
        """The checksums of the files."""
        return self._files.fingerprint()

    def blocks(self, scratch: str) -> Sequence[Block]:
        """Both arrays, in blocks of about `BLOCK_BYTES`."""
        names = (self._settings.inputs, self._settings.targets)
        inputs, targets = (self._stored(name, Path(scratch)) for name in names)
        shapes = [
            _require_numbers(each.open(), f"{self._files.place}: {name!r}")
            for each, name in zip((inputs, targets), names, strict=True)
        ]
        counts = [shape[0] for shape in shapes]
        if counts[0] != counts[1]:
            raise DataError(
                f"{self._files.place}: {names[0]!r} has {counts[0]} samples and {names[1]!r} has {counts[1]}; "
                "there must be one target for each input"
            )
        require_channels_first(shapes[0], f"{self._files.place}: {names[0]!r}")
        row_bytes = max(1, math.prod(shapes[0][1:]) * inputs.open().dtype.itemsize)
        size = max(1, BLOCK_BYTES // row_bytes)
        return [ArrayBlock(inputs, targets, first, min(first + size, counts[0])) for first in range(0, counts[0], size)]

    def _stored(self, name: str, scratch: Path) -> Stored:
        if not self._files.is_folder:
            return self._unpacked(name, self._files.found()[0], scratch)
        files = {file.name: file for file in self._files.found()}
        if any(file in files for file in ZARR):
            return Zarr(self._files.place, name)
        if f"{name}.npy" not in files:
            found = [file.removesuffix(".npy") for file in files if file.endswith(".npy")]
            raise _no_array(self._files.place, name, found)
        return Npy(str(fetched(files[f"{name}.npy"], scratch)), f"{self._files.place}: {name!r}")

    def _unpacked(self, name: str, file: File, scratch: Path) -> Npy:
        place = self._files.place
        try:
            with zipfile.ZipFile(fetched(file, scratch)) as archive:
                members = {member.removesuffix(".npy"): member for member in archive.namelist()}
                if name not in members:
                    raise _no_array(place, name, sorted(members))
                target = scratch / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npy"
                with archive.open(members[name]) as packed:
                    unpacked_once(target, lambda written: shutil.copyfileobj(packed, written, COPIED_BYTES))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError) as error:
            raise DataError(
                f"{place} cannot be read ({error}); it must be an .npz file as numpy.savez writes it, a folder of .npy "
                "files, or a Zarr group"
            ) from None
        return Npy(str(target), f"{place}: {name!r}")


@contextmanager
def _sound(place: str) -> Iterator[None]:
    """Makes one error of what a damaged array raises, which is whatever its parts stumble over."""
    try:
        with readable(place):
            yield
    except (UserError, OSError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{place} cannot be read: {type(error).__name__}: {reason}") from None


def _no_array(place: str, name: str, found: Sequence[str]) -> DataError:
    return DataError(
        f"{place} has no array {name!r}; it has {', '.join(found) or 'none'}. Name them with data.source.inputs and "
        "data.source.targets"
    )


def _require_numbers(array: Any, what: str) -> tuple[int, ...]:
    shape: tuple[int, ...] = tuple(array.shape)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {array.dtype}; only numbers can be trained on. Save it as integers or floats")
    if not shape or 0 in shape:
        raise DataError(f"{what} has the shape {shape}; there must be samples along axis 0, and numbers in each")
    return shape


def require_channels_first(shape: tuple[int, ...], what: str) -> None:
    """Refuses inputs of such a shape, samples along axis 0, if they have no features or look like channels last.

    Raises:
        DataError: naming `what`.
    """
    if len(shape) == 1:
        raise DataError(f"{what} has the shape {shape}; write one feature a sample as (N, 1): x[:, None]")
    if len(shape) == 4 and shape[1] == shape[2] > 4 and shape[3] in (1, 3, 4):
        raise DataError(
            f"{what} has the shape {shape}, which looks like channels last; channels come first: "
            "numpy.moveaxis(x, -1, 1)"
        )

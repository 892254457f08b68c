"""Samples that somebody gives to a model: arrays, images or rows of a table, checked against what it takes."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.sources.images import ENDINGS as IMAGES
from podium.data.sources.pictures import decode
from podium.errors import DataError

ARRAYS, TABLES = (".npz", ".npy"), (".csv", ".parquet")

INPUTS, LENGTHS = ("x", "inputs"), "lengths"
"""The arrays of an .npz file that hold samples if none is named, and the lengths of series."""

SAMPLES, NUMBERS = 256, 2**24
"""So many samples are given together at most, and so many numbers."""


@dataclass(frozen=True)
class Taken:
    """What a model takes.

    Attributes:
        inputs: Shape of a sample, channels first.
        dtype: Of its numbers.
        free: The axes of a sample along which it may have any size.
        takes_lengths: Whether series come with their lengths.
    """

    inputs: tuple[int, ...]
    dtype: str
    free: tuple[int, ...]
    takes_lengths: bool

    def fit(self, values: NDArray[Any], where: str) -> NDArray[Any]:
        """Samples `[N, ...]` of a file as the model takes them: with their axis of channels, of its dtype.

        Raises:
            DataError: if they have another shape, or numbers that its dtype does not have.
        """
        if values.ndim == 3 and len(self.inputs) == 3 and self.inputs[0] == 1:
            values = values[:, None]
        fits = values.ndim == len(self.inputs) + 1 and all(
            axis in self.free or side == found
            for axis, (side, found) in enumerate(zip(self.inputs, values.shape[1:], strict=True))
        )
        if not fits or 0 in values.shape:
            sides = ", ".join("any" if axis in self.free else str(side) for axis, side in enumerate(self.inputs))
            raise DataError(f"{where} has the shape {values.shape}, and the model takes [samples, {sides}]")
        if values.dtype.kind not in "biuf":
            raise DataError(f"{where} holds {values.dtype}, and the model takes numbers ({self.dtype})")
        with np.errstate(invalid="ignore", over="ignore"):
            found = values.astype(self.dtype)
        is_exact = found.dtype.kind == "f" or np.array_equal(found, values)
        if not is_exact:
            raise DataError(
                f"{where} holds {values.dtype} from {np.min(values):g} to {np.max(values):g}, and the model takes "
                f"{self.dtype}: give it raw samples, neither scaled nor normalized, which it does itself"
            )
        return found


@dataclass(frozen=True)
class Given:
    """Some samples.

    Attributes:
        names: What each is called: its file's name, or its number from 0.
        samples: `[N, ...]` as the model takes them.
        lengths: `[N]` the steps of series; None unless they were given.
        where: What to call them in an error.
    """

    names: tuple[str, ...]
    samples: NDArray[Any]
    lengths: NDArray[np.int64] | None
    where: str


def open_given(
    path: Path, taken: Taken, array: str | None = None, columns: Sequence[str] = ()
) -> tuple[int, Iterator[Given]]:
    """How many samples there are, and they, some at a time; images and arrays of an .npy file are read as they go.

    Args:
        path: An .npz or .npy file, an image, a folder with images, or a CSV or Parquet file with a column a feature.
        taken: What the model takes.
        array: The array of an .npz file; `x`, `inputs`, or the only one, if none is named.
        columns: Those of a table, in the order of training; all, if none are named.

    Raises:
        DataError: if there is nothing that can be read, from the iterator, too.
    """
    ending = path.suffix.lower()
    if path.is_dir():
        return _images(sorted(_pictures(path)), path, taken)
    if not path.exists():
        raise DataError(f"there is no {path}; give a file of arrays, a table, an image, or a folder with images")
    if ending in ARRAYS:
        return _arrays(path, taken, array)
    if ending in TABLES:
        return _rows(path, taken, columns)
    if ending in IMAGES:
        return _images([path], path.parent, taken)
    raise DataError(f"{path} ends in {ending!r}; what is read ends in {', '.join((*ARRAYS, *TABLES, *IMAGES))}")


def _arrays(path: Path, taken: Taken, array: str | None) -> tuple[int, Iterator[Given]]:
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        held = {"": loaded} if path.suffix.lower() == ".npy" else dict(loaded)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as arrays without pickle: {error}") from None
    if "" in held:
        name, where = "", str(path)
    else:
        name = _named(held, array, path)
        where = f"{path}: {name}"
    values = held[name]
    if not isinstance(values, np.ndarray) or not values.ndim:
        raise DataError(f"{where} holds no samples")
    lengths = held.get(LENGTHS) if taken.takes_lengths and name != LENGTHS else None
    if lengths is not None and lengths.shape != (len(values),):
        raise DataError(f"{path}: {LENGTHS} has the shape {lengths.shape}; it holds a number for each of {len(values)}")
    return len(values), _parts(values, lengths, taken, where)


def _named(held: dict[str, Any], array: str | None, path: Path) -> str:
    """The array with the samples."""
    others = [name for name in held if name != LENGTHS]
    likely = [name for name in INPUTS if name in held] or (others if len(others) == 1 else [])
    name = array or (likely[0] if likely else "")
    if name not in held:
        asked = f"no array {array!r}" if array else "several arrays"
        raise DataError(f"{path} has {asked}; name one of {', '.join(held) or 'none'} with --array")
    return name


def _parts(values: NDArray[Any], lengths: NDArray[Any] | None, taken: Taken, where: str) -> Iterator[Given]:
    size = max(1, min(SAMPLES, NUMBERS // max(1, values[0].size))) if len(values) else 1
    for first in range(0, max(1, len(values)), size):  # once without samples, too, so that they are refused
        rows = slice(first, first + size)
        samples = taken.fit(np.asarray(values[rows]), where)
        own = None if lengths is None else np.asarray(lengths[rows], np.int64)
        yield Given(tuple(map(str, range(first, first + len(samples)))), samples, own, where)


def _rows(path: Path, taken: Taken, columns: Sequence[str]) -> tuple[int, Iterator[Given]]:
    """A column a feature."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    read = pa.csv.read_csv if path.suffix.lower() == ".csv" else pa.parquet.read_table
    try:
        table = read(path)
        chosen = table.select(list(columns) or table.column_names)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    for name, column in zip(chosen.column_names, chosen.columns, strict=True):
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
            problem = f"{column.null_count} nulls" if column.null_count else str(column.type)
            raise DataError(f"the column {name!r} of {path} holds {problem}; name columns of numbers with --columns")
    if len(taken.inputs) != 1 or chosen.num_columns != taken.inputs[0]:
        raise DataError(
            f"{path} has {chosen.num_columns} columns ({', '.join(chosen.column_names)}), and the model takes samples "
            f"of shape {taken.inputs}; name the features in the order of training with --columns"
        )
    values = np.stack([column.to_numpy() for column in chosen.columns], axis=1)
    return len(values), _parts(values, None, taken, str(path))


def _pictures(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in IMAGES and path.is_file() and not is_hidden:
            yield path


def _images(paths: list[Path], folder: Path, taken: Taken) -> tuple[int, Iterator[Given]]:
    if not paths:
        raise DataError(f"there is no image in {folder}, with one of the endings {', '.join(IMAGES)}")
    if len(taken.inputs) != 3 or taken.inputs[0] not in (1, 3) or taken.dtype != "uint8":
        raise DataError(
            f"the model takes samples of shape {taken.inputs} ({taken.dtype}), and images have 1 or 3 channels (uint8)"
        )
    return len(paths), _decoded(paths, folder, taken)


def _decoded(paths: list[Path], folder: Path, taken: Taken) -> Iterator[Given]:
    """Images, those of one size that follow each other together."""
    names: list[str] = []
    images: list[NDArray[np.uint8]] = []
    for path in paths:
        image = _decode(path, taken)
        if images and (image.shape != images[0].shape or len(images) >= max(1, min(SAMPLES, NUMBERS // image.size))):
            yield Given(tuple(names), np.stack(images), None, names[0])
            names, images = [], []
        names.append(path.relative_to(folder).as_posix())
        images.append(image)
    yield Given(tuple(names), np.stack(images), None, names[0])


def _decode(path: Path, taken: Taken) -> NDArray[np.uint8]:
    try:
        image = decode(path.read_bytes(), grey=taken.inputs[0] == 1)
    except (OSError, DataError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    fitting: NDArray[np.uint8] = taken.fit(image[None], str(path))[0]
    return fitting

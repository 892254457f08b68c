"""Pieces: records that a function of the user's gave, as arrays in a file of the scratch folder."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from podium.data.records import Column, Records
from podium.data.sources.arrays import require_channels_first
from podium.errors import TaskError

RECORD = "a record is (input, target), or {'input': …, 'target': …} with other columns"

_MODES = ("L", "RGB", "F", "I", "I;16")
"""Pillow's modes whose numbers are brightness; all others are converted to RGB."""


@dataclass(frozen=True)
class Record:
    """One record: its input, channels first, its target, of shape `()` if it is one, and other columns."""

    input: NDArray[Any]
    target: NDArray[Any]
    columns: Mapping[str, Any]


def to_record(given: Any, what: str) -> Record:
    """A record as the user's function gave it; copied, since the function may change what it gave.

    Raises:
        TaskError: if it is none, naming it as `what`.
    """
    if isinstance(given, Mapping) and {"input", "target"} <= set(given):
        columns = {str(name): value for name, value in given.items() if name not in ("input", "target")}
        value, target = given["input"], given["target"]
    elif isinstance(given, tuple | list) and len(given) == 2:
        (value, target), columns = given, {}
    else:
        raise TaskError(f"{what} is {_shown(given)}; {RECORD}")
    image, answer = _pixels(value, f"the input of {what}"), _array(target, f"the target of {what}")
    if image.dtype.kind not in "biuf":
        raise TaskError(f"the input of {what} is {_shown(value)}; inputs are arrays of numbers, or images")
    if answer.dtype.kind not in ("biufU" if answer.ndim == 0 else "biuf"):
        raise TaskError(f"the target of {what} is {_shown(target)}; targets are numbers, names of classes, or arrays")
    return Record(image[None] if image.ndim == 2 else np.atleast_1d(image), answer, columns)


def to_records(found: Sequence[Record], reference: str) -> Records:
    """Records of the function `reference`, which are to have the same columns.

    Raises:
        TaskError: if they have not.
    """
    if not found:
        return Records(np.empty((0, 1)), np.empty(0, np.int64))
    names, answers = list(found[0].columns), [record.target for record in found]
    if any(set(record.columns) != set(names) for record in found):
        raise TaskError(f"{reference} gave records of which not all have the columns {', '.join(names) or 'none'}")
    if len({answer.dtype.kind == "U" for answer in answers}) > 1:
        raise TaskError(f"{reference} gave targets that are names of classes, and others that are numbers")
    columns = {name: _column([record.columns[name] for record in found], name, reference) for name in names}
    inputs = _joined([record.input for record in found])
    if isinstance(inputs, np.ndarray):
        require_channels_first(inputs.shape, f"the array of inputs that {reference} gave")
    return Records(inputs, _joined(answers), columns)


def save(records: Records, file: IO[bytes]) -> None:
    """Writes records as numpy's arrays."""
    arrays = {f"column {name}": np.asarray(column) for name, column in records.columns.items()}
    for what, values in (("inputs", records.inputs), ("targets", records.targets)):
        if isinstance(values, np.ndarray):
            arrays[what] = values
        else:
            arrays |= {f"{what} {row}": each for row, each in enumerate(values)}
    np.savez(file, allow_pickle=False, **arrays)


def load(path: Path) -> Records:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as found:
        names = [name for name in found.files if name.startswith("column ")]
        columns = {name.removeprefix("column "): found[name] for name in names}
        return Records(_values(found, "inputs"), _values(found, "targets"), columns)


def _values(found: Any, what: str) -> Column:
    if what in found.files:
        whole: NDArray[Any] = found[what]
        return whole
    return [found[f"{what} {row}"] for row in range(sum(name.startswith(f"{what} ") for name in found.files))]


def _pixels(value: Any, what: str) -> NDArray[Any]:
    """An input as an array; channels first, if it is an image of Pillow's."""
    if not _is_image(value):
        return _array(value, what)
    pixels = np.array(value if value.mode in _MODES else value.convert("RGB"))
    return pixels if pixels.ndim == 2 else np.ascontiguousarray(np.moveaxis(pixels, -1, 0))


def _array(value: Any, what: str) -> NDArray[Any]:
    try:
        return np.asarray(value).copy()
    except Exception as error:  # arrays of other libraries raise what they will
        raise TaskError(f"{what} cannot be an array: {' '.join(str(error).split())}") from None


def _joined(arrays: list[NDArray[Any]]) -> Column:
    """One array, if all have one shape; else a list."""
    return np.stack(arrays) if len({(array.shape, array.dtype.kind == "u") for array in arrays}) == 1 else arrays


def _column(values: list[Any], name: str, reference: str) -> NDArray[Any]:
    is_time = isinstance(values[0], datetime.date)
    try:
        column = np.array(values, dtype="datetime64[us]") if is_time else np.array(values)
    except (ValueError, TypeError):  # values of several kinds, or lists of several lengths
        column = np.array([None])
    if column.ndim != 1 or column.dtype.kind not in "biufUM":
        shown = _shown(None if any(each is None for each in values) else values[0])
        raise TaskError(f"{reference} gave {shown} in the column {name!r}; columns hold numbers, text or times")
    return column


def _is_image(value: Any) -> bool:
    """Whether it is Pillow's, which is not imported for those who have none."""
    return type(value).__module__.startswith("PIL.")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {' '.join(repr(value).split()):.60}"

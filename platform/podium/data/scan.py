"""The first reading of a source: what each block holds, so that it can be split before anything is written."""

import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.records import Block, Records
from podium.data.series import as_series
from podium.data.splits import Digests, content_digests
from podium.data.steps import Steps
from podium.errors import DataError

HASH_SIDE = 8
"""Rows of the small picture behind a perceptual hash; it has one column more."""


@dataclass(frozen=True)
class Scanned:
    """What a block holds, once its records went through the steps.

    Attributes:
        digests: `[N]` uint64, the content of each record.
        labels: `[N]` int64 classes, or texts that name them; None for numbers to predict, and for masks.
        column: `[N]`, what the split reads; None if it reads none.
        hashes: `[N]` uint64 perceptual hashes; None if they are not asked for.
        pieces: `[N]` int64, how many samples are cut from each record.
        lengths: `[N]` int64, how many steps each record has; None if they are no series.
        broken: Places, in the block, of records with numbers that are not finite: those of inputs, those of targets.
        shapes: Of a sample's input, without doubles.
        target_shapes: Of a sample's target, likewise.
        input_dtype: As stored: `uint8` or `float32`.
        target_kind: `class`, `name`, `mask` or `number`.
        range: The lowest and the highest class, in labels or masks; 0 and -1 where there are none.
        unreadable: Name and reason of each record that could not be read.
    """

    digests: Digests
    labels: NDArray[Any] | None
    column: NDArray[Any] | None
    hashes: Digests | None
    pieces: NDArray[np.int64]
    lengths: NDArray[np.int64] | None
    broken: tuple[list[int], list[int]]
    shapes: list[tuple[int, ...]]
    target_shapes: list[tuple[int, ...]]
    input_dtype: str
    target_kind: str
    range: tuple[int, int]
    unreadable: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.digests)

    def save(self, path: Path) -> None:
        """Writes it, as a whole or not at all."""
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        rest = {name: value for name, value in vars(self).items() if name not in _ARRAYS}
        draft = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        with draft.open("wb") as file:
            np.savez(file, rest=np.array(json.dumps(rest)), **arrays)
        draft.replace(path)


_ARRAYS = ("digests", "labels", "column", "hashes", "pieces", "lengths")


def load_scanned(path: Path) -> Scanned:
    """What `save` wrote."""
    with np.load(path, allow_pickle=False) as found:
        rest = json.loads(str(found["rest"]))
        for name in ("shapes", "target_shapes", "unreadable"):
            rest[name] = [tuple(each) for each in rest[name]]
        rest |= {name: tuple(rest[name]) for name in ("broken", "range")}
        return Scanned(**{name: found.get(name) for name in _ARRAYS}, **rest)


def scan(block: Block, steps: Steps, key: str | None, path: Path, *, hashes: bool, series: bool) -> None:
    """Reads a block and writes to `path` what it holds, unless that is there.

    Args:
        block: The block.
        steps: What is done to its records.
        key: The column that the split reads.
        path: Where to.
        hashes: Whether perceptual hashes are wanted.
        series: Whether the records are series.

    Raises:
        DataError: for records that cannot be samples.
    """
    if path.exists():
        return
    records = steps.records(block.read())
    inputs, targets = as_series(records.inputs) if series else stored(records.inputs), records.targets
    kind, labels, limits = _classes(targets)
    Scanned(
        digests=content_digests(inputs),
        labels=labels,
        column=_column(records, key),
        hashes=np.array([perceptual_hash(image) for image in inputs], dtype=np.uint64) if hashes else None,
        pieces=np.array([steps.num_pieces(np.shape(each)) for each in inputs], dtype=np.int64),
        broken=(_broken(inputs), _broken(stored(targets)) if kind == "number" else []),
        lengths=np.array([len(each) for each in inputs], dtype=np.int64) if series else None,
        shapes=sorted({np.shape(steps.pieces((each, None))[0][0])[1 if series else 0 :] for each in _distinct(inputs)}),
        target_shapes=sorted(
            {np.shape(steps.pieces((each, target))[0][1]) for each, target in _distinct_pairs(inputs, targets, kind)}
        ),
        input_dtype="float32" if series else _common_dtype(inputs),
        target_kind=kind,
        range=limits,
        unreadable=list(records.unreadable),
    ).save(path)


def stored(column: Any) -> Any:
    """Numbers as they are stored: bytes stay bytes, all else becomes float32."""
    if isinstance(column, np.ndarray):
        return column if column.dtype == np.uint8 else _to_float32(column)
    return [stored(np.asarray(each)) for each in column]


def perceptual_hash(image: NDArray[Any]) -> int:
    """64 bits that a picture keeps when it is scaled, brightened or compressed: which of neighbours is brighter.

    Args:
        image: `[C, height, width]`.

    Raises:
        DataError: if it is no image.
    """
    from PIL import Image

    if image.ndim != 3:
        raise DataError(f"data.split.near compares images, and a record has the shape {image.shape}; leave it out")
    grey = Image.fromarray(image.astype(np.float32).mean(axis=0))
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BILINEAR))
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def _to_float32(array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit is refused as infinite
        return array.astype(np.float32)


def _classes(targets: Any) -> tuple[str, NDArray[Any] | None, tuple[int, int]]:
    """What targets are, with their classes if each is one, and the lowest and the highest."""
    array = targets if isinstance(targets, np.ndarray) else None
    if array is None:
        try:
            array = np.asarray(targets)
        except ValueError:  # masks of several shapes
            array = np.concatenate([np.ravel(each) for each in targets])[None, None]
    if array.dtype.kind in "US" and array.ndim == 1:
        return "name", array.astype(str), (0, -1)
    if array.dtype.kind == "f":
        return "number", None, (0, -1)
    if array.dtype.kind not in "biu":
        raise DataError(f"targets hold {array.dtype}; they are integers, names or floats")
    if array.ndim == 2:
        raise DataError(
            f"targets are integers of the shape {array.shape}; classes are one integer a sample, (N,), and masks "
            "(N, height, width). For numbers to predict, save the targets as floats"
        )
    limits = (int(array.min()), int(array.max())) if array.size else (0, -1)
    return ("class", array.astype(np.int64), limits) if array.ndim == 1 else ("mask", None, limits)


def _column(records: Records, key: str | None) -> NDArray[Any] | None:
    if key is None or not len(records):
        return None
    if key not in records.columns:
        known = ", ".join(sorted(records.columns)) or "none"
        raise DataError(f"data.split reads the column {key!r}; the source's columns are: {known}")
    column = np.asarray(records.columns[key])
    if column.ndim != 1 or column.dtype.kind == "O":
        raise DataError(f"data.split reads the column {key!r}, which holds something else than texts, numbers or times")
    return column


def _broken(column: Any) -> list[int]:
    """Where numbers are not finite."""
    if isinstance(column, np.ndarray):
        if column.dtype.kind != "f":
            return []
        flat = column.reshape(len(column), math.prod(column.shape[1:]))
        return [int(row) for row in np.flatnonzero(~np.isfinite(flat).all(axis=1))]
    return [row for row, each in enumerate(column) if each.dtype.kind == "f" and not np.isfinite(each).all()]


def _distinct(inputs: Any) -> Sequence[Any]:
    """One input of each shape."""
    if isinstance(inputs, np.ndarray):
        return list(inputs[:1])
    return list({np.shape(each): each for each in inputs}.values())


def _distinct_pairs(inputs: Any, targets: Any, kind: str) -> Sequence[tuple[Any, Any]]:
    """One input with its target of each pair of shapes."""
    if isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray):
        return list(zip(inputs[:1], targets[:1], strict=True))
    if kind in ("class", "name"):
        return [(inputs[row], targets[row]) for row in range(min(1, len(inputs)))]
    shaped = [(each, np.asarray(target)) for each, target in zip(inputs, targets, strict=True)]
    return list({(np.shape(each), target.shape): (each, target) for each, target in shaped}.values())


def _common_dtype(inputs: Any) -> str:
    if isinstance(inputs, np.ndarray):
        return str(inputs.dtype)
    return "uint8" if all(each.dtype == np.uint8 for each in inputs) else "float32"

"""The layout of samples: what the blocks of a source have in common, and which of them is split how."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.scan import Scanned
from podium.data.splits import divide, settle, settle_near
from podium.errors import DataError
from podium.spec.data import DataSettings

KINDS = {
    "b": "truth values",
    "i": "integers",
    "u": "integers without a sign",
    "f": "fractions",
    "U": "texts",
    "M": "times",
}
"""What numpy's kinds of numbers are called."""

SHOWN = 5
"""Of many things that are wrong, so many are named."""


@dataclass(frozen=True)
class Layout:
    """How samples are stored.

    Attributes:
        shape: Of an input, channels first; the longest one's, (steps, features), for series.
        dtype: Of inputs: `uint8` or `float32`.
        target_shape: Of a target; `()` for one number.
        target_dtype: `int64` for classes, `uint8` for masks of them, `float32` for numbers to predict.
        names: What the source calls the classes; empty if it numbers them.
        classes: How many there are; 0 for numbers to predict.
        is_series: Whether inputs may be shorter.
        splits: The names of the splits.
    """

    shape: tuple[int, ...]
    dtype: str
    target_shape: tuple[int, ...]
    target_dtype: str
    names: tuple[str, ...]
    classes: int
    is_series: bool
    splits: tuple[str, ...]


def lay_out(scanned: Sequence[Scanned], splits: tuple[str, ...]) -> tuple[Layout, NDArray[np.int64] | None]:
    """How the samples are stored, and the class of each record if it has one.

    Raises:
        DataError: for samples that cannot be trained on together.
    """
    _require_finite(scanned)
    filled = [each for each in scanned if len(each)]
    kinds = sorted({each.target_kind for each in filled})
    if len(kinds) > 1:
        raise DataError(f"targets are of several kinds: {', '.join(kinds)}; they have to be alike")
    shape, is_series = _shape("inputs", [each.shapes for each in filled]), filled[0].lengths is not None
    if is_series:
        shape = (max(int(each.lengths.max()) for each in filled if each.lengths is not None), *shape)
    dtypes = sorted({dtype for each in filled for dtype in each.input_dtypes})
    if len(dtypes) > 1:
        raise DataError(
            f"inputs are {' and '.join(dtypes)} in different records, so that equal ones could not be found; make them "
            "alike, for which a step of yours can do"
        )
    (dtype,) = dtypes
    make = functools.partial(Layout, shape, dtype, is_series=is_series, splits=splits)
    target_shape = _shape("targets", [each.target_shapes for each in filled])
    if kinds == ["number"]:
        return make(target_shape, "float32", (), 0), None
    if kinds == ["mask"]:
        return make(target_shape, "uint8", (), _count_mask_classes(filled)), None
    labels = np.concatenate([each.labels for each in filled if each.labels is not None])
    names: tuple[str, ...] = ()
    if kinds == ["name"]:
        found, labels = np.unique(labels, return_inverse=True)
        names = tuple(found.tolist())
    return make((), "int64", names, _count_classes(labels)), labels.astype(np.int64)


def _shape(what: str, found: Sequence[Sequence[tuple[int, ...]]]) -> tuple[int, ...]:
    """The one shape of all samples; of a step, for series."""
    several = sorted({shape for shapes in found for shape in shapes})
    if len(several) > 1:
        shown = ", ".join(map(str, several[:SHOWN])) + (", …" if len(several) > SHOWN else "")
        raise DataError(
            f"{what} have {len(several)} shapes: {shown}; samples have one. For images, add a step to data.steps: "
            "{kind: resize, height: …, width: …}, or a crop; series of different lengths need data.series: true"
        )
    return several[0]


def _count_mask_classes(filled: Sequence[Scanned]) -> int:
    lowest, highest = min(each.range[0] for each in filled), max(each.range[1] for each in filled)
    if lowest < 0 or highest > 255:
        raise DataError(f"masks hold classes from {lowest} to {highest}; they are counted from 0 to at most 255")
    if highest == 0:
        raise DataError("all masks are 0 everywhere; a segmentation needs two classes or more")
    return highest + 1


def split_column(scanned: Sequence[Scanned], key: str | None) -> NDArray[Any] | None:
    """`[N]`, the column that the split reads; None if it reads none.

    Raises:
        DataError: if it holds different things in different blocks.
    """
    columns = [each.column for each in scanned if each.column is not None]
    if len(kinds := {column.dtype.kind for column in columns}) > 1:
        held = ", ".join(sorted(KINDS.get(kind, kind) for kind in kinds))
        raise DataError(f"the column {key!r} holds {held} in different parts of the source; make them alike")
    return np.concatenate(columns) if columns else None


def split(
    scanned: Sequence[Scanned],
    labels: NDArray[np.int64] | None,
    column: NDArray[Any] | None,
    settings: DataSettings,
) -> NDArray[np.int8]:
    """The split of each record, `[N]` int8, none of whose content stands in two of them.

    Args:
        scanned: What the blocks hold.
        labels: `[N]`, the classes of the records, if each has one.
        column: `[N]`, what `split_column` gives.
        settings: How to split.

    Raises:
        DataError: if they cannot be split as the settings say.
    """
    wanted = settings.split
    digests = np.concatenate([each.digests for each in scanned])
    numbers = divide(wanted, digests, labels, column)
    numbers = settle(numbers, digests, wanted.duplicates)
    hashes = [each.hashes for each in scanned if each.hashes is not None]
    if wanted.near is not None:
        numbers = settle_near(numbers, np.concatenate(hashes), wanted.near, wanted.duplicates)
    if wanted.folds is None and wanted.by != "given" and not wanted.train:
        raise DataError("data.split.train is 0; there must be samples to train on")
    for number, (name, share) in enumerate(wanted.shares.items()):
        if (share or name == "train") and not (numbers == number).any():
            raise DataError(
                f"the {name} split is empty: no sample of {len(numbers)} fell into its share of {share:g}; "
                "equal samples stay together. Give more distinct samples, or raise the share"
            )
    names = list(wanted.shares)
    for training in wanted.trainings:
        if labels is not None:
            _require_classes(labels, np.isin(numbers, [names.index(name) for name in training]))
    return numbers


def skipped(scanned: Sequence[Scanned], settings: DataSettings) -> tuple[tuple[str, str], ...]:
    """Name and reason of the records that are skipped.

    Raises:
        DataError: if there are more of them than the settings allow.
    """
    unreadable = [each for block in scanned for each in block.unreadable]
    most = settings.unreadable if isinstance(settings.unreadable, int) else 0
    if len(unreadable) > most:
        shown = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:SHOWN])
        more = f"; and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
        raise DataError(
            f"{len(unreadable)} records cannot be read, and data.unreadable allows {most}: {shown}{more}. Mend or "
            f"remove them, or write data.unreadable: {len(unreadable)} to skip as many"
        )
    return tuple(unreadable)


def _require_finite(scanned: Sequence[Scanned]) -> None:
    """Refuses NaN and infinities."""
    count, firsts = sum(map(len, scanned)), np.cumsum([0, *map(len, scanned)])
    for what, place in (("inputs", 0), ("targets", 1)):
        rows = [int(first) + row for first, each in zip(firsts, scanned, strict=False) for row in each.broken[place]]
        if rows:
            raise DataError(
                f"{what} hold NaN, or numbers beyond float32, in {len(rows)} of {count} samples, the first "
                f"of them sample {rows[0]}; remove or fill them"
            )


def _count_classes(labels: NDArray[Any]) -> int:
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(labels):
        raise DataError(
            f"labels run from {lowest} to {highest} over {len(labels)} samples; classes are counted from 0, "
            "and each needs samples. For numbers to predict, save the targets as floats"
        )
    if highest == 0:
        raise DataError("all labels are 0; a classification needs two classes or more")
    return highest + 1


def _require_classes(labels: NDArray[np.int64], trains: NDArray[np.bool_]) -> None:
    classes = int(labels.max()) + 1
    absent = np.flatnonzero(np.bincount(labels[trains], minlength=classes) == 0)
    if len(absent):
        total = np.bincount(labels, minlength=classes)[absent[0]]
        raise DataError(
            f"class {absent[0]} is missing from the train split ({total} of {len(labels)} samples have it); "
            f"number the classes 0 to {classes - 1} without gaps, give more samples of it, or "
            "raise data.split.train"
        )

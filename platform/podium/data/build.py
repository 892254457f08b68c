"""Building shards with Dask: records to digests, splits, statistics and Arrow files, a block at a time."""

# mypy: allow-untyped-calls

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pyarrow as pa
from dask import config
from dask.base import compute
from dask.callbacks import Callback
from dask.delayed import delayed
from numpy.typing import NDArray

from podium.data.manifest import Manifest, Schema, Shard, file_sha256
from podium.data.sources import Records
from podium.data.splits import SPLITS, assign, content_digests
from podium.errors import DataError
from podium.spec.sweep import DataSettings

SHARD_BYTES = 128 * 2**20
"""Samples in one shard take at most this much, unless a single one takes more."""

Progress = Callable[[str, float], None]
Rows = dict[str, NDArray[np.int64]]


def build(
    records: Records,
    settings: DataSettings,
    folder: Path,
    *,
    digest: str,
    fingerprint: str,
    progress: Progress,
) -> Manifest:
    """Writes the shards of `records` into `folder`.

    Inputs are kept as uint8 if they are, else as float32. A record is split by the bytes that are kept, its
    target aside, so that inputs which a network could not tell apart stand in one split.

    Returns:
        Their manifest, which is not written.

    Raises:
        DataError: for samples that cannot be trained on.
    """
    inputs = _as_stored(records.inputs)
    with config.set(scheduler="threads"):
        targets, classes = _targets(records.targets)
        splits = _split(inputs, settings, progress)
        _check_numbers("inputs", inputs)
        balance = _balance(targets, splits, classes)
        mean, std = _statistics(inputs, splits["train"], progress)
        shards = _write(inputs, targets, splits, folder, progress)
    return Manifest(
        digest=digest,
        fingerprint=fingerprint,
        source=_source(settings),
        split=settings.split.model_dump(),
        schema=Schema(
            inputs=inputs.shape[1:],
            input_dtype=str(inputs.dtype),
            targets=targets.shape[1:],
            target_dtype=str(targets.dtype),
            classes=classes,
            mean=mean,
            std=std,
            normalize=settings.normalize,
        ),
        rows={split: len(rows) for split, rows in splits.items()},
        classes=balance,
        shards=shards,
    )


def _source(settings: DataSettings) -> dict[str, Any]:
    if isinstance(settings.source, str):
        return {"kind": settings.source}
    source: dict[str, Any] = settings.source.model_dump()
    return source


def _as_stored(array: da.Array) -> da.Array:
    return array if array.dtype == np.uint8 else da.map_blocks(_to_float32, array, dtype=np.float32)


def _to_float32(block: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what does not fit is refused as infinite
        return block.astype(np.float32)


def _targets(targets: da.Array) -> tuple[da.Array, int]:
    """The targets as stored, and how many classes there are; 0 for regression."""
    if targets.dtype.kind == "f":
        stored = _as_stored(targets)
        _check_numbers("targets", stored)
        return stored, 0
    if targets.ndim != 1:
        raise DataError(
            f"targets are integers of the shape {targets.shape}; classes are one integer a sample, (N,). "
            "For numbers to predict, save the targets as floats"
        )
    labels = targets.compute()
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= len(labels):
        raise DataError(
            f"labels run from {lowest} to {highest} over {len(labels)} samples; classes are counted from 0, "
            "and each needs samples. For numbers to predict, save the targets as floats"
        )
    if highest == 0:
        raise DataError("all labels are 0; a classification needs two classes or more")
    return da.from_array(labels.astype(np.int64), chunks=(targets.chunks[0],)), highest + 1


def _split(inputs: da.Array, settings: DataSettings, progress: Progress) -> Rows:
    """By split the rows that belong to it, ascending."""
    shares = {split: getattr(settings.split, split) for split in SPLITS}
    blocks = da.map_blocks(
        content_digests,
        inputs,
        dtype=np.uint64,
        drop_axis=list(range(1, inputs.ndim)),
        chunks=(inputs.chunks[0],),
    )
    with _Reporting(progress, "split"):
        numbers = assign(blocks.compute(), tuple(shares.values()))
    rows = {split: np.flatnonzero(numbers == number) for number, split in enumerate(shares)}
    if not shares["train"]:
        raise DataError("data.split.train is 0; there must be samples to train on")
    for split, share in shares.items():
        if share and not len(rows[split]):
            raise DataError(
                f"the {split} split is empty: no sample of {len(inputs)} fell into its share of {share:g}; "
                "equal samples stay together. Give more distinct samples, or raise the share"
            )
    return rows


def _check_numbers(what: str, array: da.Array) -> None:
    """Refuses NaN and infinities."""
    if array.dtype.kind != "f":
        return
    broken = (~da.isfinite(array)).reshape(len(array), -1).any(axis=1).compute()
    if broken.any():
        rows = np.flatnonzero(broken)
        raise DataError(
            f"{what} hold NaN, or numbers beyond float32, in {len(rows)} of {len(array)} samples, the first "
            f"of them sample {rows[0]}; remove or fill them"
        )


def _balance(targets: da.Array, splits: Rows, classes: int) -> dict[str, tuple[int, ...]]:
    if not classes:
        return dict.fromkeys(splits, ())
    labels = targets.compute()
    counts = {split: np.bincount(labels[rows], minlength=classes) for split, rows in splits.items()}
    absent = np.flatnonzero(counts["train"] == 0)
    if len(absent):
        total = np.bincount(labels, minlength=classes)[absent[0]]
        raise DataError(
            f"class {absent[0]} is missing from the train split ({total} of {len(labels)} samples have it); "
            f"number the classes 0 to {classes - 1} without gaps, give more samples of it, or "
            "raise data.split.train"
        )
    return {split: tuple(count.tolist()) for split, count in counts.items()}


def _statistics(
    inputs: da.Array, rows: NDArray[np.int64], progress: Progress
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel or feature over `rows`, in float64."""
    train = inputs[rows].astype(np.float64)
    axes = tuple(axis for axis in range(train.ndim) if axis != 1)
    with _Reporting(progress, "statistics"):
        mean, std = compute(train.mean(axis=axes), train.std(axis=axes))
    return tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist())


def _write(inputs: da.Array, targets: da.Array, splits: Rows, folder: Path, progress: Progress) -> tuple[Shard, ...]:
    row_bytes = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in (inputs, targets))
    limit = max(1, SHARD_BYTES // row_bytes)
    tasks = []
    for split, rows in splits.items():
        for number, first in enumerate(range(0, len(rows), limit)):
            part = rows[first : first + limit]
            path = folder / f"{split}-{number:05d}.arrow"
            tasks.append(delayed(_write_shard)(path, split, inputs[part], targets[part]))
    with _Reporting(progress, "write"):
        return tuple(compute(*tasks))


def _write_shard(path: Path, split: str, inputs: NDArray[Any], targets: NDArray[Any]) -> Shard:
    """One record batch, not compressed, so that it can be mapped into memory as it is."""
    batch = pa.RecordBatch.from_pydict({"inputs": _column(inputs), "targets": _column(targets)})
    with path.open("wb") as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return Shard(path.name, split, len(inputs), path.stat().st_size, file_sha256(path))


def _column(array: NDArray[Any]) -> pa.Array:
    """Numbers as they are; tensors as lists of fixed size that know their shape."""
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))


class _Reporting(Callback):
    """Tells `progress` after each of Dask's tasks."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage = progress, stage
        super().__init__(posttask=self._after)

    def _after(self, key: Any, result: Any, dsk: Any, state: Any, worker_id: Any) -> None:
        done = len(state["finished"])
        left = sum(len(state[name]) for name in ("ready", "waiting", "running"))
        self._progress(self._stage, done / (done + left))

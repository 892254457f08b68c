"""Building shards with Dask: a first reading of all blocks, their split, and a second one that writes.

No task holds more than a shard and a block. What a task has done stays in the work folder, so that a build that was
interrupted goes on where it was.
"""

# mypy: allow-untyped-calls

import hashlib
import json
import math
import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from dask.base import compute
from dask.delayed import delayed
from numpy.typing import NDArray

from podium.data.manifest import Schema, Shard
from podium.data.order import choose_shuffle
from podium.data.records import Block
from podium.data.scan import Scanned, load_scanned, scan, stored
from podium.data.splits import LEFT_OUT, SPLITS, divide, settle, settle_near
from podium.data.steps import Steps
from podium.errors import DataError, UserError
from podium.spec.data import DataSettings

SHARD_BYTES = 128 * 2**20
"""Samples that are written together take at most this much, unless a single record takes more."""

SUMMED_BYTES = 2**20
"""Statistics are reckoned over parts of about this size."""

LOOK_EVERY_S = 0.2
"""How often it is looked how much is done."""

Progress = Callable[[str, float], None]
Get = Callable[..., Any]
"""What carries out a Dask graph."""

SHOWN = 5


@dataclass(frozen=True)
class Part:
    """What a task writes of one block: records `first` to before `last`, with their splits and labels."""

    block: Block
    rows: int
    first: int
    numbers: NDArray[np.int8]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each channel, in float64."""

    count: int
    mean: list[float]
    squares: list[float]

    def joined(self, other: "Moments") -> "Moments":
        """Those of both. Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm", 1979."""
        if not self.count or not other.count:
            return self if self.count else other
        count = self.count + other.count
        (mean, squares), (others, more) = ((np.array(each.mean), np.array(each.squares)) for each in (self, other))
        delta = others - mean
        joined = squares + more + delta**2 * (self.count * other.count / count)
        return Moments(count, (mean + delta * (other.count / count)).tolist(), joined.tolist())


@dataclass(frozen=True)
class Written:
    """What a task has written: shards, the train split's moments, and by split the samples of each class."""

    shards: tuple[Shard, ...]
    moments: Moments
    classes: dict[str, list[int]]


@dataclass(frozen=True)
class Layout:
    """How samples are stored."""

    shape: tuple[int, ...]
    dtype: str
    target_shape: tuple[int, ...]
    target_dtype: str
    names: tuple[str, ...]
    classes: int


def build(
    blocks: Sequence[Block],
    steps: Steps,
    settings: DataSettings,
    folder: Path,
    work: Path,
    *,
    get: Get | None,
    progress: Progress,
) -> dict[str, Any]:
    """Writes the shards of a source into `folder`.

    Inputs are kept as uint8 if they are, else as float32. A record is split by the bytes that are kept, its
    target aside, so that inputs which a network could not tell apart stand in one split.

    Args:
        blocks: The source.
        steps: What is done to its records.
        settings: How they are split.
        folder: Where the shards go.
        work: What stays if this is interrupted.
        get: What carries out Dask's graphs; Dask's threads if None.
        progress: Told how it goes.

    Returns:
        What their manifest says of them.

    Raises:
        DataError: for samples that cannot be trained on.
    """
    scanned = _scan(blocks, steps, settings, work, get, progress)
    skipped = _check_readable(scanned, settings)
    if not any(map(len, scanned)):
        raise DataError("the source has no records, or the steps have left none")
    _check_finite(scanned)
    layout, labels = _lay_out(scanned)
    numbers = _split(scanned, labels, settings)
    parts = _parts(blocks, scanned, numbers, labels, layout)
    tasks = [delayed(_write)(part, steps, layout, work, f"{index:05d}", pure=False) for index, part in enumerate(parts)]
    _run(tasks, work, "write", get, progress)
    written = [_load_written(work / f"write-{index:05d}.json") for index in range(len(parts))]
    mean, std = _statistics([each.moments for each in written])
    shards = tuple(shard for split in SPLITS for each in written for shard in each.shards if shard.split == split)
    for shard in shards:
        (work / shard.name).rename(folder / shard.name)
    rows = {split: sum(shard.rows for shard in shards if shard.split == split) for split in SPLITS}
    balance = {
        split: tuple(np.sum([each.classes[split] for each in written], axis=0).tolist()) if layout.classes else ()
        for split in SPLITS
    }
    return {
        "schema": Schema(
            inputs=layout.shape,
            input_dtype=layout.dtype,
            targets=layout.target_shape,
            target_dtype=layout.target_dtype,
            classes=layout.classes,
            mean=mean,
            std=std,
            normalize=settings.normalize,
            class_names=layout.names,
        ),
        "rows": rows,
        "classes": balance,
        "shards": shards,
        "shuffle": choose_shuffle(rows["train"], sum(shard.bytes for shard in shards if shard.split == "train")),
        "records": sum(map(len, scanned)),
        "left_out": int((numbers == LEFT_OUT).sum()),
        "skipped": skipped,
    }


def _scan(
    blocks: Sequence[Block], steps: Steps, settings: DataSettings, work: Path, get: Get | None, progress: Progress
) -> list[Scanned]:
    hashes = settings.split.near is not None
    paths = [work / f"scan-{index:05d}.npz" for index in range(len(blocks))]
    tasks = [
        delayed(scan)(block, steps, settings.split.key, path, hashes=hashes, pure=False)
        for block, path in zip(blocks, paths, strict=True)
    ]
    _run(tasks, work, "scan", get, progress)
    return [load_scanned(path) for path in paths]


def _run(tasks: Sequence[Any], work: Path, stage: str, get: Get | None, progress: Progress) -> None:
    """Has tasks carried out, each of which leaves a file whose name begins with the stage's."""
    try:
        with _watched(work, stage, len(tasks), progress):
            compute(*tasks, scheduler="threads" if get is None else get)
    except UserError as error:
        cause = getattr(error, "cause", None)  # Ray wraps it in an error that tells of its own tasks
        raise cause if isinstance(cause, UserError) else error from None


@contextmanager
def _watched(work: Path, stage: str, count: int, progress: Progress) -> Iterator[None]:
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            done = [path for path in work.glob(f"{stage}-*") if path.suffix in (".npz", ".json")]
            progress(stage, min(len(done) / count, 0.99))

    watcher = threading.Thread(target=look, name=f"progress of {stage}", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    progress(stage, 1.0)


def _check_readable(scanned: Sequence[Scanned], settings: DataSettings) -> tuple[tuple[str, str], ...]:
    """The records that are skipped.

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


def _check_finite(scanned: Sequence[Scanned]) -> None:
    """Refuses NaN and infinities."""
    count, firsts = sum(map(len, scanned)), np.cumsum([0, *map(len, scanned)])
    for what, place in (("inputs", 0), ("targets", 1)):
        rows = [int(first) + row for first, each in zip(firsts, scanned, strict=False) for row in each.broken[place]]
        if rows:
            raise DataError(
                f"{what} hold NaN, or numbers beyond float32, in {len(rows)} of {count} samples, the first "
                f"of them sample {rows[0]}; remove or fill them"
            )


def _lay_out(scanned: Sequence[Scanned]) -> tuple[Layout, NDArray[np.int64] | None]:
    """How the samples are stored, and the class of each record if it has one."""
    filled = [each for each in scanned if len(each)]
    shapes = sorted({shape for each in filled for shape in each.shapes})
    targets = sorted({shape for each in filled for shape in each.target_shapes})
    for what, several in (("inputs", shapes), ("targets", targets)):
        if len(several) > 1:
            shown = ", ".join(map(str, several[:SHOWN])) + (", …" if len(several) > SHOWN else "")
            raise DataError(
                f"{what} have {len(several)} shapes: {shown}; samples have one. Add a step to data.steps: "
                "{kind: resize, height: …, width: …}, or a crop"
            )
    kinds = sorted({each.target_kind for each in filled})
    if len(kinds) > 1:
        raise DataError(f"targets are of several kinds: {', '.join(kinds)}; they have to be alike")
    dtype = "uint8" if all(each.input_dtype == "uint8" for each in filled) else "float32"
    if kinds == ["number"]:
        return Layout(shapes[0], dtype, targets[0], "float32", (), 0), None
    if kinds == ["mask"]:
        lowest, highest = min(each.range[0] for each in filled), max(each.range[1] for each in filled)
        if lowest < 0 or highest > 255:
            raise DataError(f"masks hold classes from {lowest} to {highest}; they are counted from 0 to at most 255")
        if highest == 0:
            raise DataError("all masks are 0 everywhere; a segmentation needs two classes or more")
        return Layout(shapes[0], dtype, targets[0], "uint8", (), highest + 1), None
    labels = np.concatenate([each.labels for each in filled if each.labels is not None])
    names: tuple[str, ...] = ()
    if kinds == ["name"]:
        found, labels = np.unique(labels, return_inverse=True)
        names = tuple(found.tolist())
    return Layout(shapes[0], dtype, (), "int64", names, _count_classes(labels)), labels.astype(np.int64)


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


def _split(scanned: Sequence[Scanned], labels: NDArray[np.int64] | None, settings: DataSettings) -> NDArray[np.int8]:
    """The split of each record, none of whose content stands in two of them."""
    split = settings.split
    digests = np.concatenate([each.digests for each in scanned])
    columns = [each.column for each in scanned if each.column is not None]
    numbers = divide(split, digests, labels, np.concatenate(columns) if columns else None)
    numbers = settle(numbers, digests, split.duplicates)
    hashes = [each.hashes for each in scanned if each.hashes is not None]
    if split.near is not None:
        numbers = settle_near(numbers, np.concatenate(hashes), split.near, split.duplicates)
    if split.by != "given" and not split.train:
        raise DataError("data.split.train is 0; there must be samples to train on")
    for number, name in enumerate(SPLITS):
        share = getattr(split, name)
        if (share or name == "train") and not (numbers == number).any():
            raise DataError(
                f"the {name} split is empty: no sample of {len(numbers)} fell into its share of {share:g}; "
                "equal samples stay together. Give more distinct samples, or raise the share"
            )
    if labels is not None:
        _check_classes(labels, numbers)
    return numbers


def _check_classes(labels: NDArray[np.int64], numbers: NDArray[np.int8]) -> None:
    classes = int(labels.max()) + 1
    absent = np.flatnonzero(np.bincount(labels[numbers == 0], minlength=classes) == 0)
    if len(absent):
        total = np.bincount(labels, minlength=classes)[absent[0]]
        raise DataError(
            f"class {absent[0]} is missing from the train split ({total} of {len(labels)} samples have it); "
            f"number the classes 0 to {classes - 1} without gaps, give more samples of it, or "
            "raise data.split.train"
        )


def _parts(
    blocks: Sequence[Block],
    scanned: Sequence[Scanned],
    numbers: NDArray[np.int8],
    labels: NDArray[np.int64] | None,
    layout: Layout,
) -> list[list[Part]]:
    """What each task writes: records that follow each other, as many as make up a shard."""
    row_bytes = math.prod(layout.shape) * np.dtype(layout.dtype).itemsize
    row_bytes += math.prod(layout.target_shape) * np.dtype(layout.target_dtype).itemsize
    most = max(1, SHARD_BYTES // row_bytes)
    tasks: list[list[Part]] = [[]]
    begin = taken = 0
    for block, each in zip(blocks, scanned, strict=True):
        first = 0
        while first < len(each):
            fits = np.cumsum(each.pieces[first:]) <= most - taken
            count = int(fits.sum())
            if not count and taken:
                tasks.append([])
                taken = 0
                continue
            count = max(count, 1)
            own = slice(begin + first, begin + first + count)
            part = Part(block, len(each), first, numbers[own], None if labels is None else labels[own])
            tasks[-1].append(part)
            taken += int(each.pieces[first : first + count].sum())
            first += count
        begin += len(each)
    return [task for task in tasks if task]


def _write(parts: Sequence[Part], steps: Steps, layout: Layout, work: Path, number: str) -> None:
    """Writes a shard for each split that has samples among the records of some parts, unless that is done."""
    done = work / f"write-{number}.json"
    if done.exists():
        return
    samples: dict[str, tuple[list[NDArray[Any]], list[NDArray[Any]]]] = {split: ([], []) for split in SPLITS}
    moments = Moments(0, [], [])
    for part in parts:
        for split, inputs, targets in _samples(part, steps, layout):
            samples[split][0].append(inputs)
            samples[split][1].append(targets)
            if split == "train":
                moments = moments.joined(_moments(inputs))
    shards, classes = [], {}
    for split in SPLITS:
        parts_of_inputs, parts_of_targets = samples.pop(split)
        answers = np.concatenate([np.empty((0, *layout.target_shape), layout.target_dtype), *parts_of_targets])
        classes[split] = _balance(answers, layout)
        if len(answers):
            shards.append(_write_shard(work / f"{split}-{number}.arrow", split, parts_of_inputs, answers))
    written = Written(tuple(shards), moments, classes)
    draft = done.with_name(f".{done.name}-{uuid.uuid4().hex}")
    draft.write_text(json.dumps(asdict(written)))
    draft.replace(done)


def _load_written(path: Path) -> Written:
    found = json.loads(path.read_text())
    return Written(tuple(Shard(**shard) for shard in found["shards"]), Moments(**found["moments"]), found["classes"])


def _samples(part: Part, steps: Steps, layout: Layout) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """By split the samples of a part, as they are stored."""
    records = steps.records(part.block.read())
    if len(records) != part.rows:
        raise DataError(
            f"the source has changed while it was read: a block had {part.rows} records, and has {len(records)} now; "
            "launch again when nobody writes to it"
        )
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero(part.numbers == number)
        if not len(rows):
            continue
        chosen = records.at(rows + part.first)
        targets: Any = chosen.targets if part.labels is None else part.labels[rows]
        if _is_whole(chosen.inputs, targets, steps, layout):
            inputs = np.asarray(chosen.inputs).astype(layout.dtype, copy=False)
        else:
            pieces = [piece for record in zip(chosen.inputs, targets, strict=True) for piece in steps.pieces(record)]
            inputs = np.stack([stored(np.asarray(each[0])).astype(layout.dtype, copy=False) for each in pieces])
            targets = np.stack([np.asarray(each[1]) for each in pieces])
        yield split, inputs, targets.astype(layout.target_dtype, copy=False)


def _is_whole(inputs: Any, targets: Any, steps: Steps, layout: Layout) -> bool:
    """Whether records are samples as they are, in arrays."""
    are_arrays = isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray)
    return are_arrays and inputs.shape[1:] == layout.shape and steps.num_pieces(layout.shape) == 1


def _moments(inputs: NDArray[Any]) -> Moments:
    """Over each channel, or each feature."""
    moments = Moments(0, [], [])
    size = max(1, SUMMED_BYTES // max(1, inputs[:1].nbytes))
    axes = tuple(axis for axis in range(inputs.ndim) if axis != 1)
    for first in range(0, len(inputs), size):
        wide = inputs[first : first + size].astype(np.float64)
        mean = wide.mean(axis=axes, keepdims=True)
        squares = np.square(wide - mean).sum(axis=axes)
        count = wide.size // wide.shape[1]
        moments = moments.joined(Moments(count, mean.ravel().tolist(), squares.tolist()))
    return moments


def _statistics(moments: Sequence[Moments]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel or feature, in float64."""
    joined = Moments(0, [], [])
    for each in moments:
        joined = joined.joined(each)
    std = np.sqrt(np.array(joined.squares) / joined.count)
    return tuple(joined.mean), tuple(np.where(std > 0, std, 1.0).tolist())


def _balance(targets: NDArray[Any], layout: Layout) -> list[int]:
    if not layout.classes:
        return []
    counts: list[int] = np.bincount(targets.ravel(), minlength=layout.classes).tolist()
    return counts


def _write_shard(path: Path, split: str, inputs: list[NDArray[Any]], targets: NDArray[Any]) -> Shard:
    """One record batch, not compressed, so that it can be mapped into memory as it is; the inputs are used up."""
    whole = np.empty((len(targets), *inputs[0].shape[1:]), inputs[0].dtype)
    first = 0
    while inputs:
        part = inputs.pop(0)
        whole[first : first + len(part)] = part
        first += len(part)
    batch = pa.RecordBatch.from_pydict({"inputs": _column(whole), "targets": _column(targets)})
    with path.open("wb") as file:
        hashing = _Hashing(file)
        with pa.ipc.new_file(pa.PythonFile(hashing, mode="w"), batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        os.fsync(file.fileno())
    return Shard(path.name, split, len(targets), path.stat().st_size, hashing.sum.hexdigest())


class _Hashing:
    """A file that takes the checksum of what is written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.sum = file, hashlib.sha256()

    def write(self, content: Any) -> int:
        self.sum.update(content)
        return self._file.write(content)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self.closed = True


def _column(array: NDArray[Any]) -> pa.Array:
    """Numbers as they are; tensors as lists of fixed size that know their shape."""
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(array))

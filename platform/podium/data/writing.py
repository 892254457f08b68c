"""The second reading of a source: one task, which writes the samples of some records into shards."""

# mypy: allow-untyped-calls

import hashlib
import itertools
import json
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from podium.data.layout import Layout
from podium.data.manifest import Shard
from podium.data.moments import Moments, moments_of
from podium.data.records import Block
from podium.data.scan import Scanned, stored
from podium.data.series import Series, as_series, joined
from podium.data.splits import group_names
from podium.data.steps import Steps
from podium.errors import DataError

Inputs = NDArray[Any] | Series


@dataclass(frozen=True)
class Assigned:
    """What has been found out about some records.

    Attributes:
        numbers: `[n]` int8, their splits.
        labels: `[n]` int64, their classes; None if they have none.
        groups: `[n]`, the column that names their groups; None if they are not split by group.
    """

    numbers: NDArray[np.int8]
    labels: NDArray[np.int64] | None
    groups: NDArray[Any] | None

    def cut(self, rows: slice) -> "Assigned":
        """That of some of them."""
        return Assigned(
            self.numbers[rows],
            None if self.labels is None else self.labels[rows],
            None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True)
class Part:
    """What a task writes of one block: some records that follow each other.

    Attributes:
        block: The block.
        rows: How many records it has in all.
        first: Where in it these begin.
        records: What is known of them.
    """

    block: Block
    rows: int
    first: int
    records: Assigned


@dataclass
class _Samples:
    """The samples of a split, of one part after the other; `groups` stays empty where they have none."""

    inputs: list[Inputs] = field(default_factory=list)
    targets: list[NDArray[Any]] = field(default_factory=list)
    groups: list[NDArray[Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """What a task has written: shards, and by split the moments of what is trained on and the samples of each class."""

    shards: tuple[Shard, ...]
    moments: dict[str, Moments]
    classes: dict[str, list[int]]


def divide_up(
    blocks: Sequence[Block],
    scanned: Sequence[Scanned],
    records: Assigned,
    layout: Layout,
    most_bytes: int,
) -> list[list[Part]]:
    """What each task writes: records that follow each other, as many as fill a shard."""
    tasks: list[list[Part]] = [[]]
    begin = taken = 0
    for block, each in zip(blocks, scanned, strict=True):
        first, sizes = 0, _bytes_of(each, layout)
        while first < len(each):
            count = int((np.cumsum(sizes[first:]) <= most_bytes - taken).sum())
            if not count and taken:
                tasks.append([])
                taken = 0
                continue
            count = max(count, 1)
            own = slice(begin + first, begin + first + count)
            tasks[-1].append(Part(block, len(each), first, records.cut(own)))
            taken += int(sizes[first : first + count].sum())
            first += count
        begin += len(each)
    return [task for task in tasks if task]


def _bytes_of(scanned: Scanned, layout: Layout) -> NDArray[np.int64]:
    """What the samples of each record take once they are stored."""
    input_bytes = math.prod(layout.shape) * np.dtype(layout.dtype).itemsize
    target_bytes = math.prod(layout.target_shape) * np.dtype(layout.target_dtype).itemsize
    if scanned.lengths is not None:
        sizes: NDArray[np.int64] = scanned.lengths * (input_bytes // layout.shape[0]) + target_bytes
        return sizes
    return scanned.pieces * (input_bytes + target_bytes)


def write(parts: Sequence[Part], steps: Steps, layout: Layout, work: Path, number: str) -> None:
    """Writes a shard for each split that has samples among the records of some parts, unless that is done."""
    done = work / f"write-{number}.json"
    if done.exists() and all((work / shard.name).exists() for shard in load_written(done).shards):
        return
    samples = {split: _Samples() for split in layout.splits}
    moments = {split: Moments(0, [], []) for split in layout.splits if split not in ("validation", "test")}
    for part in parts:
        for split, inputs, targets, groups in _samples(part, steps, layout):
            samples[split].inputs.append(inputs)
            samples[split].targets.append(targets)
            if groups is not None:
                samples[split].groups.append(groups)
            if split in moments:
                found = moments_of(inputs.values if isinstance(inputs, Series) else inputs)
                moments[split] = moments[split].joined(found)
    shards, classes = [], {}
    for split in layout.splits:
        own = samples.pop(split)
        answers = np.concatenate([np.empty((0, *layout.target_shape), layout.target_dtype), *own.targets])
        classes[split] = _balance(answers, layout)
        if len(answers):
            shards.append(write_shard(work / f"{split}-{number}.arrow", split, own.inputs, answers, own.groups))
    written = Written(tuple(shards), moments, classes)
    draft = done.with_name(f".{done.name}-{uuid.uuid4().hex}")
    draft.write_text(json.dumps(asdict(written)))
    draft.replace(done)


def load_written(path: Path) -> Written:
    """What `write` has noted."""
    found = json.loads(path.read_text())
    moments = {split: Moments(**each) for split, each in found["moments"].items()}
    return Written(tuple(Shard(**shard) for shard in found["shards"]), moments, found["classes"])


def _samples(
    part: Part, steps: Steps, layout: Layout
) -> Iterator[tuple[str, Inputs, NDArray[Any], NDArray[Any] | None]]:
    """By split the samples of a part, as they are stored, and the column of their groups if they have any."""
    known, records = part.records, steps.records(part.block.read())
    if len(records) != part.rows:
        raise DataError(
            f"the source has changed while it was read: a block had {part.rows} records, and has {len(records)} now; "
            "launch again when nobody writes to it"
        )
    for number, split in enumerate(layout.splits):
        rows = np.flatnonzero(known.numbers == number)
        if not len(rows):
            continue
        chosen = records.at(rows + part.first)
        targets: Any = chosen.targets if known.labels is None else known.labels[rows]
        groups = None if known.groups is None else known.groups[rows]
        if layout.is_series:
            targets = np.asarray(targets).astype(layout.target_dtype, copy=False)
            yield split, joined(as_series(chosen.inputs)), targets, groups
            continue
        if _is_whole(chosen.inputs, targets, steps, layout):
            inputs = np.asarray(chosen.inputs).astype(layout.dtype, copy=False)
        else:
            cut = [steps.pieces(record) for record in zip(chosen.inputs, targets, strict=True)]
            groups = None if groups is None else np.repeat(groups, [len(own) for own in cut])
            pieces = list(itertools.chain.from_iterable(cut))
            inputs = np.stack([stored(np.asarray(each[0])).astype(layout.dtype, copy=False) for each in pieces])
            targets = np.stack([np.asarray(each[1]) for each in pieces])
        yield split, inputs, targets.astype(layout.target_dtype, copy=False), groups


def _is_whole(inputs: Any, targets: Any, steps: Steps, layout: Layout) -> bool:
    """Whether records are samples as they are, in arrays."""
    are_arrays = isinstance(inputs, np.ndarray) and isinstance(targets, np.ndarray)
    return are_arrays and inputs.shape[1:] == layout.shape and steps.num_pieces(layout.shape) == 1


def _balance(targets: NDArray[Any], layout: Layout) -> list[int]:
    if not layout.classes:
        return []
    counts: list[int] = np.bincount(targets.ravel(), minlength=layout.classes).tolist()
    return counts


def write_shard(
    path: Path, split: str, inputs: list[Inputs], targets: NDArray[Any], groups: Sequence[NDArray[Any]] = ()
) -> Shard:
    """One record batch, not compressed, so that it can be mapped into memory as it is.

    Args:
        path: Where to.
        split: Whose samples they are.
        inputs: Arrays `[n, ...]`, or series, one after the other; the list is used up, to hold nothing twice.
        targets: `[N, ...]`.
        groups: The column that names the groups of all samples, in parts; none if they have none.
    """
    columns = {"inputs": _column(_used_up(inputs)), "targets": _column(targets)}
    if groups:
        found, which = np.unique(np.concatenate(groups), return_inverse=True)
        columns["group"] = pa.DictionaryArray.from_arrays(pa.array(which, pa.int32()), pa.array(group_names(found)))
    batch = pa.RecordBatch.from_pydict(columns)
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


def _used_up(inputs: list[Inputs]) -> Inputs:
    """All of a list as one, which leaves it empty."""
    if isinstance(inputs[0], Series):
        whole = joined([each for part in inputs for each in part])
        inputs.clear()
        return whole
    size = sum(map(len, inputs))
    first, array = 0, np.empty((size, *inputs[0].shape[1:]), inputs[0].dtype)
    while inputs:
        part = inputs.pop(0)
        array[first : first + len(part)] = part
        first += len(part)
    return array


def _column(column: Inputs) -> pa.Array:
    """Numbers as they are; tensors as lists of fixed size that know their shape; series as lists of their steps."""
    if isinstance(column, Series):
        return pa.LargeListArray.from_arrays(column.ends, _column(column.values))
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(column))

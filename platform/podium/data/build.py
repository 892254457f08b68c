"""Building shards with Dask: a first reading of all blocks, their split, and a second one that writes.

No task holds more than a shard and a block. What a task has done stays in the work folder, so that a build that was
interrupted goes on where it was.
"""

# mypy: allow-untyped-calls

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from dask.base import compute
from dask.delayed import delayed

from podium.data.layout import lay_out, skipped, split, split_column
from podium.data.manifest import Schema
from podium.data.moments import statistics
from podium.data.order import choose_shuffle
from podium.data.records import Block
from podium.data.scan import Scanned, load_scanned, scan
from podium.data.splits import LEFT_OUT
from podium.data.steps import Steps
from podium.data.writing import Assigned, divide_up, load_written, write
from podium.errors import DataError, UserError
from podium.spec.data import DataSettings

SHARD_BYTES = 128 * 2**20
"""Samples that are written together take at most this much, unless a single record takes more."""

LOOK_EVERY_S = 0.2
"""How often it is looked how much is done."""

Progress = Callable[[str, float], None]
Get = Callable[..., Any]
"""What carries out a Dask graph."""


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
    unreadable = skipped(scanned, settings)
    if not any(map(len, scanned)):
        raise DataError("the source has no records, or the steps have left none")
    layout, labels = lay_out(scanned, tuple(settings.split.shares))
    column = split_column(scanned, settings.split.key)
    numbers = split(scanned, labels, column, settings)
    records = Assigned(numbers, labels, column if settings.split.by == "group" else None)
    parts = divide_up(blocks, scanned, records, layout, SHARD_BYTES)
    tasks = [delayed(write)(part, steps, layout, work, f"{index:05d}", pure=False) for index, part in enumerate(parts)]
    _run(tasks, work, "write", get, progress)
    written = [load_written(work / f"write-{index:05d}.json") for index in range(len(parts))]
    trainings = [
        statistics([each.moments[name] for each in written for name in names]) for names in settings.split.trainings
    ]
    (mean, std), train = trainings[0], settings.split.trainings[0]
    written_shards = [shard for each in written for shard in each.shards]
    shards = tuple(shard for split in layout.splits for shard in written_shards if shard.split == split)
    for shard in shards:
        (work / shard.name).rename(folder / shard.name)
    rows = {split: sum(shard.rows for shard in shards if shard.split == split) for split in layout.splits}
    balance = {
        split: tuple(np.sum([each.classes[split] for each in written], axis=0).tolist()) if layout.classes else ()
        for split in layout.splits
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
            series=layout.is_series,
        ),
        "rows": rows,
        "classes": balance,
        "shards": shards,
        "shuffle": choose_shuffle(
            sum(rows[split] for split in train), sum(shard.bytes for shard in shards if shard.split in train)
        ),
        "records": sum(map(len, scanned)),
        "folds": tuple(trainings) if settings.split.folds else (),
        "left_out": int((numbers == LEFT_OUT).sum()),
        "skipped": unreadable,
    }


def _scan(
    blocks: Sequence[Block], steps: Steps, settings: DataSettings, work: Path, get: Get | None, progress: Progress
) -> list[Scanned]:
    hashes = settings.split.near is not None
    paths = [work / f"scan-{index:05d}.npz" for index in range(len(blocks))]
    tasks = [
        delayed(scan)(block, steps, settings.split.key, path, hashes=hashes, series=settings.series, pure=False)
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

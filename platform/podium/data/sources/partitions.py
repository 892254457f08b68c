"""Partitions of the Dask collections that a function of the user's may return."""

# mypy: allow-untyped-calls

import functools
import math
from collections.abc import Callable
from typing import Any

import dask.array as da
from dask.bag.core import Bag
from dask.base import compute, is_dask_collection

from podium.data.records import Records
from podium.data.sources.arrays import require_channels_first
from podium.data.sources.pieces import to_record, to_records
from podium.data.sources.roles import Roles
from podium.errors import TaskError

TARGET = "target"
"""The column of a frame that is to be predicted."""

INPUT = "input"
"""How the columns of a frame that make up an input begin."""


def partitions(made: Any, reference: str) -> list[Callable[[], Records]] | None:
    """What computes the partitions of a collection, each by itself; None if it is no collection.

    Raises:
        TaskError: if it is one that holds no records.
    """
    if isinstance(made, tuple) and len(made) == 2 and any(isinstance(each, da.Array) for each in made):
        inputs, targets = map(da.asarray, made)
        return _of_arrays(inputs, targets, reference)
    if not is_dask_collection(made):
        return None
    if isinstance(made, Bag):
        return [functools.partial(_bag, part, reference) for part in made.to_delayed()]
    names = [str(name) for name in made.columns] if type(made).__module__.startswith("dask.dataframe") else []
    if TARGET in names and any(name.startswith(INPUT) for name in names):
        return [functools.partial(_frame, part, reference) for part in made.to_delayed()]
    raise TaskError(
        f"{reference} returned Dask's {type(made).__name__}; of Dask's it returns a pair of arrays, a bag of records, "
        f"or a frame with the column {TARGET!r} and others that begin with {INPUT!r}"
    )


def _of_arrays(inputs: Any, targets: Any, reference: str) -> list[Callable[[], Records]]:
    """Chunks of samples, each of which is whole."""
    shapes = f"arrays of the shapes {inputs.shape} and {targets.shape}"
    if not inputs.ndim or not targets.ndim or math.isnan(inputs.shape[0] + targets.shape[0]):
        raise TaskError(f"{reference} returned {shapes}; samples lie along axis 0: call compute_chunk_sizes() before")
    if inputs.shape[0] != targets.shape[0]:
        raise TaskError(f"{reference} returned {shapes}; there must be one target for each input")
    if inputs.dtype.kind not in "biuf" or targets.dtype.kind not in "biufU":
        raise TaskError(f"{reference} returned arrays of {inputs.dtype} and {targets.dtype}; they hold numbers")
    require_channels_first(inputs.shape, f"the array of inputs that {reference} returned")
    inputs = inputs.rechunk(dict.fromkeys(range(1, inputs.ndim), -1))
    targets = targets.rechunk({0: inputs.chunks[0], **dict.fromkeys(range(1, targets.ndim), -1)})
    return [
        functools.partial(_arrays, inputs.blocks[part], targets.blocks[part]) for part in range(inputs.numblocks[0])
    ]


def _arrays(inputs: Any, targets: Any) -> Records:
    found, answers = compute(inputs, targets, scheduler="synchronous")
    return Records(found[:, None] if found.ndim == 3 else found, answers)


def _bag(part: Any, reference: str) -> Records:
    (found,) = compute(part, scheduler="synchronous")
    return to_records([to_record(each, f"a record of {reference}") for each in found], reference)


def _frame(part: Any, reference: str) -> Records:
    import pyarrow as pa

    from podium.data.sources.columns import to_records as of_table

    (frame,) = compute(part, scheduler="synchronous")
    if frame.empty:
        return to_records([], reference)
    names = [str(name) for name in frame.columns]
    inputs = tuple(name for name in names if name.startswith(INPUT))
    others = tuple(name for name in names if name not in (*inputs, TARGET))
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return of_table(table, Roles(inputs, (TARGET,), others, several=False), f"a partition of {reference}", 0)

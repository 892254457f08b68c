"""Which samples of a test split a model of other data has seen: they prove nothing about it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.data.compare import READ, digests
from podium.data.manifest import Manifest
from podium.data.reader import Reader

_SELECTING = ("filter", "one_hot")
"""The steps that leave inputs as they are."""


@dataclass(frozen=True)
class Overlap:
    """What is known of the samples of a test split that a model was trained on, or chosen by.

    Attributes:
        is_seen: `[N]`, in the order of the shards: whether a sample's content, or its group, is among theirs.
        known: Whether none can have been missed.
        why: If some can, why; else empty.
    """

    is_seen: NDArray[np.bool_]
    known: bool
    why: str


def overlap(reader: Reader, folder: Path) -> Overlap:
    """Which samples of a reader's test split a model has seen.

    Inputs are compared by the bytes that are stored, groups by their names if both data are split by the same column.
    All data that the model could have been trained on count, also where it took a share of them.

    Args:
        reader: One of purpose `promotion`.
        folder: The shards that the model was trained on; where they are the reader's own no sample stands in two splits
            (law 6), and nothing is read.

    Raises:
        Refused: if the reader is of another purpose.
        DataError: if shards are gone, or are not what their manifest says.
    """
    other, is_seen = Reader(folder), np.zeros(reader.size("test"), dtype=bool)
    if other.manifest.digest == reader.manifest.digest:
        return Overlap(is_seen, True, "")
    doubts, column = list(_doubts(reader.manifest, other.manifest)), _group_column(reader.manifest)
    own, theirs = reader.groups("test"), [other.groups(split) for split in READ if other.size(split)]
    if _input_bytes(reader.manifest) == _input_bytes(other.manifest):
        is_seen |= np.isin(digests(reader, "test"), np.concatenate([digests(other, split) for split in READ]))
    named = [groups for groups in theirs if groups is not None]
    if own is not None and len(named) == len(theirs) and column == _group_column(other.manifest):
        is_seen |= np.isin(own, np.concatenate(named))
    elif column is not None:
        doubts.append(f"which {column} its samples are of is not kept with both data")
    return Overlap(is_seen, not doubts, "; ".join(doubts))


def _doubts(own: Manifest, other: Manifest) -> Iterator[str]:
    """Why equal content may not be seen to be equal."""
    if _input_bytes(own) != _input_bytes(other):
        shown = (f"{each.schema.input_dtype} of the shape {each.schema.inputs}" for each in (own, other))
        yield "its inputs are {1}, and those of the test split {0}".format(*shown)
    elif _changes(own) != _changes(other):
        yield "its inputs went through other steps"


def _input_bytes(manifest: Manifest) -> tuple[str, Any]:
    """What equal inputs have in common: a series' length may differ, its features may not."""
    schema = manifest.schema
    return schema.input_dtype, schema.inputs[1:] if schema.series else math.prod(schema.inputs)


def _changes(manifest: Manifest) -> list[dict[str, Any]]:
    return [step for step in manifest.steps if step["kind"] not in _SELECTING]


def _group_column(manifest: Manifest) -> str | None:
    """The column that names the groups; None where data are not split by group."""
    return manifest.split["column"] if manifest.split["by"] == "group" else None

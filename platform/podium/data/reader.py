"""The reader: batches out of mapped shards. Runs in every rank, and keeps no samples of its own."""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from podium.data import order
from podium.data.manifest import Manifest, Schema, load_manifest, missing, remedy
from podium.errors import DataError, Refused

ALL = (0, 1)
"""The one part of one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples.

    Attributes:
        inputs: `[B, ...]` float32, normalized if the schema says so.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        positions: `[B]` int64, where each sample stands in the epoch's order.
        stands_in: Whether it is the whole batch's first sample in the place of none, and does not count: the part of a
            small batch may be empty, which few networks and losses can take.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[Any]
    positions: NDArray[np.int64]
    stands_in: bool = False


class Reader:
    """Reads the splits of a folder of shards, a whole batch at a time, from the mapped files.

    Args:
        folder: What `prepare` returned.
        purpose: Only a `promotion` may read the test split.

    Raises:
        DataError: if a shard is not there in its full size.
    """

    def __init__(self, folder: Path, purpose: Literal["training", "promotion"] = "training") -> None:
        self.manifest: Manifest = load_manifest(folder)
        damaged = missing(folder, self.manifest)
        if damaged is not None:
            raise DataError(f"the shard {damaged} is missing or truncated; {remedy(folder)}")
        self._folder, self._purpose = folder, purpose
        self._splits: dict[str, _Split] = {}

    @property
    def schema(self) -> Schema:
        """What one sample looks like."""
        return self.manifest.schema

    def size(self, split: str) -> int:
        """Samples of a split."""
        return self.manifest.rows[split]

    def steps(self, split: str, batch_size: int) -> int:
        """Batches that an epoch over a split takes; the last may be smaller."""
        return -(-self.size(split) // batch_size)

    def epoch(
        self,
        split: str,
        *,
        batch_size: int,
        seed: int,
        epoch: int,
        start_step: int = 0,
        part: tuple[int, int] = ALL,
    ) -> Iterator[Batch]:
        """Every sample once, in the order of (seed, epoch).

        Args:
            split: Which samples.
            batch_size: Samples of a batch; the last has what is left.
            seed: The data seed.
            epoch: The epoch, from 0.
            start_step: The batch to begin with, to go on in the middle of an epoch.
            part: Which part of each batch, and of how many: a rank's share.

        Raises:
            Refused: if `split` is the test split and this is no promotion.
            DataError: if a shard is not what the manifest says.
        """
        return self._batches(split, batch_size, order.permutation(self.size(split), seed, epoch), start_step, part)

    def sequential(self, split: str, batch_size: int, part: tuple[int, int] = ALL) -> Iterator[Batch]:
        """Every sample once, in the order of the shards; a part of each batch, and raises, as `epoch` does."""
        return self._batches(split, batch_size, np.arange(self.size(split)), 0, part)

    def stored(self, split: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The inputs and targets of a split as they are stored, a shard at a time, in views of the mapped files.

        Raises:
            Refused: if `split` is the test split and this is no promotion.
            DataError: if a shard is not what the manifest says.
        """
        yield from self._open(split)._shards

    def _batches(
        self, split: str, batch_size: int, rows: NDArray[np.int64], start_step: int, part: tuple[int, int]
    ) -> Iterator[Batch]:
        whole = order.batches(len(rows), batch_size, start_step=start_step)
        return itertools.starmap(functools.partial(_gather, self._open(split), rows, part), whole)

    def _open(self, split: str) -> "_Split":
        if split == "test" and self._purpose != "promotion":
            raise Refused("the test split is read by promotion alone; validate on the validation split")
        if split not in self._splits:
            self._splits[split] = _Split(self._folder, self.manifest, split)
        return self._splits[split]


def _gather(split: "_Split", rows: NDArray[np.int64], part: tuple[int, int], begin: int, end: int) -> Batch:
    """A part of the batch at the positions from `begin` to before `end`."""
    first, last = order.share(begin, end, *part)
    stands_in = first == last
    if stands_in:
        first, last = begin, begin + 1
    return Batch(*split.gather(rows[first:last]), np.arange(first, last), stands_in)


class _Split:
    """The mapped shards of one split, and the arithmetic from stored to normalized."""

    def __init__(self, folder: Path, manifest: Manifest, split: str) -> None:
        schema = manifest.schema
        self._shards = [
            _map(folder, shard.name, shard.rows, schema) for shard in manifest.shards if shard.split == split
        ]
        self._firsts = np.cumsum([0, *(len(targets) for _, targets in self._shards)])
        shape = (-1,) + (1,) * (len(schema.inputs) - 1)
        self._mean = np.array(schema.mean, dtype=np.float32).reshape(shape)
        self._scale = (1.0 / np.array(schema.std)).astype(np.float32).reshape(shape)
        self._normalize = schema.normalize

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """The inputs, as a network takes them, and targets of `rows`."""
        stored, targets = self._take(rows)
        inputs = stored.astype(np.float32, copy=False)
        if self._normalize:
            inputs -= self._mean
            inputs *= self._scale
        return inputs, targets

    def _take(self, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        if len(self._shards) == 1:
            inputs, targets = self._shards[0]
            return inputs.take(rows, axis=0), targets.take(rows, axis=0)
        first_inputs, first_targets = self._shards[0]
        taken = np.empty((len(rows), *first_inputs.shape[1:]), first_inputs.dtype)
        answers = np.empty((len(rows), *first_targets.shape[1:]), first_targets.dtype)
        owners = np.searchsorted(self._firsts, rows, side="right") - 1
        for owner in np.unique(owners):
            chosen = np.flatnonzero(owners == owner)
            inputs, targets = self._shards[owner]
            taken[chosen] = inputs[rows[chosen] - self._firsts[owner]]
            answers[chosen] = targets[rows[chosen] - self._firsts[owner]]
        return taken, answers


def _map(folder: Path, name: str, rows: int, schema: Schema) -> tuple[NDArray[Any], NDArray[Any]]:
    """Inputs `[rows, ...]` and targets `[rows, ...]` of a shard, as views of its mapped file."""
    import pyarrow as pa

    path = folder / name
    try:
        batch = pa.ipc.open_file(pa.memory_map(str(path))).get_batch(0)
        inputs, targets = _view(batch.column("inputs")), _view(batch.column("targets"))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise DataError(f"the shard {path} cannot be read ({error}); {remedy(folder)}") from None
    found = (inputs.shape, targets.shape, str(inputs.dtype), str(targets.dtype))
    promised = ((rows, *schema.inputs), (rows, *schema.targets), schema.input_dtype, schema.target_dtype)
    if found != promised:
        raise DataError(f"the shard {path} is not what its manifest says; {remedy(folder)}")
    return inputs, targets


def _view(column: Any) -> NDArray[Any]:
    tensor = hasattr(column, "to_numpy_ndarray")
    return column.to_numpy_ndarray() if tensor else column.to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]

"""The reader: batches out of mapped shards. Runs in every rank, and keeps no samples of its own."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from podium.data import order
from podium.data.manifest import Manifest, Schema, load_manifest, missing, remedy
from podium.data.mapped import MappedSplit
from podium.data.order import BlockShuffle, Chosen, GlobalShuffle, Order, Sequential, Subset
from podium.data.prefetch import ahead
from podium.data.sampling import Classes, Weighted
from podium.errors import DataError, Refused
from podium.spec.data import Sampling, TrainedOn, fold_name

ALL = (0, 1)
"""The one part of one."""

PREFETCHED = 2
"""So many batches are gathered ahead."""

PREFETCH_BYTES = 2**20
"""Batches of less are gathered when they are asked for, which takes less time than to hand them over."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples, in the order in which they are stored: they are read faster so.

    Attributes:
        inputs: `[B, ...]` float32, normalized if the schema says so.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        positions: `[B]` int64, where each sample stands in the epoch's order.
        lengths: `[B]` int64, the steps of inputs that are series, `[B, longest, features]`; None if they are none.
        partner: As many other samples of the whole batch, one for each of these, in their order; None unless asked for.
        stands_in: Whether it is the whole batch's first sample in the place of none, and does not count: the part of a
            small batch may be empty, which few networks and losses can take.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[Any]
    positions: NDArray[np.int64]
    lengths: NDArray[np.int64] | None = None
    partner: "Batch | None" = None
    stands_in: bool = False


class Reader:
    """Reads the splits of a folder of shards, a whole batch at a time, from the mapped files.

    Attributes:
        manifest: What the folder holds.
        schema: What one sample looks like.

    Args:
        folder: What `prepare` returned.
        purpose: Only a `promotion` may read the test split.
        sampling: What an epoch over the train split holds.
        fold: Where the data are in folds, the one that validates; the others train.
        trained_on: Whether the train split is that of the data, or has their validation split in it, too.

    Raises:
        DataError: if a shard is not there in its full size, or the samples cannot be drawn as `sampling` says.
    """

    def __init__(
        self,
        folder: Path,
        purpose: Literal["training", "promotion"] = "training",
        sampling: Sampling = "uniform",
        fold: int = 0,
        trained_on: TrainedOn = "train",
    ) -> None:
        self.manifest: Manifest = load_manifest(folder)
        damaged = missing(folder, self.manifest)
        if damaged is not None:
            raise DataError(f"the shard {damaged} is missing or truncated; {remedy(folder)}")
        self._folder, self._purpose = folder, purpose
        self._splits: dict[str, MappedSplit] = {}
        self.schema = self._schema(fold)
        self._fold, self._sampling, self._trained_on = fold, sampling, trained_on
        self._weights = _weights(sampling, self.schema)
        self._subset: Subset | None = None

    @property
    def num_folds(self) -> int:
        """How many folds there are; 1 where the data are not in folds."""
        return len(self.manifest.folds) or 1

    @property
    def class_counts(self) -> tuple[int, ...]:
        """Samples of each class in the train split (pixels, for masks); empty for numbers."""
        counts = [self.manifest.classes.get(name, ()) for name in self._names("train")]
        return tuple(map(sum, zip(*counts, strict=True)))

    def fold(self, number: int) -> "Reader":
        """The same data with another fold that validates."""
        return Reader(self._folder, self._purpose, self._sampling, number)

    def subset(self, share: float, seed: int) -> "Reader":
        """The same data with a share of the train split, which holds every smaller share of the same seed.

        Args:
            share: Above 0 and at most 1; at least one sample is left.
            seed: The data seed.
        """
        if share == 1:
            return self
        other, shuffle = copy.copy(self), self.manifest.shuffle
        other._subset = Subset(self.size("train"), share, shuffle.block or 1, seed)
        return other

    def size(self, split: str) -> int:
        """Samples of a split."""
        if self._subset is not None and split == "train":
            return self._subset.size
        return sum(self.manifest.rows[name] for name in self._names(split))

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
        has_partners: bool = False,
    ) -> Iterator[Batch]:
        """Every sample once, in the order of (seed, epoch); or as many, drawn as `sampling` says.

        Args:
            split: Which samples.
            batch_size: Samples of a batch; the last has what is left.
            seed: The data seed.
            epoch: The epoch, from 0.
            start_step: The batch to begin with, to go on in the middle of an epoch.
            part: Which part of each batch, and of how many: a rank's share.
            has_partners: Whether each sample gets another one of its whole batch, whatever its part.

        Raises:
            Refused: if `split` is the test split and this is no promotion.
            DataError: if a shard is not what the manifest says.
        """
        turn = (seed, epoch) if has_partners else None
        return self._batches(split, batch_size, self._order(split, seed, epoch), start_step, part, turn)

    def sequential(self, split: str, batch_size: int, part: tuple[int, int] = ALL) -> Iterator[Batch]:
        """Every sample once, in the order of the shards; a part of each batch, and raises, as `epoch` does."""
        rows: Order = Sequential()
        if self._subset is not None and split == "train":
            rows = Chosen(rows, self._subset)
        return self._batches(split, batch_size, rows, 0, part)

    def stored(self, split: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The inputs and targets of a split as they are stored, a shard at a time, in views of the mapped files.

        Raises:
            Refused: if `split` is the test split and this is no promotion.
            DataError: if a shard is not what the manifest says.
        """
        yield from ((shard.inputs, shard.targets) for shard in self._open(split).shards)

    def groups(self, split: str) -> NDArray[np.str_] | None:
        """The group of each sample of a split, `[N]`, in the order of the shards; None where none is kept.

        Data are split by group for that, and were prepared since groups are kept.

        Raises:
            Refused: if `split` is the test split and this is no promotion.
            DataError: if a shard is not what the manifest says.
        """
        return self._open(split).groups

    def _batches(
        self,
        split: str,
        batch_size: int,
        rows: Order,
        start_step: int,
        part: tuple[int, int],
        turn: tuple[int, int] | None = None,
    ) -> Iterator[Batch]:
        opened = self._open(split)
        whole = order.batches(self.size(split), batch_size, start_step=start_step)
        batches = (_gather(opened, rows, part, *positions, turn) for positions in whole)
        batch_bytes = 4 * math.prod(self.schema.inputs) * batch_size // part[1]
        return ahead(batches, PREFETCHED) if batch_bytes >= PREFETCH_BYTES else batches

    def _order(self, split: str, seed: int, epoch: int) -> Order:
        opened, subset = self._open(split), self._subset if split == "train" else None
        if self._weights and split == "train":
            rows: Order = Weighted(self._classes(opened), self._weights, seed, epoch)
        elif self.manifest.shuffle.kind == "block":
            expect = opened.expect if subset is None else subset.expecting(opened.expect)
            rows = BlockShuffle(self.size(split), self.manifest.shuffle.block, seed, epoch, expect)
        else:
            rows = GlobalShuffle(self.size(split), seed, epoch)
        return rows if subset is None else Chosen(rows, subset)

    def _classes(self, train: MappedSplit) -> Classes:
        """The samples of each class in the train split.

        Raises:
            DataError: if there is none of a class that is to be drawn.
        """
        classes = train.classes
        if self._subset is not None:
            labels = np.concatenate([shard.targets for shard in train.shards])
            classes = Classes(labels[self._subset.rows(np.arange(self._subset.size))])
        drawn = [number for number, weight in enumerate(self._weights) if weight]
        if missed := [number for number in drawn if number >= len(classes.counts) or not classes.counts[number]]:
            raise DataError(
                f"data.sampling draws samples of class {missed[0]}, and none of them is among the "
                f"{self.size('train')} that train; raise data.share, or write data.sampling: uniform"
            )
        return classes

    def _open(self, split: str) -> MappedSplit:
        if split == "test" and self._purpose != "promotion":
            raise Refused("the test split is read by promotion alone; validate on the validation split")
        if split not in self._splits:
            self._splits[split] = MappedSplit(self._folder, self.manifest, self.schema, self._names(split))
        return self._splits[split]

    def _names(self, split: str) -> Sequence[str]:
        """The manifest's splits that make up `train`, `validation` or `test`."""
        if split == "train" and self._trained_on == "train+validation":
            return ("train", "validation")
        if not self.manifest.folds or split == "test":
            return (split,)
        names = [fold_name(number) for number in range(self.num_folds)]
        own = names.pop(self._fold)
        return (own,) if split == "validation" else names

    def _schema(self, fold: int) -> Schema:
        """What one sample looks like; its statistics are those of what is trained on."""
        if not self.manifest.folds:
            return self.manifest.schema
        mean, std = self.manifest.folds[fold]
        return replace(self.manifest.schema, mean=mean, std=std)


def _weights(sampling: Sampling, schema: Schema) -> tuple[float, ...]:
    """How often each class is drawn; empty where every sample comes once.

    Raises:
        DataError: for samples without a class, and for more or fewer weights than classes.
    """
    if sampling == "uniform":
        return ()
    if not schema.classes or schema.targets:
        what = "masks" if schema.classes else "numbers to predict"
        raise DataError(
            f"data.sampling draws samples by class, and the targets are {what}; write data.sampling: uniform"
        )
    if sampling == "balanced":
        return (1.0,) * schema.classes
    if len(sampling.weights) != schema.classes:
        raise DataError(
            f"data.sampling.weights has {len(sampling.weights)} weights, and there are {schema.classes} classes; "
            "give one for each"
        )
    return sampling.weights


def _gather(
    split: MappedSplit, rows: Order, part: tuple[int, int], begin: int, end: int, turn: tuple[int, int] | None
) -> Batch:
    """A part of the batch at the positions from `begin` to before `end`; with partners if there is a turn to take."""
    first, last = order.share(begin, end, *part)
    stands_in = first == last
    if stands_in:
        first, last = begin, begin + 1
    batch = _at(split, rows, np.arange(first, last))
    partner = None if turn is None else _at(split, rows, order.partners(batch.positions, begin, end, *turn), sort=False)
    return replace(batch, partner=partner, stands_in=stands_in)


def _at(split: MappedSplit, rows: Order, positions: NDArray[np.int64], *, sort: bool = True) -> Batch:
    """The samples at some positions; sorted, they come in the order in which they are stored."""
    first, last = int(positions.min()), int(positions.max()) + 1
    chosen = rows.rows(first, last)[positions - first]
    ascending = np.argsort(chosen, kind="stable")
    inputs, targets, lengths = split.gather(chosen[ascending])
    if sort:
        return Batch(inputs, targets, positions[ascending], lengths)
    back = np.argsort(ascending)
    return Batch(inputs[back], targets[back], positions, None if lengths is None else lengths[back])

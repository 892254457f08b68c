"""Two data sets side by side: what their manifests say differently, and which samples they have in common."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from podium.data.manifest import Manifest, describe
from podium.data.reader import Reader
from podium.data.splits import Digests, content_digests
from podium.spec.sweep import flatten

READ = ("train", "validation")
"""The splits whose samples may be read; promotion alone reads the test split."""

_ASIDE = ("digest", "shards", "format")


def differences(a: Manifest, b: Manifest) -> dict[str, tuple[Any, Any]]:
    """By dotted key what two manifests say differently; None where one says nothing."""
    one, other = (flatten({k: v for k, v in describe(each).items() if k not in _ASIDE}) for each in (a, b))
    return {key: (one.get(key), other.get(key)) for key in {**one, **other} if one.get(key) != other.get(key)}


def common(a: Path, b: Path) -> dict[str, dict[str, int]]:
    """How many samples two data sets have in common, by the bytes of their stored inputs.

    Args:
        a: The folder of the one data set's shards.
        b: The folder of the other's.

    Returns:
        By split of `a` and split of `b` the number of common samples, without the test splits; a sample that is there
        several times counts as often as both have it.

    Raises:
        DataError: if a shard cannot be read.
    """
    one, other = ({split: digests(reader, split) for split in READ} for reader in (Reader(a), Reader(b)))
    counts: dict[str, dict[str, int]] = {split: {} for split in READ}
    for split, another in itertools.product(READ, READ):
        counts[split][another] = count_common(one[split], other[another])
    return counts


def count_common(one: Digests, other: Digests) -> int:
    """How many digests two lists have in common; one that is there several times counts as often as both have it."""
    ones, in_one = np.unique(one, return_counts=True)
    others, in_other = np.unique(other, return_counts=True)
    _, first, second = np.intersect1d(ones, others, assume_unique=True, return_indices=True)
    return int(np.minimum(in_one[first], in_other[second]).sum())


def is_equal(a: Manifest, b: Manifest, split: str) -> bool:
    """Whether a split has the same bytes in both, by the checksums of its shards: none of them is read."""
    one, other = ([shard.sha256 for shard in each.shards if shard.split == split] for each in (a, b))
    return one == other


def digests(reader: Reader, split: str) -> Digests:
    """`[N]` uint64, the content of a split's inputs as they are stored; raises as `Reader.stored` does."""
    found = [content_digests(list(inputs)) for inputs, _ in reader.stored(split)]
    return np.concatenate([np.empty(0, np.uint64), *found])

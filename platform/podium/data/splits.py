"""Splits: which records train, which validate, which test. Pure: bytes in, splits out."""

import itertools
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import DataError
from podium.spec.data import SplitSettings

LEFT_OUT = -1
"""The number of a record that stands in no split."""

Numbers = NDArray[np.int8]
Digests = NDArray[np.uint64]

_GIVEN = {"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2}
_SHOWN = 3


def content_digests(records: Sequence[NDArray[Any]] | NDArray[np.generic]) -> Digests:
    """A 64-bit digest of each record's bytes (BLAKE2b: RFC 7693).

    Args:
        records: `[N, ...]`, one record a row, of any dtype without objects; or N arrays.

    Returns:
        `[N]` uint64; records of equal bytes have equal digests.
    """
    return np.array([digest(np.ascontiguousarray(row).tobytes()) for row in records], dtype=np.uint64)


def digest(content: bytes) -> int:
    """A 64-bit digest of some bytes."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def group_names(column: NDArray[Any]) -> list[str]:
    """What the groups of a column are called, record by record."""
    return [str(each) for each in column.tolist()]


def assign(digests: Digests, shares: Sequence[float]) -> Numbers:
    """Splits records by what they contain: a digest, read as a uniform number, falls into a share of [0, 1).

    So equal records never stand in two splits, a record keeps its split when others come or go, and the sizes
    of the splits are only near the shares: N distinct records give about share * N, give or take sqrt(share * N).

    Args:
        digests: `[N]` uint64, one for each record (or for the group that has to stay together).
        shares: The share of each split; they add up to 1.

    Returns:
        `[N]` int8: the number of each record's split.
    """
    uniform = (digests >> np.uint64(11)).astype(np.float64) * 2.0**-53
    used = [number for number, share in enumerate(shares) if share > 0]
    bounds = np.cumsum([shares[number] for number in used])[:-1]
    return np.array(used, dtype=np.int8)[np.searchsorted(bounds, uniform, side="right")]


def divide(
    settings: SplitSettings, digests: Digests, labels: NDArray[Any] | None, column: NDArray[Any] | None
) -> Numbers:
    """The split of each record, before duplicates are looked for.

    Args:
        settings: How to split.
        digests: `[N]` uint64, the records' content.
        labels: `[N]` classes, if the records have them.
        column: `[N]`, what `settings.column` reads.

    Returns:
        `[N]` int8, by the order of `settings.shares`.

    Raises:
        DataError: if the records do not have what the settings ask for.
    """
    shares = tuple(settings.shares.values())
    if settings.by == "content":
        return assign(digests, shares)
    if settings.by == "stratified":
        if labels is None:
            raise DataError("data.split.by is 'stratified', and the targets are no classes; split by content")
        return _stratified(digests, labels, shares)
    assert column is not None
    if settings.by == "group":
        return assign(np.array([digest(each.encode()) for each in group_names(column)], dtype=np.uint64), shares)
    return _timed(column, shares) if settings.by == "time" else _given(settings, digests, column)


def settle(numbers: Numbers, digests: Digests, policy: str) -> Numbers:
    """Has equal records stand in one split: the one nearest to the test, since what is learned by heart proves nothing.

    Args:
        numbers: `[N]` int8, the split of each record.
        digests: `[N]` uint64, the records' content.
        policy: `refuse` or `drop_from_train`.

    Returns:
        `[N]` int8, with `LEFT_OUT` for records that stand in a later split, too.

    Raises:
        DataError: if there are any, and the policy is to refuse them.
    """
    _, which = np.unique(digests, return_inverse=True)
    last = np.full(which.max(initial=-1) + 1, LEFT_OUT, dtype=np.int8)
    np.maximum.at(last, which, numbers)
    return _left_out(numbers, (numbers != LEFT_OUT) & (numbers < last[which]), policy, "equal")


def settle_near(numbers: Numbers, hashes: Digests, bits: int, policy: str) -> Numbers:
    """The like for records whose perceptual hashes differ in at most so many bits; see `settle`.

    Two hashes that differ in few bits agree in one of bits + 1 parts: only such pairs are compared.
    """
    behind = np.zeros(len(numbers), dtype=bool)
    edges = [64 * part // (bits + 1) for part in range(bits + 2)]
    for low, high in itertools.pairwise(edges):
        part = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(part, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            behind[rows] |= _has_near(numbers[rows], hashes[rows], bits)
    return _left_out(numbers, behind, policy, "nearly equal")


def _has_near(numbers: Numbers, hashes: Digests, bits: int) -> NDArray[np.bool_]:
    """Which of some records have a near one in a later split."""
    if len(set(numbers.tolist()) - {LEFT_OUT}) < 2:
        return np.zeros(len(numbers), dtype=bool)
    unique, which = np.unique(hashes, return_inverse=True)
    last = np.full(len(unique), LEFT_OUT, dtype=np.int8)
    np.maximum.at(last, which, numbers)
    latest = np.array([last[np.bitwise_count(unique ^ own) <= bits].max() for own in unique], dtype=np.int8)
    behind: NDArray[np.bool_] = (numbers != LEFT_OUT) & (numbers < latest[which])
    return behind


def _left_out(numbers: Numbers, behind: NDArray[np.bool_], policy: str, how: str) -> Numbers:
    if behind.any() and policy == "refuse":
        rows = np.flatnonzero(behind)
        shown = ", ".join(map(str, rows[:_SHOWN].tolist())) + (", …" if len(rows) > _SHOWN else "")
        raise DataError(
            f"{len(rows)} records have {how} ones in a later split, the first of them record {shown}; write "
            "data.split.duplicates: drop_from_train to leave them out, or split by content"
        )
    return np.where(behind, np.int8(LEFT_OUT), numbers)


def _stratified(digests: Digests, labels: NDArray[Any], shares: Sequence[float]) -> Numbers:
    """Cuts each class, ordered by content, at its shares; equal records go with the first of them."""
    numbers = np.empty(len(digests), dtype=np.int8)
    unique, first, which = np.unique(digests, return_index=True, return_inverse=True)
    own, of_unique = labels[first], np.empty(len(unique), dtype=np.int8)
    for label in np.unique(own):
        rows = np.flatnonzero(own == label)  # in the order of their digests
        of_unique[rows] = _cut(len(rows), shares)
    numbers[:] = of_unique[which]
    return numbers


def _timed(column: NDArray[Any], shares: Sequence[float]) -> Numbers:
    """Cuts the records, ordered by time, at the shares; those of one time stay together."""
    column = _times(column)
    times, which, counts = np.unique(column, return_inverse=True, return_counts=True)
    middles = (np.cumsum(counts) - counts / 2) / len(column)
    numbers = np.searchsorted(np.cumsum(shares)[:-1], middles, side="right").astype(np.int8)
    if len(times) < sum(share > 0 for share in shares):
        raise DataError(f"data.split.by is 'time', and the records have {len(times)} different times")
    return numbers[which]


def _times(column: NDArray[Any]) -> NDArray[Any]:
    """A column as what can be ordered in time.

    Raises:
        DataError: if a record has no time, or it is written so that its order is not that of time.
    """
    if column.dtype.kind == "U":
        try:
            column = column.astype("datetime64[us]")
        except ValueError:
            raise DataError(
                f"data.split.by is 'time', and the column holds texts such as {str(column[0])!r}; write times as "
                "2026-01-31T12:00:00, or as numbers"
            ) from None
    absent = np.isnat(column) if column.dtype.kind == "M" else ~np.isfinite(column.astype(np.float64))
    if absent.any():
        raise DataError(
            f"data.split.by is 'time', and {int(absent.sum())} records have none, the first of them record "
            f"{int(np.flatnonzero(absent)[0])}; fill them, or leave them out by a step"
        )
    return column


def _cut(count: int, shares: Sequence[float]) -> Numbers:
    bounds = np.rint(np.cumsum(shares)[:-1] * count)
    return np.searchsorted(bounds, np.arange(count), side="right").astype(np.int8)


def _given(settings: SplitSettings, digests: Digests, column: NDArray[Any]) -> Numbers:
    """What the source says; if it gives no validation split, some of the train split validates."""
    names = [str(each) for each in column.tolist()]
    unknown = sorted({name for name in names if name.lower() not in _GIVEN})
    if unknown:
        raise DataError(
            f"the column {settings.key!r} says {unknown[0]!r}, which is no split; it says train, validation or test"
        )
    numbers = np.array([_GIVEN[name.lower()] for name in names], dtype=np.int8)
    if settings.validation > 0 and not (numbers == 1).any():
        share = settings.validation / (settings.train + settings.validation)
        numbers = np.where(numbers == 0, assign(digests, (1 - share, share)), numbers)
    return numbers

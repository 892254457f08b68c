"""What is drawn of thousands of trials: bands of learning curves, medians in bins, an even sample. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Thing = TypeVar("Thing")

MOST_EPOCHS = 100
"""Of more epochs a band shows so many."""

LEVEL = 0.95

CERTAIN = 0.9

MOST = 1e300
"""Values beyond are drawn there: sums and differences of two have to be finite."""


@dataclass(frozen=True)
class Band:
    """What many learning curves have in common, by epoch.

    Attributes:
        epochs: Where any curve has a value, thinned evenly to `MOST_EPOCHS`.
        low: The lowest percentile of the values there, the 10th as a rule.
        middle: The median.
        high: The highest percentile, the 90th as a rule.
        counts: How many curves have a value there.
    """

    epochs: tuple[int, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Bin:
    """The values of those trials of which a parameter lies in one range, or has one value.

    Attributes:
        place: The middle of the range on the parameter's scale.
        median: Of the values.
        low: The lower end of the median's interval at `LEVEL`; None for fewer than six values, which have none.
        high: The upper end likewise.
        count: How many values.
    """

    place: float
    median: float
    low: float | None
    high: float | None
    count: int


def band(
    curves: Iterable[Sequence[tuple[int, float | None]]], percentiles: tuple[float, float, float] = (10, 50, 90)
) -> Band:
    """The band of learning curves between percentiles; values that are not finite are left out."""
    by_epoch: dict[int, list[float]] = {}
    for curve in curves:
        for epoch, value in curve:
            if value is not None:
                by_epoch.setdefault(epoch, []).append(_within(value))
    epochs = sample(sorted(by_epoch), MOST_EPOCHS)
    found = [np.percentile(by_epoch[epoch], percentiles).tolist() for epoch in epochs]
    low, middle, high = zip(*found, strict=True) if found else ((), (), ())
    return Band(tuple(epochs), low, middle, high, tuple(len(by_epoch[epoch]) for epoch in epochs))


def bins(places: Sequence[float], values: Sequence[float], count: int | None = None) -> list[Bin]:
    """Medians of values by where a parameter lies.

    Args:
        places: Where the parameter of each trial lies on its axis.
        values: The value of each trial.
        count: Of how many ranges of equal width; each distinct place is a bin of its own without one.
    """
    if not len(places):
        return []
    at, of = np.asarray(places, dtype=np.float64), np.asarray(values, dtype=np.float64).clip(-MOST, MOST)
    if count is None:
        keys = at
    else:
        low, width = at.min(), max(float(np.ptp(at)), 1e-12) / count
        keys = low + (np.minimum((at - low) // width, count - 1) + 0.5) * width
    return [_bin(float(key), np.sort(of[keys == key])) for key in np.unique(keys)]


def _bin(place: float, ordered: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Bin:
    """The interval of a median lies between two values in order (Conover, Practical Nonparametric Statistics, 3.2)."""
    from scipy.special import bdtrik

    count = len(ordered)
    median, rank = float(np.median(ordered)), math.ceil(bdtrik((1 - LEVEL) / 2, count, 0.5)) - 1
    if rank < 0:
        return Bin(place, median, None, None, count)
    return Bin(place, median, float(ordered[rank]), float(ordered[count - 1 - rank]), count)


def sample(things: Sequence[Thing], most: int) -> list[Thing]:
    """At most so many of them, evenly spaced, first and last included."""
    if len(things) <= most:
        return list(things)
    return [things[round(index)] for index in np.linspace(0, len(things) - 1, most)]


def limits(drawn: Iterable[float], reach: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis that shows all that is `drawn`, and of what goes further as much again at most.

    One trial that went astray would else leave no room for all others.
    """
    ends = [_within(value) for value in drawn if math.isfinite(value)]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    room = (high - low) or abs(high) * 0.1 or 1.0
    further = [_within(value) for value in reach if math.isfinite(value)]
    low = max(min([low, *further]), low - room)
    high = min(max([high, *further]), high + room)
    pad = (high - low) * 0.04 or room
    return low - pad, high + pad


def _within(value: float) -> float:
    return min(max(value, -MOST), MOST)


def limits_from_best(values: Iterable[float], *, is_maximized: bool) -> tuple[float, float]:
    """The ends of an axis that shows the better `CERTAIN` of all values, and of what goes further as much again."""
    ordered = sorted(values, reverse=is_maximized)
    return limits(ordered[: max(1, round(CERTAIN * len(ordered)))], ordered)

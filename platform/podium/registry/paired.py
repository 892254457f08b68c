"""Paired differences of losses: what their mean is known to be. Pure: numpy and scipy, no clock, no I/O.

Both methods answer the same questions of the mean difference: how likely one as good would be if the truth were no
better than a margin below 0, and between which bounds it lies.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Array = NDArray[np.float64]

FEWEST_UNITS = 8
"""Fewer than this are not resampled: too many resamples would be one unit over and over."""

MOST_UNITS = 1024
"""More are bundled at random before they are resampled, which keeps mean, variance and skewness of their mean."""

LEAST_RESAMPLES, MOST_RESAMPLES = 9_999, 99_999
_CHUNK = 2**20


@dataclass(frozen=True)
class Units:
    """What was drawn independently of each other, single examples or groups of them.

    Attributes:
        sums: `[G]`, the summed differences of each.
        sizes: `[G]`, how many examples each has.
    """

    sums: Array
    sizes: Array

    @classmethod
    def of(cls, differences: Array, groups: NDArray[np.int64] | None) -> "Units":
        """Those of single differences `[N]`, in an order that does not depend on the order of the examples."""
        if groups is None:
            return cls(np.sort(differences), np.ones(len(differences)))
        _, places = np.unique(groups, return_inverse=True)
        order = np.argsort(differences, kind="stable")
        return cls._in_order(_summed(places[order], differences[order]), _summed(places, np.ones(len(places))))

    @classmethod
    def _in_order(cls, sums: Array, sizes: Array) -> "Units":
        order = np.lexsort((sizes, sums))
        return cls(sums[order], sizes[order])

    @cached_property
    def mean(self) -> float:
        """Of all differences, 0 if there are none."""
        return math.fsum(self.sums) / max(1.0, float(self.sizes.sum()))

    @cached_property
    def residuals(self) -> Array:
        """`[G]`: what each sum is above what it would be if all differences were the mean."""
        return self.sums - self.mean * self.sizes

    @cached_property
    def error(self) -> float:
        """The standard error of the mean, a ratio of sums over units; infinite for fewer than two of them."""
        count = len(self.sums)
        if count < 2:
            return math.inf
        return math.sqrt(count / (count - 1) * float(np.square(self.residuals).sum())) / float(self.sizes.sum())

    def least(self, margin: float) -> float:
        """What a sign test could give at best: of m differences other than -margin, 2^-m (Arbuthnott, 1710)."""
        return float(0.5 ** np.count_nonzero(self.sums + margin * self.sizes))

    def swapped(self) -> "Units":
        """Those of the differences the other way round."""
        return self._in_order(-self.sums, self.sizes)

    def bundled(self, draws: np.random.Generator) -> "Units":
        """At most `MOST_UNITS`."""
        if len(self.sums) <= MOST_UNITS:
            return self
        bundles = draws.permutation(len(self.sums)) % MOST_UNITS
        return Units(_summed(bundles, self.sums), _summed(bundles, self.sizes))


class Knowledge(Protocol):
    """What is known of a mean difference."""

    def p_value(self, margin: float) -> float:
        """One-sided, of the hypothesis that the true mean is at most -margin."""
        ...

    def swapped(self) -> "Knowledge":
        """What is known of the difference the other way round."""
        ...

    def bounds(self, level: float) -> tuple[float, float]:
        """Between which it lies, with as much doubt on either side."""
        ...


@dataclass(frozen=True)
class Discordance:
    """Of losses that are all 0 or 1: how often one side alone is right.

    At no margin the p-value is McNemar's, exact: of the discordant pairs, wins are binomial with 1/2 (McNemar, "Note on
    the sampling error of the difference between correlated proportions", 1947). At a margin, and for the bounds, it is
    Tango's score test ("Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", 1998), which holds its level for small samples and needs no discordant pair. The two may
    differ a little near 0, where McNemar's is the more careful one. Over groups all counts are divided by the design
    effect first (Rao and Scott, "A simple method for the analysis of clustered binary data", 1992); of fewer than about
    20 groups that is known too badly, and 90 % intervals hold the truth 87 % of the time for 10.

    Attributes:
        units: The differences.
        count: Examples.
        wins: How many of them speak for a positive difference.
        losses: How many of them speak for a negative one.
    """

    units: Units
    count: float
    wins: float
    losses: float

    def p_value(self, margin: float) -> float:
        """See `Knowledge`."""
        if margin == 0:
            found = float(special.betainc(self.wins, self.losses + 1, 0.5)) if self.wins > 0 else 1.0
        else:
            found = float(special.ndtr(-self._score(-margin))) if self.count else 1.0
        return max(found, self.units.least(margin))

    def swapped(self) -> "Discordance":
        """See `Knowledge`."""
        return Discordance(self.units.swapped(), self.count, self.losses, self.wins)

    def bounds(self, level: float) -> tuple[float, float]:
        """See `Knowledge`."""
        return -self.swapped()._high(level), self._high(level)

    def _high(self, level: float) -> float:
        """Above it, so few wins would be too unlikely."""
        wanted = float(special.ndtri((1 - level) / 2))
        estimate, edge = (self.wins - self.losses) / self.count, 1 - 1e-12
        if estimate >= edge or self._score(edge) > wanted:
            return 1.0
        return float(optimize.brentq(lambda difference: self._score(difference) - wanted, estimate, edge, xtol=1e-12))

    def _score(self, difference: float) -> float:
        """How many standard errors there are above a true difference; errors as they would be if it were true."""
        count, wins, losses = self.count, self.wins, self.losses
        slope = (2 * count - wins + losses) * difference - wins - losses
        inner = slope**2 + 8 * count * losses * difference * (1 - difference)
        rate = max(0.0, (math.sqrt(max(0.0, inner)) - slope) / (4 * count))  # of losses, most likely one if it were
        variance = count * (2 * rate + difference * (1 - difference))
        above = wins - losses - count * difference
        return above / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, above) if above else 0.0


@dataclass(frozen=True)
class Resampled:
    """Of losses of any size: the studentized bootstrap over units.

    Second-order correct for skewed losses, and not too narrow for few of them as percentiles are (Efron,
    "Nonparametric standard errors and confidence intervals", 1981; Hall, "Theoretical comparison of bootstrap
    confidence intervals", 1988; Davison and Hinkley, "Bootstrap methods and their application", 1997, chapter 5.2, over
    groups with the standard error of a ratio). For fewer than `FEWEST_UNITS` units, or differences that are all equal,
    it is Student's t.

    Attributes:
        units: The differences.
        pivots: Sorted, how many of its own standard errors the mean of each resample lies above the true one; None for
            Student's t.
    """

    units: Units
    pivots: Array | None

    @classmethod
    def of(cls, units: Units, level: float, seed: int) -> "Resampled":
        """Resamples enough for bounds at a level; the same whichever side is which."""
        if units.mean < 0:
            return cls.of(units.swapped(), level, seed).swapped()
        if len(units.sums) < FEWEST_UNITS or not units.error:
            return cls(units, None)
        draws = np.random.default_rng(seed)
        resamples = min(MOST_RESAMPLES, max(LEAST_RESAMPLES, math.ceil(40 / (1 - level))))
        return cls(units, np.sort(_pivots(units.bundled(draws), resamples, draws)))

    def p_value(self, margin: float) -> float:
        """See `Knowledge`; at least 1 / (resamples + 1)."""
        above, error = self.units.mean + margin, self.units.error
        pivot = above / error if error else math.copysign(math.inf, above)
        if self.pivots is None:
            found = float(stats.t.sf(pivot, max(1, len(self.units.sums) - 1)))
        else:
            reached = len(self.pivots) - int(np.searchsorted(self.pivots, pivot, side="left"))
            found = (1 + reached) / (1 + len(self.pivots))
        return max(found, self.units.least(margin))

    def swapped(self) -> "Resampled":
        """See `Knowledge`."""
        return Resampled(self.units.swapped(), None if self.pivots is None else -self.pivots[::-1])

    def bounds(self, level: float) -> tuple[float, float]:
        """See `Knowledge`."""
        mean, error, tail = self.units.mean, self.units.error, (1 - level) / 2
        if not math.isfinite(error):
            return -math.inf, math.inf
        if self.pivots is None:
            high = low = float(stats.t.isf(tail, len(self.units.sums) - 1)) if error else 0.0
        else:
            beyond = max(1, math.floor(tail * (len(self.pivots) + 1)))
            high, low = -float(self.pivots[beyond - 1]), float(self.pivots[-beyond])
        return mean - low * error, mean + high * error


def _summed(places: NDArray[np.int64], values: Array) -> Array:
    return np.bincount(places, weights=values).astype(np.float64)


def _pivots(units: Units, resamples: int, draws: np.random.Generator) -> Array:
    """`[resamples]`; infinite for one without spread."""
    count, residuals, sizes = len(units.sums), units.residuals, units.sizes
    moments = np.stack([residuals, sizes, residuals**2, residuals * sizes, sizes**2], axis=1)
    rows = max(1, _CHUNK // count)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.concatenate(
            [
                _pivots_of(draws.integers(count, size=(min(rows, resamples - first), count)), moments)
                for first in range(0, resamples, rows)
            ]
        )


def _pivots_of(drawn: NDArray[np.int64], moments: Array) -> Array:
    rows, count = drawn.shape
    places = drawn + count * np.arange(rows)[:, None]
    often = np.bincount(places.ravel(), minlength=rows * count).reshape(rows, count)
    above, total, squares, products, square_sizes = (often @ moments).T
    mean = above / total
    spread = np.maximum(0.0, squares - 2 * mean * products + mean**2 * square_sizes)
    pivots: Array = above / np.sqrt(count / (count - 1) * spread)
    return np.nan_to_num(pivots, posinf=np.inf, neginf=-np.inf)

"""Evidence for a promotion: values over fresh seeds, and two models on the same test examples. Pure.

Numpy and scipy only: no torch, no mlflow, no clock, no I/O. What follows from the evidence is `registry.verdict`'s.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from podium.errors import UserError
from podium.registry.paired import Array, Discordance, Knowledge, Resampled, Units


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        estimate: The best single guess.
        low: Its lower bound, -inf where nothing is known.
        high: Its upper bound, inf where nothing is known.
        level: How often such an interval holds the truth, in (0, 1); as much of the doubt lies on either side.
        count: How many values it comes from.
    """

    estimate: float
    low: float
    high: float
    level: float
    count: int

    def written(self) -> dict[str, float | int | None]:
        """As JSON has it: None for infinite bounds."""
        low, high = (each if math.isfinite(each) else None for each in (self.low, self.high))
        return {"estimate": self.estimate, "low": low, "high": high, "level": self.level, "count": self.count}


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of what independent seeds gave: Student's t (Student, "The probable error of a mean", 1908).

    One value says nothing of the spread, so its interval is infinite.

    Raises:
        UserError: if there are no values, or some are not finite.
    """
    if not values or not np.isfinite(values).all():
        raise UserError(f"an interval needs finite values of seeds, not {list(values)}; leave out seeds that diverged")
    mean = fmean(values)
    if len(values) == 1:
        return Interval(mean, -math.inf, math.inf, level, 1)
    half = float(stats.t.isf((1 - level) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half, level, len(values))


def optimism(reported: float, confirmed: Sequence[float], *, maximize: bool) -> float:
    """By how much the sweep's report was better than the mean that fresh seeds confirm; below 0 if it was worse."""
    return (reported - fmean(confirmed)) * (1 if maximize else -1)


def choose(values: Mapping[int, Sequence[float]], *, maximize: bool) -> int:
    """The finalist with the best mean over its fresh seeds; of several as good, the one with the lowest number.

    Args:
        values: Of each finalist, by its number, on validation. A seed that diverged counts as infinitely bad: left out,
            it would make a fragile finalist look better.
        maximize: Whether higher is better.

    Raises:
        UserError: if there are no finalists, or one has no value or one that is not a number.
    """
    if not values or any(not each or np.isnan(each).any() for each in values.values()):
        raise UserError(f"each finalist needs values of fresh seeds to be chosen by; there are {dict(values)}")
    return min(values, key=lambda number: (fmean(values[number]) * (-1 if maximize else 1), number))


@dataclass(frozen=True)
class Comparison:
    """A candidate against a champion (or a trivial baseline) on the same test examples.

    Attributes:
        difference: The champion's mean loss minus the candidate's, with its interval: above 0, the candidate is better.
            Its p-values are one-sided, so one at alpha belongs to an interval at 1 - 2 alpha.
        method: How the p-values are found: McNemar's exact test where all losses are 0 or 1, else the studentized
            bootstrap, or Student's t where there are too few units to resample.
        units: How many examples, or groups of them, count as independent.
        wins: How many examples the candidate has the lower loss on.
        losses: How many examples the champion has the lower loss on.
        variance: Of one example's difference; infinite for fewer than two.
        design: The design effect: by how many times groups make the variance of the mean larger than it would be for as
            many independent examples; 1 without groups.
    """

    difference: Interval
    method: Literal["mcnemar", "bootstrap", "student"]
    units: int
    wins: int
    losses: int
    variance: float
    design: float
    _knowledge: Knowledge = field(repr=False, compare=False)

    def p_better(self, margin: float = 0.0) -> float:
        """The p-value of "the candidate is not better", or, with a margin, of "it is worse by the margin or more"."""
        return self._knowledge.p_value(margin)

    def p_worse(self, margin: float = 0.0) -> float:
        """The p-value of "the candidate is not worse", or, with a margin, of "it is worse by the margin at most"."""
        return self._knowledge.swapped().p_value(-margin)

    def is_better(self, alpha: float, margin: float = 0.0) -> bool:
        """Whether the candidate is better at a level; with a margin, whether it is no worse than that."""
        return self.p_better(margin) <= alpha

    def is_worse(self, alpha: float, margin: float = 0.0) -> bool:
        """Whether the candidate is worse at a level, by more than the margin."""
        return self.p_worse(margin) <= alpha

    def written(self) -> dict[str, Any]:
        """As JSON has it, for the ledger and the card."""
        return {
            "difference": self.difference.written(),
            "method": self.method,
            "units": self.units,
            "wins": self.wins,
            "losses": self.losses,
            "design": self.design,
            "p_better": self.p_better(),
            "p_worse": self.p_worse(),
        }


def compare(
    candidate: NDArray[Any],
    champion: NDArray[Any],
    *,
    level: float = 0.95,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compares two models by their losses on the same test examples.

    For losses of 0 and 1 see `paired.Discordance`, for others `paired.Resampled`. Nothing depends on the order of the
    examples, and swapping the two models turns all signs. No p-value is below that of a sign test at its best, so that
    few examples prove little however equal they are: without any examples, or between models that never differ, all
    p-values are 1; of one example, 1/2 at best. The interval of no example is infinite; so is that of one whose losses
    are not 0 and 1. Resamples grow with the level, up to 99,999: for p-values below 1e-5, take another test set.

    Args:
        candidate: `[N]`, losses (lower is better; for accuracy, 0 if right and 1 if wrong).
        champion: `[N]`, of the same examples.
        level: Of the interval.
        groups: `[N]`; examples of one group (a patient, a video) are not independent, and count as one unit.
        seed: Of the bootstrap.

    Raises:
        UserError: if the losses are not finite, or not of the same examples.
    """
    candidate, champion = (np.asarray(each, np.float64) for each in (candidate, champion))
    _require_pairs(candidate, champion, groups)
    differences, count = champion - candidate, len(champion)
    wins, losses = int(np.count_nonzero(differences > 0)), int(np.count_nonzero(differences < 0))
    alone = Units.of(differences, None)
    units = alone if groups is None else Units.of(differences, groups)
    design = (units.error / alone.error) ** 2 if alone.error and math.isfinite(units.error) else 1.0
    method: Literal["mcnemar", "bootstrap", "student"]
    knowledge: Knowledge
    if all(bool(((each == 0) | (each == 1)).all()) for each in (candidate, champion)):
        method, design = "mcnemar", max(1.0, design)
        knowledge = Discordance(units, *(each / design for each in (count, wins, losses)))
    else:
        knowledge = Resampled.of(units, level, seed)
        method = "student" if knowledge.pivots is None else "bootstrap"
    low, high = knowledge.bounds(level) if count else (-math.inf, math.inf)
    return Comparison(
        Interval(units.mean, low, high, level, count),
        method,
        len(units.sums),
        wins,
        losses,
        variance=alone.error**2 * max(1, count),
        design=design,
        _knowledge=knowledge,
    )


def _require_pairs(candidate: Array, champion: Array, groups: NDArray[np.int64] | None) -> None:
    shapes = [each.shape for each in (candidate, champion, groups) if each is not None]
    if candidate.ndim != 1 or len(set(shapes)) > 1:
        raise UserError(
            f"the losses to compare (and their groups) have the shapes {shapes}; give one loss for each test example, "
            "of the same examples in the same order"
        )
    for name, losses in (("candidate", candidate), ("champion", champion)):
        wrong = np.flatnonzero(~np.isfinite(losses))
        if len(wrong):
            raise UserError(
                f"the {name}'s loss on test example {wrong[0]} is {losses[wrong[0]]}, and {len(wrong)} in all are not "
                "finite; a model is compared by finite losses only, so look at its outputs for these examples"
            )

"""What follows from evidence: the decision, what one test set may still decide, and what it could tell. Pure."""

import math
from typing import Literal

from scipy import special

from podium.registry.evidence import Comparison

POWER = 0.8
"""How surely a test set should find a difference to be called large enough for it."""

Verdict = Literal["promoted", "refused", "undecided"]


def tightened(alpha: float, reading: int) -> float:
    """The level at the k-th reading of one test set: 6 / (pi^2 k^2) of alpha, which sums to alpha over all readings.

    So the chance that any promotion on this test set is wrong stays below alpha, however many there will be, with no
    need to know their number beforehand: alpha spending, with Basel's series for the shares (Foster and Stine,
    "Alpha-investing", 2008; for such series, Ramdas et al., 2018, arXiv:1802.09098).

    Args:
        alpha: For all readings together, in (0, 1).
        reading: Counted from 1.
    """
    assert reading >= 1, f"readings are counted from 1, not {reading}"
    return alpha * 6 / (math.pi * reading) ** 2


def decide(comparison: Comparison | None, *, alpha: float, margin: float = 0.0) -> Verdict:
    """Promoted if the candidate is better, refused if it is worse, each at the level alpha; else undecided.

    Args:
        comparison: None where nothing could be compared, which decides nothing.
        alpha: Of each of both one-sided tests.
        margin: By how much a candidate may be worse, in mean loss; above 0 for one that is cheaper.
    """
    assert margin >= 0, f"a margin says by how much a candidate may be worse, and is {margin}"
    if comparison is None:
        return "undecided"
    if comparison.is_better(alpha, margin):
        return "promoted"
    return "refused" if comparison.is_worse(alpha, margin) else "undecided"


def power(comparison: Comparison, *, alpha: float, difference: float, count: int | None = None) -> float:
    """How likely a candidate that is truly better by a difference would be found so.

    A normal approximation, for losses of 0 and 1 with the variance under either hypothesis (Miettinen, "The matched
    pairs design in the case of all-or-none responses", 1968) and half a step less, since the exact test moves in steps
    (Edwards, "Note on the correction for continuity", 1948).

    Args:
        comparison: Says how much differences vary.
        alpha: Of the one-sided test.
        difference: In mean loss, above 0. With a margin, give the sum of both.
        count: Of test examples; those of the comparison if None.
    """
    null, other, step = _spreads(comparison, difference)
    count = comparison.difference.count if count is None else count
    independent = count / comparison.design
    if not independent or not 0 < null < math.inf:
        return 0.0
    reached = independent * difference - step - float(-special.ndtri(alpha)) * null * math.sqrt(independent)
    return float(special.ndtr(reached / (other * math.sqrt(independent)))) if other else float(reached >= 0)


def needed(comparison: Comparison, *, alpha: float, difference: float, power: float = POWER) -> int | None:
    """How many test examples would be enough to find a difference with a power; the inverse of `power`.

    None where the comparison does not say how much differences vary: it has too few examples, or all alike.
    """
    null, other, step = _spreads(comparison, difference)
    if not 0 < null < math.inf:
        return None
    spread = float(-special.ndtri(alpha)) * null + float(special.ndtri(power)) * other
    root = (spread + math.sqrt(spread**2 + 4 * difference * step)) / (2 * difference)
    return max(1, math.ceil(root**2 * comparison.design))


def detectable(comparison: Comparison, *, alpha: float, at_power: float = POWER) -> float | None:
    """The smallest true difference that the comparison's test examples find with a power; None where none is known.

    By bisection of `power`, which rises with the difference.
    """

    def finds(difference: float) -> bool:
        return power(comparison, alpha=alpha, difference=difference) >= at_power

    largest = 1.0 if comparison.method == "mcnemar" else 100 * math.sqrt(comparison.variance)
    if not math.isfinite(largest) or largest <= 0 or not finds(largest):
        return None
    low, high = 0.0, largest
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if finds(middle) else (middle, high)
    return high


def _spreads(comparison: Comparison, difference: float) -> tuple[float, float, float]:
    """Standard deviations of an example's difference with and without a true difference, and a step of the test."""
    assert difference > 0, f"a difference to be found is above 0, not {difference}"
    if comparison.method != "mcnemar":
        deviation = math.sqrt(comparison.variance)
        return deviation, deviation, 0.0
    # as if there had been one more of the discordant: two models that never differed may do so yet
    discordant = (comparison.wins + comparison.losses + 1) / (comparison.difference.count + 2)
    rate = max(difference, discordant)
    return math.sqrt(rate), math.sqrt(max(0.0, rate - difference**2)), 1.0

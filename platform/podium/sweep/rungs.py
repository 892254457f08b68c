"""Policies: from the losses at a rung to what happens to a trial there. Pure values in, values out.

A loss is the objective's value with its sign turned so that lower is better; infinity for a diverged trial.
"""

import statistics
from bisect import bisect_left
from collections.abc import Sequence
from enum import Enum
from typing import Protocol


class Verdict(Enum):
    """What happens to a trial at a rung below its full budget."""

    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"


class Policy(Protocol):
    """Decides who goes on."""

    def rungs(self, number: int) -> tuple[int, ...]:
        """The epochs at which trial `number` is compared, its full budget last."""
        ...

    def verdict(self, loss: float, losses: Sequence[float]) -> Verdict:
        """What happens to a trial with `loss` at a rung whose sorted `losses` include it."""
        ...

    def quota(self, entered: int) -> int:
        """How many of the `entered` trials of a rung may be promoted from a pause there."""
        ...


class Everyone:
    """No comparison: every trial gets the full budget."""

    def __init__(self, rungs: tuple[int, ...]) -> None:
        self._rungs = rungs[-1:]

    def rungs(self, number: int) -> tuple[int, ...]:
        """The full budget alone."""
        return self._rungs

    def verdict(self, loss: float, losses: Sequence[float]) -> Verdict:
        """Always goes on."""
        return Verdict.CONTINUE

    def quota(self, entered: int) -> int:
        """Nobody is paused."""
        return 0


class Asha:
    """Asynchronous successive halving: pause at each rung, promote the best 1/factor.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2018, arXiv:1810.05934.
    """

    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self._rungs, self._factor = rungs, factor

    def rungs(self, number: int) -> tuple[int, ...]:
        """All rungs."""
        return self._rungs

    def verdict(self, loss: float, losses: Sequence[float]) -> Verdict:
        """Always pauses; promotion decides."""
        return Verdict.PAUSE

    def quota(self, entered: int) -> int:
        """One in `factor`."""
        return entered // self._factor


class Hyperband(Asha):
    """ASHA in brackets that start at different rungs (Li et al., 2018, JMLR 18(185), arXiv:1603.06560).

    Trials are dealt to brackets in blocks; a bracket with k rungs gets ceil((S + 1) / k * factor^(k - 1)) of them.
    """

    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        super().__init__(rungs, factor)
        count = len(rungs)
        sizes = [-(-count * factor ** (k - 1) // k) for k in range(count, 0, -1)]
        self._cycle = [first for first, size in enumerate(sizes) for _ in range(size)]

    def rungs(self, number: int) -> tuple[int, ...]:
        """The rungs of the trial's bracket."""
        return self._rungs[self._cycle[number % len(self._cycle)] :]


class AshaStop(Asha):
    """Successive halving without pauses: at a rung, a trial outside the best 1/factor so far is stopped.

    The first `factor - 1` trials at a rung go on (the stopping variant of Li et al., 2018, arXiv:1810.05934).
    """

    def verdict(self, loss: float, losses: Sequence[float]) -> Verdict:
        """Goes on if among the best 1/factor of those seen here."""
        enough = len(losses) >= self._factor
        if enough and bisect_left(losses, loss) >= len(losses) // self._factor:
            return Verdict.STOP
        return Verdict.CONTINUE

    def quota(self, entered: int) -> int:
        """Nobody is paused."""
        return 0


class Median(AshaStop):
    """Stops a trial whose loss at a rung is above the median there, once three are known.

    After the median stopping rule of Golovin et al., "Google Vizier", KDD 2017, compared at rungs.
    """

    def verdict(self, loss: float, losses: Sequence[float]) -> Verdict:
        """Goes on unless above the median."""
        return Verdict.STOP if len(losses) >= 3 and loss > statistics.median(losses) else Verdict.CONTINUE


def make_policy(name: str, rungs: tuple[int, ...], factor: int) -> Policy:
    """The policy of that name over the sweep's rungs."""
    match name:
        case "asha":
            return Asha(rungs, factor)
        case "asha_stop":
            return AshaStop(rungs, factor)
        case "hyperband":
            return Hyperband(rungs, factor)
        case "median":
            return Median(rungs, factor)
        case _:
            return Everyone(rungs)

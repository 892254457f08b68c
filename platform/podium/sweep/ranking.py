"""Ranking: which trials may be called best, and which is. Pure."""

import math
from collections.abc import Iterable
from itertools import starmap
from operator import le

from podium.spec.constraints import parse
from podium.spec.sweep import Objective, SweepSpec
from podium.sweep.trial import Trial, TrialState


class Ranking:
    """Compares trials by the sweep's objectives under its constraints."""

    def __init__(self, spec: SweepSpec) -> None:
        self._objectives = spec.search.objectives
        self._constraints = tuple(parse(text) for text in spec.search.constraints)

    def losses(self, values: tuple[float | None, ...]) -> tuple[float, ...]:
        """The values with their signs turned so that lower is better; infinity for one that is not finite."""
        return tuple(starmap(_loss, zip(values, self._objectives, strict=True)))

    def loss(self, values: tuple[float | None, ...]) -> float:
        """The first objective's loss."""
        return _loss(values[0], self._objectives[0])

    def is_candidate(self, trial: Trial) -> bool:
        """Whether a trial has values, has not diverged or failed, and meets the constraints."""
        if trial.state in (TrialState.DIVERGED, TrialState.FAILED) or not trial.values:
            return False
        return all(constraint.violation(trial.metrics) <= 0 for constraint in self._constraints)

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """The best first objective among the candidates that reached the highest rung reached."""
        return min(filter(self.is_candidate, trials), key=self.order, default=None)

    def order(self, trial: Trial) -> tuple[float, ...]:
        """Sorts candidates: those of the highest rung first, then by loss, then by number."""
        return (-trial.rung, self.loss(trial.last_values), trial.number)

    def front(self, trials: Iterable[Trial]) -> list[Trial]:
        """The candidates with finite values only that no other beats in every objective."""
        trials = list(trials)
        losses = {trial.number: self.losses(trial.last_values) for trial in filter(self.is_candidate, trials)}
        front = undominated(own for own in losses.values() if math.inf not in own)
        return [trial for trial in trials if losses.get(trial.number) in front]


def undominated(losses: Iterable[tuple[float, ...]]) -> set[tuple[float, ...]]:
    """Those that no other beats in everything; in order only an earlier one can.

    Of two losses one that does has the least second one so far; of more, the last one that did is asked first.
    """
    front: list[tuple[float, ...]] = []
    for own in sorted(set(losses)):
        rivals = front[-1:] if len(own) == 2 else front
        better = next((place for place, other in enumerate(rivals) if all(map(le, other, own))), None)
        if better is None:
            front.append(own)
        elif len(own) != 2:
            front.insert(0, front.pop(better))
    return set(front)


def _loss(value: float | None, objective: Objective) -> float:
    if value is None:
        return math.inf
    return -value if objective.direction == "maximize" else value

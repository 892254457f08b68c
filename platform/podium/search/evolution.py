"""CMA-ES, rebuilt for each ask by replaying the generations in the ledger; no state is kept anywhere else.

Hansen and Ostermeier, 2001, Evolutionary Computation 9(2); constants from Hansen, 2016, arXiv:1604.00772.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from cmaes import CMA

from podium.search.method import Point, seed_of
from podium.search.unit import from_unit
from podium.spec import constraints
from podium.spec.space import Parameter, Value
from podium.spec.space_checks import is_numeric
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

GENERATION = "cmaes.generation"
VECTOR = "cmaes.vector"
TOLD = "cmaes.told"

_SPREAD = 0.25
"""The first standard deviation, in widths of a domain: the middle half of each lies within one of them."""


class Evolution:
    """CMA-ES over the numbers that every trial has; other parameters are drawn at random.

    A trial's generation and vector stand in its attributes, and the numbers of the trials by which the generation
    before was ended. Diverged trials and those that miss a constraint count as the worst of their generation.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._space = spec.space()
        self._seed = spec.search.seed
        self._sign = -1.0 if spec.search.objectives[0].direction == "maximize" else 1.0
        self._constraints = tuple(map(constraints.parse, spec.search.constraints))
        self._moved = [parameter.name for parameter in self._space.parameters if is_numeric(parameter)]
        self._optimizer = self._fresh()
        self._told: tuple[int, ...] = ()

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point:
        """One point; with a moved number `given`, it belongs to no generation."""
        optimizer, told = self._replay([trials[earlier] for earlier in sorted(trials) if earlier != number])
        optimizer.reseed_rng(seed_of(self._seed, number))
        vector = dict(zip(self._moved, optimizer.ask().tolist(), strict=True))
        random = np.random.default_rng([self._seed, number])

        def choose(parameter: Parameter) -> Value:
            if parameter.name in given:
                return given[parameter.name]
            place = vector[parameter.name] if parameter.name in self._moved else random.random()
            return from_unit(parameter.domain, place)

        point = self._space.walk(choose)
        if given.keys() & set(self._moved):
            return Point(point)
        attributes: dict[str, Value] = {
            GENERATION: optimizer.generation,
            VECTOR: tuple(vector.values()),
            TOLD: told,
        }
        return Point(point, attributes)

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point:
        """A point like any other: with numbers that it shared, it would belong to no generation."""
        return self.draw(number, {}, trials)

    def _replay(self, trials: Sequence[Trial]) -> tuple[CMA, tuple[int, ...]]:
        """The optimizer after every generation that is full, and the trials that were the last of them.

        It goes on from where the last ask left it, since what came before cannot have changed.
        """
        generations: dict[int, list[Trial]] = {}
        for trial in trials:
            generation = trial.attributes.get(GENERATION)
            if isinstance(generation, int):
                generations.setdefault(generation, []).append(trial)
        if self._told != _numbers(self._members(generations, self._optimizer.generation - 1)):
            self._optimizer, self._told = self._fresh(), ()
        while True:
            members = self._members(generations, self._optimizer.generation)
            if len(members) < self._optimizer.population_size:
                return self._optimizer, self._told
            ranked = sorted(members, key=lambda trial: (self._merit(trial), trial.number))
            self._optimizer.tell([(np.array(trial.attributes[VECTOR]), rank) for rank, trial in enumerate(ranked)])
            self._told = _numbers(members)

    def _fresh(self) -> CMA:
        dimensions = len(self._moved)
        return CMA(
            mean=np.full(dimensions, 0.5),
            sigma=_SPREAD,
            bounds=np.tile([0.0, 1.0], (dimensions, 1)),
            seed=seed_of(self._seed),
        )

    def _members(self, generations: Mapping[int, Sequence[Trial]], generation: int) -> list[Trial]:
        """The trials that end a generation, ascending by number; too few if it is not full yet.

        They are the first that ended, as the first trial of the generation after noted.
        """
        members = generations.get(generation, ())
        following = generations.get(generation + 1)
        if following:
            noted = following[0].attributes[TOLD]
            assert isinstance(noted, tuple)
            return [trial for trial in members if trial.number in noted]
        return [trial for trial in members if self._is_judged(trial)][: self._optimizer.population_size]

    def _is_judged(self, trial: Trial) -> bool:
        if trial.state in (TrialState.COMPLETE, TrialState.DIVERGED):
            return True
        return trial.state is TrialState.STOPPED and self._violation(trial) > 0

    def _merit(self, trial: Trial) -> tuple[float, float]:
        value = trial.last_values[0] if trial.state is TrialState.COMPLETE and trial.values else None
        return self._violation(trial), math.inf if value is None else self._sign * value

    def _violation(self, trial: Trial) -> float:
        return sum(max(0.0, constraint.violation(trial.metrics)) for constraint in self._constraints)


def _numbers(trials: Sequence[Trial]) -> tuple[int, ...]:
    return tuple(trial.number for trial in trials)

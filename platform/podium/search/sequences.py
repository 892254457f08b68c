"""Points that do not depend on results: a scrambled Sobol sequence, and a grid."""

from collections.abc import Iterator, Mapping

from podium.search.mates import Mates
from podium.search.method import Point, seed_of
from podium.search.unit import from_unit
from podium.spec.space import Parameter, Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial

Key = frozenset[tuple[str, Value]]


class Sobol:
    """A scrambled Sobol sequence (Sobol, 1967; Owen, 1998), one dimension for each parameter."""

    def __init__(self, spec: SweepSpec) -> None:
        self._space = spec.space()
        self._seed = spec.search.seed

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point:
        """The point `number` of the sequence."""
        from scipy.stats import qmc

        parameters = self._space.parameters
        if not parameters:
            return Point({})
        sequence = qmc.Sobol(len(parameters), scramble=True, rng=seed_of(self._seed))
        if number:
            sequence.fast_forward(number)
        places = dict(zip(map(id, parameters), sequence.random(1)[0], strict=True))

        def choose(parameter: Parameter) -> Value:
            if parameter.name in given:
                return given[parameter.name]
            return from_unit(parameter.domain, places[id(parameter)])

        return Point(self._space.walk(choose))

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point:
        """The point `number` of the sequence, but for what it shares with its lead."""
        return self.draw(number, Mates(self._space).shared(lead.parameters), trials)


class Grid:
    """Every combination of values once, in the order of the space.

    A given point takes the first combination that agrees with it; points beside the grid take none.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._space = spec.space()
        self._points: list[dict[str, Value]] = []
        self._rest = self._space.grid()
        self._taken: dict[int, Key] = {}

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point | None:
        """The first point that no trial before `number` has and that agrees with `given`; None beyond the last."""
        taken = self._taken_before(number, trials)
        free = (point for point in self._all() if _key(point) not in taken and _agrees(point, given))
        point = next(free, None)
        if point is None and given:
            point = self._beside(given)
        return None if point is None else self._take(number, point)

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point | None:
        """The first free point that can be a mate of `lead`; if there is none, the first free one of all."""
        taken = self._taken_before(number, trials)
        mates = Mates(self._space)
        shared = mates.shared(lead.parameters)
        points = ({**shared, **rest} for rest in mates.rest(shared).grid())
        free = (point for point in points if _key(point) not in taken and self._space.contains(point))
        point = next(free, None)
        return self.draw(number, {}, trials) if point is None else self._take(number, point)

    def _taken_before(self, number: int, trials: Mapping[int, Trial]) -> set[Key]:
        for earlier in trials.keys() - self._taken.keys():
            self._taken[earlier] = _key(trials[earlier].parameters)
        return {key for earlier, key in self._taken.items() if earlier < number}

    def _take(self, number: int, point: Mapping[str, Value]) -> Point:
        self._taken[number] = _key(point)
        return Point(dict(point))

    def _all(self) -> Iterator[dict[str, Value]]:
        """Every point of the grid, made when it is first reached."""
        yield from self._points
        for point in self._rest:
            self._points.append(point)
            yield point

    def _beside(self, given: Mapping[str, Value]) -> dict[str, Value]:
        def choose(parameter: Parameter) -> Value:
            values = parameter.domain.values()
            assert values
            return given.get(parameter.name, values[0])

        return self._space.walk(choose)


def _key(parameters: Mapping[str, Value]) -> Key:
    return frozenset(parameters.items())


def _agrees(point: Mapping[str, Value], given: Mapping[str, Value]) -> bool:
    return all(point[name] == value for name, value in given.items() if name in point)

"""Points that were settled beforehand: a promotion's finalists, or the trials of a sweep that is run again."""

from collections.abc import Mapping

from podium.search.method import Point
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial


class Listed:
    """Gives trial `number` the point `number` of `search.points`, whoever its mates are."""

    def __init__(self, spec: SweepSpec) -> None:
        self._points = spec.search.points

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point | None:
        """The point of that number; None beyond the last."""
        return Point(dict(self._points[number])) if number < len(self._points) else None

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point | None:
        """The same."""
        return self.draw(number, {}, trials)

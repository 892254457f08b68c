"""Learning curves of thousands of trials in little memory: columns that only grow, and copies of them."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from podium.sweep.messages import Event, Progress

Curve = Sequence[tuple[int, float | None]]


@dataclass
class Column:
    """The points of one metric as they came: trial, epoch, and the value, which is NaN where it is not finite."""

    trials: "array[int]" = field(default_factory=lambda: array("i"))
    epochs: "array[int]" = field(default_factory=lambda: array("i"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def curves(self, size: int, only: int | None = None) -> dict[int, Curve]:
        """By trial the value after each epoch, of the first `size` points; of a repeated epoch the last one counts."""
        trials, epochs, values = (np.array(each[:size]) for each in (self.trials, self.epochs, self.values))
        if not size:
            return {}
        if only is not None:
            own = trials == only
            trials, epochs, values, size = trials[own], epochs[own], values[own], int(own.sum())
            if not size:
                return {}
        order = np.lexsort((np.arange(size), epochs, trials))
        trials, epochs, values = trials[order], epochs[order], values[order]
        is_last = np.append((np.diff(trials) != 0) | (np.diff(epochs) != 0), True)
        trials, epochs, values = trials[is_last], epochs[is_last], values[is_last]
        starts = np.flatnonzero(np.append(True, np.diff(trials) != 0)).tolist()
        plain = [
            None if is_nan else value for is_nan, value in zip(np.isnan(values).tolist(), values.tolist(), strict=True)
        ]
        points = list(zip(epochs.tolist(), plain, strict=True))
        ends = [*starts[1:], len(points)]
        return {int(trials[start]): points[start:end] for start, end in zip(starts, ends, strict=True)}


@dataclass(frozen=True)
class Curves:
    """All curves at one moment."""

    columns: Mapping[str, Column]
    sizes: Mapping[str, int]

    @property
    def metrics(self) -> list[str]:
        """The metrics that have any point, by name."""
        return sorted(self.sizes)

    @property
    def num_points(self) -> int:
        """How many points there are."""
        return sum(self.sizes.values())

    def of(self, metric: str) -> dict[int, Curve]:
        """By trial the value after each epoch; empty for a metric that nobody has told of."""
        return self.columns[metric].curves(self.sizes[metric]) if metric in self.sizes else {}

    def of_trial(self, number: int) -> dict[str, Curve]:
        """By metric the curve of one trial."""
        found = {name: self.columns[name].curves(size, number) for name, size in self.sizes.items()}
        return {name: curves[number] for name, curves in sorted(found.items()) if curves}


class Gathered:
    """Takes events, and gives what there is of curves at any moment without copying it."""

    def __init__(self) -> None:
        self._columns: dict[str, Column] = {}

    def take(self, events: Iterable[Event]) -> None:
        """Notes the points of `Progress`."""
        for event in events:
            if isinstance(event, Progress):
                for lane in event.lanes:
                    for name, value in lane.metrics.items():
                        column = self._columns.get(name)
                        if column is None:
                            column = self._columns[name] = Column()
                        column.trials.append(lane.trial)
                        column.epochs.append(lane.epoch)
                        column.values.append(float("nan") if value is None else value)

    def now(self) -> Curves:
        """The curves as they are now; what comes later does not change them."""
        return Curves(dict(self._columns), {name: len(column.values) for name, column in self._columns.items()})

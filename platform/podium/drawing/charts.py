"""What the search plots show, as plain data; `plots` draws it for a browser and `pictures` for paper."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from podium.drawing.palette import LIGHT
from podium.spec.space import Float, Int, Parameter, Value
from podium.spec.sweep import Objective, SweepSpec
from podium.sweep.trial import Trial, TrialState

COLOURS = LIGHT.states
"""A colour for each state, the same wherever one is drawn."""

INK = LIGHT.ink
INACTIVE = -0.15
"""Where a parallel-coordinates axis shows trials that lack the parameter; its range is 0 to 1."""

Curves = Mapping[int, Mapping[str, Sequence[tuple[int, float | None]]]]
"""By trial and objective's metric, the value of every epoch."""


@dataclass(frozen=True)
class Series:
    """Points or a line in one colour; None in `y` breaks a line. `labels` name each point."""

    name: str
    kind: Literal["points", "line", "steps"]
    colour: str
    x: Sequence[float]
    y: Sequence[float | None]
    labels: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """Series over two axes."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Bars:
    """Horizontal bars, the longest first."""

    title: str
    x_label: str
    names: tuple[str, ...]
    lengths: tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """One axis of a parallel-coordinates plot: a position from 0 to 1 for each trial, and labelled ticks."""

    label: str
    positions: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Parallel:
    """Trials as lines over axes; `goodness` is 0 for the worst trial and 1 for the best."""

    title: str
    axes: tuple[Axis, ...]
    goodness: tuple[float, ...]


def charts(
    spec: SweepSpec, trials: Mapping[int, Trial], curves: Curves, importances: Mapping[str, float]
) -> dict[str, Chart | Bars | Parallel]:
    """The plots by name, those left out that have nothing to show.

    Several objectives have a `history` and `learning_curves` each; `parallel_coordinates` shows all of them and
    is coloured by the first.
    """
    drawn: dict[str, Chart | Bars | Parallel] = {}
    ordered = [trials[number] for number in sorted(trials)]
    objectives = spec.search.objectives
    for index, objective in enumerate(objectives):
        suffix = "" if len(objectives) == 1 else f"_{objective.metric.replace('/', '_')}"
        valued = [trial for trial in ordered if trial.last_values and trial.last_values[index] is not None]
        if valued:
            drawn[f"history{suffix}"] = _history(objective, index, valued)
        lines = _learning_curves(objective, ordered, curves)
        if lines.series:
            drawn[f"learning_curves{suffix}"] = lines
    if importances:
        ranked = sorted(importances.items(), key=lambda item: -item[1])
        drawn["importance"] = Bars(
            f"Which parameters decide {objectives[0].metric}",
            "share of the variance explained",
            tuple(name for name, _ in ranked),
            tuple(share for _, share in ranked),
        )
    complete = [trial for trial in ordered if trial.last_values and None not in trial.last_values]
    parallel = _parallel(spec, complete)
    if len(complete) > 1 and len(parallel.axes) > len(objectives):
        drawn["parallel_coordinates"] = parallel
    return drawn


def _history(objective: Objective, index: int, trials: Sequence[Trial]) -> Chart:
    def value(trial: Trial) -> float:
        number = trial.last_values[index]
        assert number is not None
        return number

    series = [
        Series(
            str(state),
            "points",
            COLOURS[state],
            [trial.number for trial in some],
            [value(trial) for trial in some],
            [f"trial {trial.number}, {trial.rung} epochs" for trial in some],
        )
        for state, some in _by_state(trials)
    ]
    rung = max(trial.rung for trial in trials)
    top = [trial for trial in trials if trial.rung == rung]
    better = max if objective.direction == "maximize" else min
    best: list[float | None] = []
    for trial in top:
        best.append(value(trial) if not best else better(best[-1], value(trial)))  # type: ignore[type-var]
    numbers = [trial.number for trial in top]
    series.append(
        Series(f"best so far at {rung} epochs", "steps", INK, numbers, best, [f"trial {number}" for number in numbers])
    )
    return Chart("Values by trial", "trial", _goal(objective), tuple(series))


def _learning_curves(objective: Objective, trials: Sequence[Trial], curves: Curves) -> Chart:
    def is_drawn(trial: Trial) -> bool:
        return any(value is not None for _, value in curves.get(trial.number, {}).get(objective.metric, ()))

    series = []
    for state, some in _by_state(filter(is_drawn, trials)):
        x: list[float] = []
        y: list[float | None] = []
        labels: list[str] = []
        for trial in some:
            curve = curves[trial.number][objective.metric]
            x += [*(epoch for epoch, _ in curve), math.nan]
            y += [*(value for _, value in curve), None]
            labels += [f"trial {trial.number}"] * (len(curve) + 1)
        series.append(Series(str(state), "line", COLOURS[state], x, y, labels))
    return Chart("Learning curves", "epoch", _goal(objective), tuple(series))


def _parallel(spec: SweepSpec, trials: Sequence[Trial]) -> Parallel:
    domains = {parameter.name: parameter for parameter in spec.space().parameters}
    axes = []
    for name in spec.search.space:
        values = [trial.parameters.get(name) for trial in trials]
        if any(value != values[0] for value in values):
            axes.append(axis(domains[name], values, [name in trial.parameters for trial in trials]))
    goodness: tuple[float, ...] = (0.0,) * len(trials)
    for index, objective in enumerate(spec.search.objectives):
        numbers = [float(trial.last_values[index] or 0) for trial in trials]
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        places = tuple(_place(number, low, high) for number in numbers)
        axes.append(Axis(objective.metric, places, ((0.0, f"{low:.4g}"), (1.0, f"{high:.4g}"))))
        if index == 0:
            goodness = places if objective.direction == "maximize" else tuple(1 - place for place in places)
    return Parallel("Parameters that vary, and what they lead to", tuple(axes), goodness)


def axis(parameter: Parameter, values: Sequence[Value], active: Sequence[bool]) -> Axis:
    """The axis of one parameter: numbers on their scale, choices evenly in the space's order.

    Args:
        parameter: Says which scale.
        values: Its value in each trial; anything where it is inactive.
        active: Whether it is active there.
    """
    absent = () if all(active) else ((INACTIVE, "inactive"),)
    if isinstance(parameter.domain, Float | Int):
        is_log = parameter.domain.log
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        low, high = min(numbers), max(numbers)
        middle = math.sqrt(low * high) if is_log else (low + high) / 2
        ends = [(0.0, f"{low:.3g}"), (0.5, f"{middle:.3g}"), (1.0, f"{high:.3g}")]
        places = [
            _place(float(value), low, high, is_log=is_log) if isinstance(value, int | float) else INACTIVE
            for value in values
        ]
        label = f"{parameter.name} (log)" if is_log else parameter.name
        return Axis(label, tuple(places), (*absent, *ends))
    tried = {value for value, is_active in zip(values, active, strict=True) if is_active}
    options = [option for option in parameter.domain.options if option in tried]
    last = max(len(options) - 1, 1)
    places = [
        options.index(value) / last if is_active else INACTIVE for value, is_active in zip(values, active, strict=True)
    ]
    return Axis(
        parameter.name, tuple(places), (*absent, *((index / last, str(option)) for index, option in enumerate(options)))
    )


def _place(value: float, low: float, high: float, *, is_log: bool = False) -> float:
    if low == high:
        return 0.5
    if is_log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low)


def _by_state(trials: Iterable[Trial]) -> Iterator[tuple[TrialState, list[Trial]]]:
    trials = list(trials)
    for state in COLOURS:
        some = [trial for trial in trials if trial.state is state]
        if some:
            yield state, some


def _goal(objective: Objective) -> str:
    return f"{objective.metric} ({objective.direction})"

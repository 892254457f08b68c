"""What the page of a comparison draws of each sweep, by the sum of all trials and the best few."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress, islice
from typing import Any
from xml.etree.ElementTree import Element  # written only: nothing is parsed

from podium.drawing import marks
from podium.drawing.aggregates import Band, Bin, band, bins, limits, sample
from podium.drawing.charts import INACTIVE, Axis, axis
from podium.drawing.svg import Plot, Scale, canvas, path, write
from podium.drawing.words import short
from podium.spec.space import Choice, Parameter, Value
from podium.spec.sweep import Objective, SweepSpec
from podium.sweep.ranking import Ranking
from podium.sweep.trial import Trial

MOST_BEST = 5
"""Trials of a sweep that are drawn most clearly."""

MOST_LINES, MOST_OTHERS = 200, 150
"""Trials of a sweep in parallel coordinates: the best in colour, of the others an even sample in grey."""

BINS = 8
SHADES = 5
BAR = 12
"""Units between two bars of one parameter."""

ROW = 50
"""Units between two axes of parallel coordinates, which lie below each other to be read on a narrow screen."""

PARALLEL_WIDTH = 440


@dataclass(frozen=True)
class Panel:
    """One sweep to be drawn.

    Attributes:
        index: Its place among the sweeps compared, which gives its colour.
        spec: Its settings.
        everything: All its trials.
        curves: By trial the first objective's value after each epoch.
        importances: By searched key its share in what separates the best trials; empty if unknown.
    """

    index: int
    spec: SweepSpec
    everything: Sequence[Trial]
    curves: Mapping[int, Sequence[tuple[int, float | None]]]
    importances: Mapping[str, float]

    @property
    def metric(self) -> str:
        """The first objective's metric."""
        return self.spec.search.objectives[0].metric

    @property
    def goal(self) -> str:
        """The first objective, and which way it is better."""
        return goal_of(self.spec.search.objectives[0])

    @property
    def goal_at_first(self) -> str:
        """Likewise, of the values at the first rung."""
        when = f" after {self._first_rung} epoch{'s' if self._first_rung > 1 else ''}"
        return goal_of(self.spec.search.objectives[0], when)

    def at_first(self, trial: Trial) -> float | None:
        """The value of a trial at the first rung, where no policy has chosen yet; None if it has none there."""
        return trial.values.get(self._first_rung, (None,))[0]

    @cached_property
    def firsts(self) -> list[tuple[Trial, float]]:
        """The trials that have a value at the first rung, and that value."""
        told = ((trial, self.at_first(trial)) for trial in self.everything)
        return [(trial, value) for trial, value in told if value is not None]

    @cached_property
    def _first_rung(self) -> int:
        return self.spec.rungs()[-1 if self.spec.budget.policy == "none" else 0]

    @property
    def is_maximized(self) -> bool:
        """Whether higher is better."""
        return self.spec.search.objectives[0].direction == "maximize"

    @cached_property
    def trials(self) -> list[Trial]:
        """Those that may be called best, in that order."""
        ranking = Ranking(self.spec)
        candidates = (trial for trial in self.everything if ranking.is_candidate(trial))
        return sorted((trial for trial in candidates if trial.last_values[0] is not None), key=ranking.order)

    @cached_property
    def band(self) -> Band:
        """What its learning curves have in common."""
        return band(self.curves.values())

    @cached_property
    def fixed(self) -> dict[str, Value]:
        """The values of settings that it does not search."""
        return self.spec.fixed()

    def value_of(self, trial: Trial, name: str) -> tuple[Value, bool]:
        """The value of a parameter, searched or fixed, and whether the trial has it."""
        if name in trial.parameters:
            return trial.parameters[name], True
        is_fixed = name in self.fixed
        return self.fixed.get(name), is_fixed


def goal_of(objective: Objective, when: str = "") -> str:
    """An objective's metric, and which way it is better."""
    return f"{objective.metric}{when} ({'higher' if objective.direction == 'maximize' else 'lower'} is better)"


def varying(panels: Sequence[Panel]) -> list[str]:
    """The searched parameters that are not the same in all trials drawn."""
    names = dict.fromkeys(name for panel in panels for name in panel.spec.search.space)

    def is_varying(name: str) -> bool:
        found = (panel.value_of(trial, name) for panel in panels for trial in panel.trials)
        first = next(found, None)
        return any(other != first for other in found)

    return [name for name in names if is_varying(name)]


def learning_curves(parent: Element, panel: Panel, panels: Sequence[Panel]) -> str:
    """Draws the band of one sweep's curves and its best, on the same axes for all.

    Epochs lie on a log scale, on which rungs are evenly apart.

    Returns:
        How many trials it is of, and how many reached each rung.
    """
    peers = [other for other in panels if other.goal == panel.goal]
    drawn = [value for other in peers for value in (*other.band.middle, *_best_values(other))]
    reach = [value for other in peers for value in (*other.band.low, *other.band.high)]
    last = max(max(other.band.epochs, default=1) for other in panels)
    (ends, ticks), label = marks.epoch_axis(panel.spec.rungs(), last), f"Learning curves of {panel.spec.sweep}"
    plot = Plot(parent, label, ends, limits(drawn, reach), ("epoch (log)", panel.goal))
    plot.grid(ticks, plot.y.ticks())
    found, colour = panel.band, f"s{panel.index % 6}"
    epochs = [marks.across(epoch) for epoch in found.epochs]
    plot.area(epochs, found.low, found.high, colour)
    for trial in reversed(panel.trials[:MOST_BEST]):
        plot.line(marks.points(panel.curves.get(trial.number, ())), f"{colour} best", marks.title(trial))
    plot.line(list(zip(epochs, found.middle, strict=True)), f"{colour} median")
    counts = dict(zip(found.epochs, found.counts, strict=True))
    told = [f"{counts[rung]:,} reached epoch {rung}" for rung in panel.spec.rungs() if rung in counts]
    return f"{len(panel.curves):,} trials{': ' if told else ''}{', '.join(told)}"


def parallel(parent: Element, panel: Panel, panels: Sequence[Panel], names: Sequence[str]) -> str:
    """Draws one sweep's trials as lines over axes that all sweeps share; returns how many are drawn of how many."""
    drawn = [(each, trial) for each in panels for trial in _chosen(each)]
    axes = [axis_of(name, drawn) for name in names]
    low, high = _reached(_last(trial) for each in panels if each.goal == panel.goal for trial in _best_of(each))
    height = ROW * (len(axes) + 1) + 12
    svg = canvas(parent, f"Parameters of {panel.spec.sweep}", PARALLEL_WIDTH, height)
    across = Scale(min([-0.03, *(place for one in axes for place in one.positions)]), 1.03, 8, PARALLEL_WIDTH - 8)
    value = Scale(low, high, across(0), across(1))
    rows = [ROW * (index + 1) - 16 for index in range(len(axes) + 1)]
    best, order = _best_of(panel), {id(trial): place for place, trial in enumerate(panel.trials)}
    own = [index for index, (each, _) in enumerate(drawn) if each is panel]
    for index in sorted(own, key=lambda index: -order[id(drawn[index][1])]):
        trial = drawn[index][1]
        place = order[id(trial)]
        points = [(across(one.positions[index] + _spread(one, place)), y) for one, y in zip(axes, rows, strict=False)]
        points.append((value(_last(trial)), rows[-1]))
        path(svg, points, f"line {_shade(place, len(best))}", marks.title(trial))
    texts = (f"≤ {low:.4g}", f"{high:.4g}") if panel.is_maximized else (f"{low:.4g}", f"≥ {high:.4g}")
    objective = Axis(panel.goal, (), ((0.0, texts[0]), (1.0, texts[1])))
    for one, y in zip([*axes, objective], rows, strict=True):
        path(svg, [(across(across.low), y), (across(across.high), y)], "axis")
        write(svg, (8, y - 10), one.label, "label halo")
        for at, text in one.ticks:
            write(svg, (across(at), y + 13), marks.clip(text), f"tick halo {_anchor(at)}")
    others = f": the best {len(best):,} and {len(own) - len(best):,} others" if len(own) > len(best) else ""
    return f"{len(own):,} of {len(panel.trials):,} trials with a value{others}"


def importances(parent: Element, panels: Sequence[Panel]) -> None:
    """Draws the importance of each parameter, the bars of all sweeps below each other."""
    names = {name for panel in panels for name in panel.importances}
    most = {name: max(panel.importances.get(name, 0.0) for panel in panels) for name in names}
    ordered = sorted(names, key=lambda name: (-most[name], name))
    row = 24 + BAR * len(panels)
    svg = canvas(parent, "Importance of parameters", PARALLEL_WIDTH, row * len(ordered) + 4)
    scale = Scale(0, max(most.values()), 8, PARALLEL_WIDTH - 60)
    for index, name in enumerate(ordered):
        y = index * row + 14
        write(svg, (8, y), name, "label")
        for place, panel in enumerate(panels):
            share, at = panel.importances.get(name), y + 11 + place * BAR
            if share is not None:
                path(svg, [(8, at), (scale(share), at)], f"share s{panel.index % 6}")
                write(svg, (scale(share) + 5, at + 3.5), f"{share:.1%}", "tick")


def slices(parent: Element, panels: Sequence[Panel], name: str) -> None:
    """Draws the value at the first rung against one parameter: medians in bins, and where the best trials lie."""
    first = [(panel, trial) for panel in panels for trial, _ in panel.firsts]
    best = [(panel, trial) for panel in panels for trial in panel.trials[: MOST_BEST * 10]]
    one = axis_of(name, [*first, *best])
    places = one.positions
    is_discrete = len(set(places)) <= BINS * 2
    medians: list[tuple[Panel, list[Bin]]] = []
    rest = iter(places)
    for panel in panels:
        values = [value for _, value in panel.firsts]
        own = list(islice(rest, len(values)))
        medians.append((panel, bins(own, values, None if is_discrete else BINS)))
    drawn = [end for _, found in medians for each in found for end in (each.low, each.median, each.high)]
    low, high = limits([end for end in drawn if end is not None], ())
    room = (high - low) * 0.05 * (len(panels) + 1)
    label, goal = f"{panels[0].metric} against {name}", panels[0].goal_at_first
    ends = (min([-0.04, *places]) - 0.04, 1.08)
    plot = Plot(parent, label, ends, (low, high + room), (one.label, goal))
    plot.grid([(place, marks.clip(text)) for place, text in one.ticks], plot.y.ticks())
    for index, (panel, _) in enumerate(best, start=len(first)):
        top = high + room * (1 - panels.index(panel) / (len(panels) + 1))
        mark = (top - room / (len(panels) + 2), top)
        plot.bar(places[index], *mark, f"mark s{panel.index % 6}", jitter(index) * 40 if is_discrete else 0.0)
    for panel, found in medians:
        colour, shift = f"s{panel.index % 6}", _shift(panel, panels) if is_discrete else 0.0
        if not is_discrete:
            plot.line([(each.place, each.median) for each in found if each.place >= 0], f"{colour} best")
        for each in found:
            title = f"{each.count:,} trials, median {each.median:.5g}"
            if each.low is not None and each.high is not None:
                plot.bar(each.place, each.low, each.high, f"interval {colour}", shift)
            plot.dot((each.place, each.median), 4, colour, title, shift)


def _best_of(panel: Panel) -> list[Trial]:
    return panel.trials[:MOST_LINES]


def _chosen(panel: Panel) -> list[Trial]:
    return [*_best_of(panel), *sample(panel.trials[MOST_LINES:], MOST_OTHERS)]


def axis_of(name: str, drawn: Sequence[tuple[Panel, Trial]]) -> Axis:
    """One axis for the trials of all sweeps; what is searched by choice, and few whole numbers, stand evenly apart.

    A value that has no place on the axis, such as the 0 of a sweep that leaves out what another searches on a log
    scale, stands where inactive parameters do.
    """
    specs = [panel.spec for panel in {id(panel): panel for panel, _ in drawn}.values()]
    found = [one for spec in specs for one in spec.space().parameters if one.name == name]
    parameter = next((one for one in found if isinstance(one.domain, Choice)), found[0])
    values = [trial.parameters.get(name, panel.fixed.get(name)) for panel, trial in drawn]
    active = [name in trial.parameters or name in panel.fixed for panel, trial in drawn]
    few: dict[Any, None] = dict.fromkeys(compress(values, active))
    if isinstance(parameter.domain, Choice):
        return axis(Parameter(name, Choice(tuple({**dict.fromkeys(parameter.domain.options), **few}))), values, active)
    if len(few) <= BINS and all(isinstance(value, int) for value in few):
        return axis(Parameter(name, Choice(tuple(sorted(few)))), values, active)
    least = 0.0 if parameter.domain.log else -math.inf
    placed = [isinstance(value, int | float) and value > least for value in values]
    made = axis(parameter, [value if there else None for value, there in zip(values, placed, strict=True)], placed)
    outside = {short(value) for value, has, there in zip(values, active, placed, strict=True) if has and not there}
    if not outside:
        return made
    label = ", ".join(sorted(outside)) + (" or inactive" if not all(active) else "")
    return replace(made, ticks=tuple((at, label if at == INACTIVE else text) for at, text in made.ticks))


def _reached(values: Iterable[float]) -> tuple[float, float]:
    """The ends of the objective's axis; lines of worse trials end at its worse end."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    return (low, high) if low < high else limits(ordered, ())


def _spread(one: Axis, place: int) -> float:
    """Draws lines apart that meet in one of few values."""
    return jitter(place) * 0.05 if len(set(one.positions)) <= BINS else 0.0


def jitter(place: int) -> float:
    """Between -0.5 and 0.5, and far from that of the next."""
    return place * 0.618 % 1 - 0.5


def _shade(place: int, count: int) -> str:
    if place < MOST_BEST:
        return "top"
    return f"g{SHADES - 1 - place * SHADES // count}" if place < count else "rest"


def _shift(panel: Panel, panels: Sequence[Panel]) -> float:
    """Sweeps stand beside each other."""
    return (panels.index(panel) - (len(panels) - 1) / 2) * 9


def _best_values(panel: Panel) -> list[float]:
    return [
        value for trial in panel.trials[:MOST_BEST] for _, value in marks.points(panel.curves.get(trial.number, ()))
    ]


def _last(trial: Trial) -> float:
    value = trial.last_values[0]
    assert value is not None
    return value


def _anchor(place: float) -> str:
    return {0.0: "start", 1.0: "end"}.get(place, "start" if place == INACTIVE else "middle")

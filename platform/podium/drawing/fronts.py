"""Several objectives of one sweep against each other."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing.aggregates import limits_from_best, sample
from podium.drawing.marks import MOST_IN_CLOUDS, href, legend_of_states, scatter
from podium.drawing.panels import Panel, goal_of
from podium.drawing.svg import HEIGHT, SMALL, WIDTH, Link, Plot
from podium.sweep.ranking import Ranking

MOST_MARKED = 60


def fronts(parent: Element, panel: Panel, link: Link | None = None) -> str:
    """Draws the first objective against each other one, and marks the trials that no other beats in all of them.

    Every trial stands at its values at the highest rung that it reached. The front of two objectives is joined by a
    line; of more, none of the charts shows it alone.

    Returns:
        How many trials are on the front, in words; empty for a sweep with one objective or without values.
    """
    objectives = panel.spec.search.objectives
    placed = [(trial, _finite(values)) for trial in panel.trials if None not in (values := trial.last_values)]
    if len(objectives) == 1 or not placed:
        return ""
    best = {trial.number for trial in Ranking(panel.spec).front(panel.trials)}
    front = sorted((each for each in placed if each[0].number in best), key=lambda each: each[1])
    legend_of_states(parent, [trial for trial, _ in placed])
    shown = sample(placed, MOST_IN_CLOUDS)
    is_alone = len(objectives) == 2
    grid = parent if is_alone else SubElement(parent, "div", {"class": "multiples"})
    for other in range(1, len(objectives)):
        ends = [
            limits_from_best(
                [values[index] for _, values in placed], is_maximized=objectives[index].direction == "maximize"
            )
            for index in (0, other)
        ]
        names = goal_of(objectives[0]), goal_of(objectives[other])
        label = f"{objectives[other].metric} against {objectives[0].metric}"
        size = (WIDTH, HEIGHT) if is_alone else SMALL
        plot = Plot(grid, label, ends[0], ends[1], names, size=size, has_links=link is not None)
        plot.grid(plot.x.ticks(), plot.y.ticks())
        scatter(plot, [(trial, (values[0], values[other])) for trial, values in shown], link)
        if is_alone:
            plot.line([(values[0], values[1]) for _, values in front], "whole steps", "Pareto front")
        for trial, values in sample(front, MOST_MARKED):
            told = ", ".join(f"{one.metric} {value:.5g}" for one, value in zip(objectives, values, strict=True))
            where = (values[0], values[other])
            plot.dot(where, 4, f"{trial.state} first", f"trial {trial.number}: {told}", href=href(link, trial))
    return (
        f"{len(front):,} of {len(placed):,} trials are on the Pareto front (ringed): none is better in every objective."
    )


def _finite(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(value for value in values if value is not None)

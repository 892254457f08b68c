"""The values of one sweep's trials in the order of their numbers."""

from itertools import pairwise
from xml.etree.ElementTree import Element  # written only: nothing is parsed

from podium.drawing.aggregates import limits_from_best
from podium.drawing.marks import MOST_IN_CLOUDS, href, legend_of_states, scatter, title
from podium.drawing.panels import MOST_BEST, Panel
from podium.drawing.svg import Link, Plot
from podium.sweep.trial import Trial


def history(parent: Element, panel: Panel, link: Link | None = None) -> str:
    """Draws each trial's value at the highest rung that it reached, by its number, and the best so far as steps.

    The steps are of the trials that reached the highest rung of all. Trials without a value stand at the worse end.

    Returns:
        How many trials have a value, in words; empty if none has.
    """
    valued = {trial.number: value for trial in panel.everything if (value := _value(trial)) is not None}
    if not valued:
        return ""
    shown = [trial for trial in panel.everything if trial.number in valued or trial.state.is_ended]
    low, high = limits_from_best(valued.values(), is_maximized=panel.is_maximized)
    worst = low if panel.is_maximized else high
    legend_of_states(parent, shown)
    last = shown[-1].number
    label, ends = f"Values of {panel.spec.sweep} by trial", (-0.02 * max(last, 1), last * 1.02 or 1.0)
    plot = Plot(parent, label, ends, (low, high), ("trial", panel.goal), has_links=link is not None)
    plot.grid(plot.x.ticks(whole=True), plot.y.ticks())
    scatter(plot, [(trial, (trial.number, valued.get(trial.number, worst))) for trial in shown], link)
    _steps(plot, panel, last)
    best = panel.trials[:MOST_BEST]
    for trial in reversed(best):
        radius, kind = (4.5, "first") if trial is best[0] else (3.2, "")
        where, said = (trial.number, valued[trial.number]), title(trial)
        plot.dot(where, radius, f"{trial.state} {kind}".strip(), said, href=href(link, trial))
    without = len(shown) - len(valued)
    none = f"; {without:,} ended without one and stand at the worse end" if without else ""
    part = " Dots: an even sample of them." if len(shown) > MOST_IN_CLOUDS else ""
    top = f" Line: the best so far at epoch {best[0].rung}." if best else ""
    return f"{len(valued):,} of {len(panel.everything):,} trials have a value{none}.{part}{top}"


def _steps(plot: Plot, panel: Panel, last: int) -> None:
    """The best so far among the trials of the highest rung."""
    rung, sign = panel.trials[0].rung if panel.trials else 0, -1 if panel.is_maximized else 1
    found: list[tuple[float, float]] = []
    for trial in sorted((trial for trial in panel.trials if trial.rung == rung), key=lambda trial: trial.number):
        value = _value(trial)
        if value is not None and (not found or sign * value < sign * found[-1][1]):
            found.append((trial.number, value))
    if not found:
        return
    corners = [found[0]]
    for (_, before), (at, value) in pairwise(found):
        corners += [(at, before), (at, value)]
    corners.append((last, found[-1][1]))
    plot.line(corners, "whole steps", f"best so far at epoch {rung}")


def _value(trial: Trial) -> float | None:
    values = trial.last_values
    return values[0] if values else None

"""The values of one sweep's trials in the order of their numbers."""

from collections import Counter
from itertools import pairwise
from xml.etree.ElementTree import Element  # written only: nothing is parsed

from podium.drawing.aggregates import limits, sample
from podium.drawing.marks import href, legend_of_states, title
from podium.drawing.panels import MOST_BEST, Panel
from podium.drawing.svg import Link, Plot
from podium.sweep.trial import Trial

MOST_DOTS = 150
"""More trials are drawn as clouds of dots, and only the best of them one by one."""

MOST_IN_CLOUDS = 2000
"""Of more an even sample is drawn."""

SHOWN = 0.9
"""The axis shows at least this share of the trials, from the best on, and of worse ones as much again at most."""


def history(parent: Element, panel: Panel, link: Link | None = None) -> str:
    """Draws each trial's value at the highest rung that it reached, by its number, and the best so far as steps.

    The steps are of the trials that reached the highest rung of all. Trials without a value stand at the worse end.

    Returns:
        How many trials have a value, in words; empty if none has.
    """
    valued = {trial.number: value for trial in panel.everything if (value := _value(trial)) is not None}
    if not valued:
        return ""
    without = [trial for trial in panel.everything if trial.number not in valued and trial.state.is_ended]
    ordered = sorted(valued.values(), reverse=panel.is_maximized)
    certain = ordered[: max(1, round(SHOWN * len(ordered)))]
    low, high = limits(certain, ordered)
    worst = low if panel.is_maximized else high
    legend_of_states(parent, [trial for trial in panel.everything if trial.number in valued or trial.state.is_ended])
    last = max(trial.number for trial in panel.everything)
    label = f"Values of {panel.spec.sweep} by trial"
    ends = (-0.02 * max(last, 1), last * 1.02 or 1.0)
    plot = Plot(parent, label, ends, (low, high), ("trial", panel.goal), has_links=link is not None)
    plot.grid(plot.x.ticks(whole=True), plot.y.ticks())
    is_many, best = len(panel.everything) > MOST_DOTS, panel.trials[:MOST_BEST]
    rest = [trial for trial in panel.everything if trial.number in valued]
    in_clouds = sample([*without, *(rest if is_many else [])], MOST_IN_CLOUDS)
    for state, _ in Counter(trial.state for trial in in_clouds).most_common():
        some = [trial.number for trial in in_clouds if trial.state is state]
        plot.cloud([(number, valued.get(number, worst)) for number in some], str(state))
    _steps(plot, panel)
    for trial in best if is_many else rest:
        radius, kind = (4.5, f"{trial.state} first") if best and trial is best[0] else (3.2, str(trial.state))
        plot.dot((trial.number, valued[trial.number]), radius, kind, title(trial), href=href(link, trial))
    told = f"{len(valued):,} of {len(panel.everything):,} trials have a value"
    none = f"; {len(without):,} ended without one and stand at the worse end" if without else ""
    part = " Dots: an even sample of them." if is_many and len(panel.everything) > MOST_IN_CLOUDS else ""
    top = f" Line: the best so far at epoch {best[0].rung}." if best else ""
    return f"{told}{none}.{part}{top}"


def _steps(plot: Plot, panel: Panel) -> None:
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
    corners.append((panel.everything[-1].number, found[-1][1]))
    plot.line(corners, "whole steps", f"best so far at epoch {rung}")


def _value(trial: Trial) -> float | None:
    return trial.last_values[0] if trial.last_values else None

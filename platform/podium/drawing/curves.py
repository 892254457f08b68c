"""Learning curves of one sweep, and those of points that were repeated over trial seeds."""

from statistics import median
from xml.etree.ElementTree import Element  # written only: nothing is parsed

from podium.drawing.aggregates import band, limits, sample
from podium.drawing.marks import across, epoch_axis, href, legend, legend_of_states, points, title
from podium.drawing.panels import Panel
from podium.drawing.svg import Link, Plot
from podium.sweep.seeds import repeated
from podium.sweep.trial import Trial

MOST_CURVES = 60
"""Of more trials an even sample is drawn one by one, over the band of all."""

MOST_POINTS = 3000
"""All lines together have about so many points at most."""

MOST_REPEATED = 5


def state_curves(parent: Element, panel: Panel, link: Link | None = None, metric: str = "") -> str:
    """Draws the learning curves of one sweep, coloured by the states of its trials, the best one marked.

    Epochs lie on a log scale with the rungs as ticks. Of many trials the median of all and their middle 80% are drawn
    with an even sample.

    Args:
        parent: What it becomes part of.
        panel: The sweep.
        link: Where a trial's curve leads.
        metric: What the panel's curves show if not the first objective.

    Returns:
        What is drawn of how many, in words; empty if there are no curves.
    """
    shown = [trial for trial in panel.everything if any(value is not None for _, value in _curve(panel, trial))]
    if not shown:
        return ""
    is_many = len(shown) > MOST_CURVES
    best = next((trial for trial in panel.trials if points(_curve(panel, trial))), None)
    drawn = [trial for trial in sample(shown, MOST_CURVES) if trial is not best]
    found, most = panel.band, MOST_POINTS // (len(drawn) + 1)
    lines = [sample(points(_curve(panel, trial)), most) for trial in (*drawn, *([best] if best else []))]
    reach = [*found.low, *found.high] if is_many else [value for line in lines for _, value in line]
    certain = [*found.middle, *([value for _, value in lines[-1]] if best else [])]
    legend_of_states(parent, shown)
    ends, ticks = epoch_axis(panel.spec.rungs(), found.epochs[-1])
    label = f"Learning curves of {panel.spec.sweep}"
    axes = ("epoch (log)", metric or panel.goal)
    plot = Plot(parent, label, ends, limits(certain, reach), axes, has_links=link is not None)
    plot.grid(ticks, plot.y.ticks())
    if is_many:
        epochs = [across(epoch) for epoch in found.epochs]
        plot.area(epochs, found.low, found.high, "whole")
    for trial, line in zip(drawn, lines, strict=False):
        kind = f"{trial.state} {'thin' if is_many else ''}".strip()
        _line(plot, line, kind, trial, link, is_stop=not is_many)
    if is_many:
        plot.line(list(zip(epochs, found.middle, strict=True)), "whole median", "median of all trials")
    if best is None:
        return _told(len(shown), len(drawn), is_many=is_many)
    _line(plot, lines[-1], f"{best.state} first", best, link, is_stop=True)
    plot.dot(lines[-1][-1], 4, str(best.state))
    told = _told(len(shown), len(drawn) + 1, is_many=is_many)
    return f"{told} Thick: trial {best.number}, the best at epoch {best.rung}."


def seeds(parent: Element, panel: Panel, link: Link | None = None) -> str:
    """Draws points that were tried with several trial seeds: of each the median curve, and from least to most a band.

    The points with the best medians at the last epoch that all of their trials reached come first, `MOST_REPEATED` at
    most.

    Returns:
        What is drawn of how many, in words; empty if no point was repeated.
    """
    groups = [[trial for trial in trials if points(_curve(panel, trial))] for trials in repeated(panel.everything)]
    groups = [trials for trials in groups if len(trials) > 1]
    if not groups:
        return ""
    groups = _best_first(panel, groups)
    chosen = [
        (trials, band((_curve(panel, trial) for trial in trials), (0, 50, 100))) for trials in groups[:MOST_REPEATED]
    ]
    names = [_point(trials) for trials, _ in chosen]
    legend(parent, [(f"s{place}", name) for place, name in enumerate(names)])
    ends, ticks = epoch_axis(panel.spec.rungs(), max(found.epochs[-1] for _, found in chosen))
    drawn = [value for _, found in chosen for value in found.middle]
    reach = [value for _, found in chosen for value in (*found.low, *found.high)]
    axes, label = ("epoch (log)", panel.goal), f"Repeated points of {panel.spec.sweep}"
    plot = Plot(parent, label, ends, limits(drawn, reach), axes, has_links=link is not None)
    plot.grid(ticks, plot.y.ticks())
    for place, (_, found) in enumerate(chosen):
        plot.area([across(epoch) for epoch in found.epochs], found.low, found.high, f"s{place}")
    for place, ((trials, found), name) in enumerate(zip(chosen, names, strict=True)):
        middle = [(across(epoch), value) for epoch, value in zip(found.epochs, found.middle, strict=True)]
        said = f"median of {name}"
        plot.line(middle, f"s{place} median", said, href(link, trials[0]))
        if len(middle) == 1:
            plot.bar(middle[0][0], found.low[0], found.high[0], f"interval s{place}")
            plot.dot(middle[0], 4, f"s{place}", said)
    others = f"the {len(chosen)} best of {len(groups):,}" if len(groups) > len(chosen) else f"{len(groups):,}"
    return f"{others[0].upper()}{others[1:]} points tried with several trial seeds. Shaded: lowest to highest."


def _best_first(panel: Panel, groups: list[list[Trial]]) -> list[list[Trial]]:
    """Repeated points by the medians at the last epoch at which all of their trials have values."""
    found = [
        [{epoch: value for epoch, value in _curve(panel, trial) if value is not None} for trial in trials]
        for trials in groups
    ]
    last = max(set.intersection(*({*curve} for curves in found for curve in curves)), default=None)
    if last is None:
        return groups
    medians = [median(curve[last] for curve in curves) for curves in found]
    order = sorted(range(len(groups)), key=lambda place: medians[place], reverse=panel.is_maximized)
    return [groups[place] for place in order]


def _curve(panel: Panel, trial: Trial) -> list[tuple[int, float | None]]:
    return list(panel.curves.get(trial.number, ()))


def _line(
    plot: Plot, line: list[tuple[float, float]], kind: str, trial: Trial, link: Link | None, *, is_stop: bool
) -> None:
    """A curve; of one point a dot."""
    if len(line) == 1:
        plot.dot(line[0], 2.5, kind, title(trial), href=href(link, trial), is_stop=is_stop)
    else:
        plot.line(line, kind, title(trial), href(link, trial), is_stop=is_stop)


def _told(count: int, drawn: int, *, is_many: bool) -> str:
    if not is_many:
        return f"{count:,} {'trial' if count == 1 else 'trials'}."
    return f"{drawn:,} of {count:,} trials, and the median of all with the middle 80% of them shaded."


def _point(trials: list[Trial]) -> str:
    """How many seeds, and which trials."""
    numbers = sorted(trial.number for trial in trials)
    listed = ", ".join(map(str, numbers[:4])) + (", …" if len(numbers) > 4 else "")
    return f"trials {listed} ({len(numbers)} seeds)"

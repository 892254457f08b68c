"""What the charts of one sweep have in common: legends of states, the names of trials, and where epochs lie."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing.aggregates import sample
from podium.drawing.svg import Link, Plot, Point
from podium.masking import Secrets
from podium.sweep.trial import Trial, TrialState

MOST_DOTS, MOST_IN_CLOUDS = 150, 2000


def legend(parent: Element, entries: Iterable[tuple[str, str]]) -> None:
    """Writes what the colours of a chart mean: for each class of the style sheet its name."""
    line = SubElement(parent, "p", {"class": "legend"})
    for kind, name in entries:
        entry = SubElement(line, "span", {"class": "entry"})
        SubElement(entry, "span", {"class": f"chip {kind}"})
        SubElement(entry, "span", {"class": "name"}).text = name


def legend_of_states(parent: Element, trials: Iterable[Trial]) -> None:
    """Writes how many trials are in each state that any is in."""
    counts = Counter(trial.state for trial in trials)
    legend(parent, [(state, f"{state} {counts[state]:,}") for state in TrialState if counts[state]])


def scatter(plot: Plot, placed: Sequence[tuple[Trial, Point]], link: Link | None) -> None:
    """Draws trials in the colours of their states: few as dots that lead to them, many as clouds of an even sample.

    The tab key passes them by.
    """
    if len(placed) <= MOST_DOTS:
        for trial, point in placed:
            plot.dot(point, 3.2, str(trial.state), title(trial), href=href(link, trial), is_stop=False)
        return
    shown = sample(placed, MOST_IN_CLOUDS)
    for state, _ in Counter(trial.state for trial, _ in shown).most_common():
        plot.cloud([point for trial, point in shown if trial.state is state], str(state))


def href(link: Link | None, trial: Trial) -> str:
    """Where a trial's mark leads; empty if nowhere."""
    return "" if link is None else link(trial.number)


def title(trial: Trial) -> str:
    """What a trial's mark says when one points at it."""
    value = f": {trial.last_values[0]:.5g}" if trial.last_values and trial.last_values[0] is not None else ""
    rung = f" at epoch {trial.rung}" if value else ""
    return f"trial {trial.number}, {trial.state}{value}{rung}"


def clip(text: str, most: int = 12) -> str:
    """The beginning of a text; secrets are masked while they are whole."""
    text = Secrets().hide(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def across(epoch: float) -> float:
    """Where an epoch lies on a log scale; a training function may count from 0."""
    return math.log(max(epoch, 1))


def points(curve: Sequence[tuple[int, float | None]]) -> list[Point]:
    """The finite values of a learning curve over the log of its epochs."""
    return [(across(epoch), value) for epoch, value in curve if value is not None]


def epoch_axis(rungs: Iterable[int], last: int) -> tuple[Point, list[tuple[float, str]]]:
    """The ends of an axis of epochs up to `last`, and its ticks at the rungs."""
    ticks = [(across(rung), str(rung)) for rung in sorted({1, *rungs}) if rung <= last]
    return (-0.05, max(across(last), 0.1) * 1.05), ticks

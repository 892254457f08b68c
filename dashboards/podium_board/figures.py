"""The charts of one sweep, each drawn once for a picture, however many look at it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing import curves, fronts, funnel, grids, history, panels
from podium.drawing.pages import to_html
from podium.drawing.panels import Panel
from podium.drawing.svg import Link
from podium_board.importance import Found, Importance
from podium_board.pictures import Picture

MOST_SLICES = 6

Draw = Callable[[Element, Panel, Link, str], str]
"""From where it is drawn, the sweep, the addresses of trials and the metric of curves to the caption."""


@dataclass(frozen=True)
class Figure:
    """One chart.

    Attributes:
        title: Above it.
        text: How to read it.
        draw: Draws it into an element; returns the caption, empty where there is nothing to show.
        needs: Whether it depends on which parameters matter most.
    """

    title: str
    draw: Draw
    text: str = ""
    needs: bool = False


def metric_of(picture: Picture, asked: str | None) -> str:
    """The metric whose curves are drawn: the one asked for if there is such a one, else the first objective's."""
    return asked if asked in picture.curves.metrics else picture.spec.search.objectives[0].metric


def drawn(picture: Picture) -> dict[str, str]:
    """The charts that make sense for a sweep, by name with their titles."""
    is_single = len(picture.spec.search.objectives) == 1
    return {name: figure.title for name, figure in FIGURES.items() if not (is_single and name == "fronts")}


def draw(picture: Picture, kind: str, metric: str, importance: Importance) -> str:
    """One chart with its heading as HTML; says so where there is nothing to show yet."""
    figure = FIGURES[kind]
    found = importance.of(picture) if figure.needs else Found()
    key = (kind, metric if kind == "curves" else "", *found.shares.items(), found.problem)
    if key not in picture.drawn:
        root = Element("figure")
        SubElement(root, "h3").text = figure.title
        panel = _panel(picture, metric if kind == "curves" else metric_of(picture, None), found.shares)
        caption = figure.draw(root, panel, lambda number: f"/sweeps/{picture.name}/trials/{number}", metric)
        told = SubElement(root, "figcaption", {} if caption else {"class": "nothing"})
        told.text = f"{caption} {figure.text}".strip() if caption else "Nothing to show yet."
        if found.problem:
            told.text += f" Which parameters decide {found.problem}."
        picture.drawn[key] = to_html(root)
    return picture.drawn[key]


def _panel(picture: Picture, metric: str, weights: Mapping[str, float]) -> Panel:
    """What charts share that are drawn of a metric with the same weights; charts without take turns with those with."""
    key = (metric, *weights.items())
    if key not in picture.panels:
        plain = picture.panels.get((metric,))
        curves = picture.curves.of(metric) if plain is None else plain.curves
        picture.panels[key] = Panel(0, picture.spec, tuple(picture.trials.values()), curves, weights)
    return picture.panels[key]


def _curves(parent: Element, panel: Panel, link: Link, metric: str) -> str:
    return curves.state_curves(parent, panel, link, metric if metric != panel.metric else "")


def _parallel(parent: Element, panel: Panel, _: Link, __: str) -> str:
    names = panels.varying([panel]) if panel.trials else []
    return f"{panels.parallel(parent, panel, [panel], names)}." if names else ""


def _importance(parent: Element, panel: Panel, _: Link, __: str) -> str:
    if not panel.importances:
        return ""
    panels.importances(parent, [panel])
    return "The share that a parameter has in what separates the best trials from the others (PED-ANOVA)."


def _slices(parent: Element, panel: Panel, _: Link, __: str) -> str:
    varying = panels.varying([panel]) if panel.firsts else []
    names = sorted(varying, key=lambda name: (-panel.importances.get(name, 0.0), name))
    if not names:
        return ""
    grid = SubElement(parent, "div", {"class": "multiples"})
    for name in names[:MOST_SLICES]:
        panels.slices(grid, [panel], name)
    return f"The {min(len(names), MOST_SLICES)} parameters that decide most."


FIGURES: Mapping[str, Figure] = {
    "curves": Figure("Learning curves", _curves),
    "history": Figure("Values by trial", lambda parent, panel, link, _: history.history(parent, panel, link)),
    "funnel": Figure("Who got how far", lambda parent, panel, _, __: funnel.funnel(parent, panel)),
    "fronts": Figure(
        "Objectives against each other", lambda parent, panel, link, _: fronts.fronts(parent, panel, link)
    ),
    "parallel": Figure(
        "Parameters and what they lead to",
        _parallel,
        "Each line is a trial; blue is stronger the better it is, orange are the best five.",
    ),
    "heat": Figure("Two parameters at a time", lambda parent, panel, _, __: grids.heat(parent, panel), needs=True),
    "importance": Figure("Which parameters decide", _importance, needs=True),
    "slices": Figure(
        "One parameter at a time",
        _slices,
        "Dots are medians at the first rung, where no policy has chosen yet, with 95% intervals; the marks above show "
        "where the best trials lie.",
        needs=True,
    ),
    "pairs": Figure("Pairs of parameters", lambda parent, panel, link, _: grids.pairs(parent, panel, link), needs=True),
    "seeds": Figure("Trial seeds", lambda parent, panel, link, _: curves.seeds(parent, panel, link)),
}
"""By name, in the order of the page."""

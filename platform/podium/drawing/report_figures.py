"""The figures of a report, each with its heading and how to read it."""

from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from markupsafe import Markup

from podium.drawing import panels
from podium.drawing import timeline as times
from podium.drawing.curves import seeds, state_curves
from podium.drawing.fronts import fronts
from podium.drawing.funnel import funnel
from podium.drawing.grids import heat, pairs
from podium.drawing.history import history
from podium.drawing.pages import to_html
from podium.drawing.panels import MOST_BEST, MOST_LINES, Panel
from podium.drawing.words import percent
from podium.sweep.timeline import Timeline

MOST_SLICES = 6

Draw = Callable[[Element], str]


def figures(panel: Panel, timeline: Timeline) -> dict[str, list[Markup]]:
    """The figures by section, those left out that have nothing to show."""
    names = panels.varying([panel]) if panel.trials else []
    ranked = sorted(names, key=lambda name: (-panel.importances.get(name, 0.0), name))
    found = {
        "glance": [
            ("Learning curves", lambda figure: state_curves(figure, panel)),
            ("Values in the order of trials", lambda figure: history(figure, panel)),
        ],
        "course": [
            ("From rung to rung", lambda figure: funnel(figure, panel)),
            ("Points with several trial seeds", lambda figure: seeds(figure, panel)),
        ],
        "front": [("Objectives against each other", lambda figure: fronts(figure, panel))],
        "importance": [("What separates the best from the rest", lambda figure: _importance(figure, panel))],
        "slices": [(name, _slice(panel, name)) for name in ranked[:MOST_SLICES]],
        "grids": [
            ("Pairs of numbers", lambda figure: pairs(figure, panel)),
            ("Two parameters at once", lambda figure: heat(figure, panel)),
        ],
        "time": [
            ("What the gangs did", lambda figure: times.timeline(figure, timeline)),
            ("What their time went into", lambda figure: times.totals(figure, timeline)),
        ],
        "parallel": [("Whole points", lambda figure: _parallel(figure, panel, ranked))],
    }
    return {key: [drawn for title, draw in each if (drawn := _figure(title, draw))] for key, each in found.items()}


def _figure(title: str, draw: Draw) -> Markup:
    """A figure as HTML; empty if there is nothing to show."""
    figure = Element("figure")
    SubElement(figure, "h3").text = title
    caption = draw(figure)
    if not caption:
        return Markup()
    SubElement(figure, "figcaption").text = caption
    return Markup(to_html(figure))  # noqa: S704 - a tree escapes what it holds


def _importance(figure: Element, panel: Panel) -> str:
    if not panel.importances:
        return ""
    panels.importances(figure, [panel])
    return "The share that each parameter has in what separates the best trials from the others (PED-ANOVA)."


def _slice(panel: Panel, name: str) -> Draw:
    def draw(figure: Element) -> str:
        if not any(panel.at_first(trial) is not None for trial in panel.everything):
            return ""
        panels.slices(figure, [panel], name)
        share = panel.importances.get(name)
        return "Too few trials to tell its share." if share is None else f"Its share: {percent(share)}."

    return draw


def _parallel(figure: Element, panel: Panel, names: list[str]) -> str:
    if not names:
        return ""
    told = panels.parallel(figure, panel, [panel], names)
    return (
        f"{told}. Each line is a trial, from its parameters down to its value: blue is stronger the better a trial is "
        f"among the best {MOST_LINES}, orange are the best {MOST_BEST}."
    )

"""The charts of one sweep, each drawn once for a picture, however many look at it."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring  # written only: nothing is parsed

from podium.drawing import panels
from podium.drawing.panels import Panel
from podium_board.pictures import Picture
from podium_board.reading import Board

IMPORTANCE_EVERY_S = 60.0
"""How often a sweep that goes on is asked which parameters matter, which takes seconds where there are many trials."""

MOST_SLICES = 6

Draw = Callable[[Element, Panel], str]


@dataclass(frozen=True)
class Figure:
    """One chart.

    Attributes:
        title: Above it.
        text: How to read it.
        draw: Draws it into an element; returns the caption, empty where there is nothing to show.
        needs: Whether it draws by which parameters matter most.
    """

    title: str
    text: str
    draw: Draw
    needs: bool = False


def metric_of(picture: Picture, asked: str | None) -> str:
    """The metric whose curves are drawn: the one asked for if there is such a one, else the first objective's."""
    return asked if asked in picture.curves.metrics else picture.spec.search.objectives[0].metric


def draw(board: Board, picture: Picture, kind: str, metric: str) -> str:
    """One chart with its heading as HTML; says so where there is nothing to show yet."""
    key = (kind, metric if kind == "curves" else "")
    if key not in picture.drawn:
        figure = FIGURES[kind]
        weights = _weights(board, picture) if figure.needs else {}
        root = Element("figure")
        SubElement(root, "h3").text = figure.title
        caption = figure.draw(root, _panel(picture, metric, weights))
        told = caption or "Nothing to show yet."
        SubElement(root, "figcaption").text = f"{told} {figure.text}" if caption else told
        picture.drawn[key] = tostring(root, encoding="unicode", method="html")
    return picture.drawn[key]


def _panel(picture: Picture, metric: str, weights: Mapping[str, float]) -> Panel:
    return Panel(0, picture.spec, tuple(picture.trials.values()), picture.curves.of(metric), weights)


# which parameters matter

_known: dict[str, tuple[tuple[str, int], float, Mapping[str, float]]] = {}
_asking = threading.Lock()


def _weights(board: Board, picture: Picture) -> Mapping[str, float]:
    """Importance of the parameters; of a sweep that goes on, as it was up to `IMPORTANCE_EVERY_S` ago."""
    from podium.search.importance import importance

    with _asking:
        place, until, found = _known.get(picture.origin, (("", -1), 0.0, {}))
        if place != picture.place and time.monotonic() > until:
            began = time.monotonic()
            found = importance(picture.spec, picture.trials.values())
            until = began + IMPORTANCE_EVERY_S
            _known[picture.origin] = picture.place, until, found
        return found


# adapters


def _curves(parent: Element, panel: Panel) -> str:
    return panels.learning_curves(parent, panel, [panel]) if panel.curves else ""


def _parallel(parent: Element, panel: Panel) -> str:
    names = panels.varying([panel])
    return panels.parallel(parent, panel, [panel], names) if panel.trials and names else ""


def _importance(parent: Element, panel: Panel) -> str:
    if not panel.importances:
        return ""
    panels.importances(parent, [panel])
    return f"{len(panel.importances)} parameters."


def _slices(parent: Element, panel: Panel) -> str:
    names = sorted(panels.varying([panel]), key=lambda name: (-panel.importances.get(name, 0.0), name))
    if not panel.trials:
        return ""
    for name in names[:MOST_SLICES]:
        panels.slices(parent, [panel], name)
    return f"The {min(len(names), MOST_SLICES)} parameters that decide most."


FIGURES: Mapping[str, Figure] = {
    "curves": Figure("Learning curves", "", _curves),
    "parallel": Figure("Parameters and what they lead to", "Each line is a trial.", _parallel),
    "importance": Figure(
        "Which parameters decide",
        "The share that a parameter has in what separates the best trials from the others (PED-ANOVA).",
        _importance,
        needs=True,
    ),
    "slices": Figure("One parameter at a time", "", _slices, needs=True),
}

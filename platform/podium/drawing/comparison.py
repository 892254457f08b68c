"""One page that compares sweeps: self-contained HTML, its charts drawn as SVG, and no script.

Thousands of trials are shown by bands, bins and samples, and only the best few one by one.
"""

import importlib.resources
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing import palette
from podium.drawing.pages import to_html
from podium.drawing.panels import (
    MOST_BEST,
    MOST_LINES,
    MOST_OTHERS,
    Panel,
    importances,
    learning_curves,
    parallel,
    slices,
    varying,
)
from podium.drawing.words import number, short

MOST_SLICES = 6

_CURVES = (
    "The line is the median of all trials that reached an epoch, the shade holds their middle 80%. A policy lets only "
    "the better trials go on, so that a step up may be a choice and no learning. Thin lines are the best trials."
)
_PARALLEL = (
    "Each line is a trial, from its parameters down to its value. Blue is stronger the better a trial is among "
    f"the best {MOST_LINES}, orange are the best {MOST_BEST}. Of a sweep's others at most {MOST_OTHERS} are drawn, in "
    "grey. Parameters that are the same in all trials are left out."
)
_IMPORTANCE = (
    "The share that a parameter has in what separates the best trials of a sweep from its others (PED-ANOVA). "
    "Sweeps that search other ranges may differ in it."
)
_SLICES = (
    f"The {MOST_SLICES} parameters that decide most. Dots are medians of all trials at the first rung, where no policy "
    "has chosen yet, with 95% intervals; the marks above show where the best trials of each sweep lie, "
    f"{MOST_BEST * 10} at most. Trials that diverged before have no value."
)


def page(comparison: Mapping[str, Any], panels: Sequence[Panel]) -> str:
    """The page as HTML that loads nothing.

    Args:
        comparison: What `podium compare --json` prints.
        panels: What is drawn of each sweep, in the same order.
    """
    *most, last = comparison["sweeps"]
    title = f"{', '.join(most)} and {last}, compared" if most else last
    root = Element("html", {"lang": "en"})
    head, body = SubElement(root, "head"), SubElement(root, "body")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    SubElement(head, "title").text = title
    SubElement(head, "style").text = _style()
    main = SubElement(body, "main")
    _say(main, "h1", title)
    fill(main, comparison, panels)
    return f"<!doctype html>\n{to_html(root)}\n"


def fill(main: Element, comparison: Mapping[str, Any], panels: Sequence[Panel]) -> None:
    """Adds all that the page has below its title."""
    _cards(main, comparison["summaries"])
    _words(main, comparison)
    _best(main, comparison)
    _charts(main, panels)


def _style() -> str:
    rules = (importlib.resources.files("podium.drawing") / "style.css").read_text(encoding="utf-8")
    return palette.style() + rules


def _cards(parent: Element, summaries: Sequence[Mapping[str, Any]]) -> None:
    cards = SubElement(parent, "div", {"class": "cards"})
    for index, summary in enumerate(summaries):
        card = SubElement(cards, "section", {"class": "card"})
        _chip(_say(card, "h2", ""), index, summary["sweep"])
        best = summary["best"]
        _say(card, "p", "no value yet" if best is None else number(best["value"]), "value")
        _say(card, "p", ", ".join(summary["objectives"]), "soft")
        listing = SubElement(card, "dl")
        for key, text in _facts(summary):
            _say(listing, "dt", key)
            _say(listing, "dd", text)


def _facts(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    best, trials = summary["best"], summary["trials"]
    yield "state", f"{summary['state']}{': ' + summary['reason'] if summary['reason'] else ''}"
    if best is not None:
        yield "best trial", f"{best['trial']}, epoch {best['epoch']}, rung {best['rung']}"
    counts = ", ".join(f"{n:,} {state}" for state, n in trials.items() if state not in ("total", "budget"))
    yield "trials", f"{trials['total']:,} of {trials['budget']:,}{': ' + counts if counts else ''}"
    yield "trained", f"{summary['epochs']:,} epochs"
    if summary["wall_s"] is not None:
        yield "time", f"{_time(summary['wall_s'])} (h:mm:ss)"
    yield "device time", f"{_time(summary['device_s'])} (h:mm:ss)"


def _words(parent: Element, comparison: Mapping[str, Any]) -> None:
    """How far the values can be trusted, and what differs."""
    section = _section(parent, "What the values say", "")
    listing = SubElement(section, "ul", {"class": "" if comparison["comparable"] else "warning"})
    for text in comparison["values"]:
        _say(listing, "li", text)
    if len(comparison["sweeps"]) < 2:
        return
    same = comparison["same"]
    section = _section(parent, "What differs", f"The same in all: {', '.join(same)}." if same else "")
    listing = SubElement(section, "dl", {"class": "differences"})
    shown = None
    for difference in comparison["differences"]:
        _say(listing, "dt", difference["about"] if difference["about"] != shown else "")
        _say(listing, "dd", difference["text"])
        shown = difference["about"]


def _best(parent: Element, comparison: Mapping[str, Any]) -> None:
    trials = comparison["trials"]
    if not trials:
        return
    section = _section(parent, "The best trials", "By the parameters that differ among them.")
    wide = {"class": "wide", "tabindex": "0", "role": "region", "aria-label": "The best trials"}
    table = SubElement(SubElement(section, "div", wide), "table")
    row = SubElement(table, "tr")
    for heading in ("trial", "value", "epoch", "rung", *comparison["varying"]):
        _say(row, "th", heading).set("scope", "col")
    for trial in trials:
        row = SubElement(table, "tr")
        index = comparison["sweeps"].index(trial["sweep"])
        _chip(SubElement(row, "td"), index, f"{trial['sweep']}/{trial['trial']}")
        params = [short(trial["params"].get(name, "")) for name in comparison["varying"]]
        for text in (number(trial["value"]), str(trial["epoch"]), str(trial["rung"]), *params):
            _say(row, "td", text)


def _charts(parent: Element, panels: Sequence[Panel]) -> None:
    drawn = [panel for panel in panels if panel.trials]
    if not drawn:
        return
    section = _section(parent, "Learning curves", _CURVES)
    for panel, figure in zip(drawn, _figures(section, drawn), strict=True):
        _say(figure, "figcaption", learning_curves(figure, panel, drawn))
    names = varying(drawn)
    if names:
        section = _section(parent, "Parameters and what they lead to", _PARALLEL)
        for panel, figure in zip(drawn, _figures(section, drawn), strict=True):
            _say(figure, "figcaption", parallel(figure, panel, drawn, names))
    if any(panel.importances for panel in drawn):
        section = _section(parent, "Which parameters decide", _IMPORTANCE)
        grid = SubElement(section, "div", {"class": "grid"})
        figure = SubElement(grid, "figure")
        _legend(figure, drawn)
        importances(figure, drawn)
    if names:
        _slices(parent, drawn)


def _slices(parent: Element, panels: Sequence[Panel]) -> None:
    """The most important parameters, all sweeps of one objective in one chart."""
    section = _section(parent, "One parameter at a time", _SLICES)
    grid = SubElement(section, "div", {"class": "grid"})
    for goal in dict.fromkeys(panel.goal for panel in panels):
        some = [panel for panel in panels if panel.goal == goal]
        weights = {name: max(panel.importances.get(name, 0.0) for panel in some) for name in varying(some)}
        for name in sorted(weights, key=lambda name: (-weights[name], name))[:MOST_SLICES]:
            figure = SubElement(grid, "figure")
            _legend(figure, some)
            slices(figure, some, name)


def _figures(section: Element, panels: Sequence[Panel]) -> list[Element]:
    """A figure for each sweep, side by side where there is room."""
    grid = SubElement(section, "div", {"class": "grid"})
    figures = []
    for panel in panels:
        figure = SubElement(grid, "figure")
        _legend(figure, [panel])
        figures.append(figure)
    return figures


def _legend(figure: Element, panels: Sequence[Panel]) -> None:
    legend = SubElement(figure, "p", {"class": "legend"})
    for panel in panels:
        _chip(legend, panel.index, panel.spec.sweep)


def _section(parent: Element, title: str, text: str) -> Element:
    section = SubElement(parent, "section")
    _say(section, "h2", title)
    if text:
        _say(section, "p", text)
    return section


def _chip(parent: Element, index: int, name: str) -> None:
    SubElement(parent, "span", {"class": f"chip s{index % 6}"})
    _say(parent, "span", name, "name")


def _say(parent: Element, tag: str, text: str, kind: str = "") -> Element:
    element = SubElement(parent, tag, {"class": kind} if kind else {})
    element.text = text
    return element


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))

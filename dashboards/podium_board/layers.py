"""What goes on inside a trial's network, drawn as SVG: a chart for each measure, a line for each layer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from podium.drawing.aggregates import limits
from podium.drawing.svg import Plot
from podium.tracking.diagnosis import PANELS, SHARES, Moments

COLOURS = 6
"""Further layers have those of the first ones again; each line tells which it is when one points at it."""


def draw(parent: Element, moments: Moments) -> None:
    """Draws a figure for each measure that was taken; without any, nothing."""
    if not moments:
        return
    names = [layer["name"] or "network" for layer in moments[-1]["layers"]]
    legend = SubElement(parent, "p", {"class": "legend"})
    for number, name in enumerate(names):
        SubElement(legend, "span", {"class": f"chip {_colour(number)}"})
        SubElement(legend, "span", {"class": "name"}).text = f"layer {number + 1}: {name}"
    charts = SubElement(parent, "div", {"class": "charts"})
    for measure, title in PANELS.items():
        lines = [_line(moments, number, measure) for number in range(len(names))]
        if any(lines):
            figure = SubElement(charts, "figure")
            SubElement(figure, "h3").text = title
            _chart(figure, title, names, lines, is_share=measure in SHARES)


def _chart(
    parent: Element, title: str, names: Sequence[str], lines: Sequence[Sequence[tuple[int, float]]], *, is_share: bool
) -> None:
    values = [value for line in lines for _, value in line]
    is_log = not is_share and min(values) > 0 and max(values) > 10 * min(values)

    def upwards(value: float) -> float:
        return math.log10(value) if is_log else value

    low, high = (0.0, 1.0) if is_share else limits(map(upwards, values), ())
    last = max(epoch for line in lines for epoch, _ in line)
    unit = "share" if is_share else "norm" if "norm" in title else "root mean square"
    plot = Plot(parent, f"{title} of each layer by epoch", (0, max(last, 1)), (low, high), ("epoch", unit))
    ticks = [(at, f"{10**at:.3g}") for at, _ in plot.y.ticks(whole=high - low > 2)] if is_log else plot.y.ticks()
    plot.grid(plot.x.ticks(whole=True), ticks)
    for number, line in enumerate(lines):
        colour, points = _colour(number), [(epoch, upwards(value)) for epoch, value in line]
        plot.line(points, f"{colour} layer", f"layer {number + 1}, {names[number]}")
        for (epoch, value), point in zip(line, points, strict=True):
            plot.dot(point, 2.5, colour, f"layer {number + 1}, {names[number]}, epoch {epoch}: {value:.4g}")


def _line(moments: Moments, number: int, measure: str) -> list[tuple[int, float]]:
    found = [(moment["epoch"], _of(moment, number, measure)) for moment in moments]
    return [(epoch, value) for epoch, value in found if value is not None]


def _of(moment: Mapping[str, Any], number: int, measure: str) -> float | None:
    value: float | None = moment["layers"][number][measure] if number < len(moment["layers"]) else None
    return value


def _colour(number: int) -> str:
    return f"s{number % COLOURS}"

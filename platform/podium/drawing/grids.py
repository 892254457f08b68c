"""The values of one sweep over two parameters at once: medians in cells, and scatters."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

import numpy as np

from podium.drawing.aggregates import MOST, sample
from podium.drawing.marks import clip, href, legend, title
from podium.drawing.panels import MOST_BEST, SHADES, Panel, axis_of, varying
from podium.drawing.svg import SMALL, Link, Plot, canvas, path, write
from podium.spec.space import Choice
from podium.sweep.trial import Trial

MOST_CATEGORIES, RANGES = 8, 6
"""Numbers with more different values are shown in so many ranges."""

MOST_PAIRED = 3
"""Parameters in `pairs`, the most important ones."""

MOST_DOTS, MOST_IN_CLOUDS = 120, 1500

WIDTH, LEFT, TOP, ROW = 460, 134, 26, 34

USUAL = ("network.depth", "initializer.scheme")
"""What `heat` shows if a sweep searches both."""


def heat(parent: Element, panel: Panel, across: str = "", down: str = "") -> str:
    """Draws the median value at the first rung for each cell of two parameters; hatched where there is none.

    Args:
        parent: What it becomes part of.
        panel: The sweep.
        across: The parameter whose values are columns; `USUAL`, or the most important two, if none is given.
        down: The one whose values are rows.

    Returns:
        What is drawn, in words; empty unless two parameters vary.
    """
    names = _ranked(panel)
    if not across:
        across, down = USUAL if set(USUAL) <= set(names) else [*names, "", ""][:2]
    trials = [trial for trial in panel.everything if panel.at_first(trial) is not None]
    if not trials or not {across, down} <= set(names) or across == down:
        return ""
    columns, rows = _categories(panel, across, trials), _categories(panel, down, trials)
    values = np.array([panel.at_first(trial) for trial in trials], dtype=np.float64).clip(-MOST, MOST)
    cells = {
        (row, column): values[(rows.of == row) & (columns.of == column)]
        for row in range(len(rows.names))
        for column in range(len(columns.names))
    }
    medians = {place: float(np.median(found)) for place, found in cells.items() if len(found)}
    shades = dict(zip(medians, _shades(list(medians.values()), is_maximized=panel.is_maximized), strict=True))
    _ramp(parent, list(medians.values()), is_maximized=panel.is_maximized)
    bottom = TOP + ROW * len(rows.names)
    svg = canvas(parent, f"{panel.goal_at_first} by {across} and {down}", WIDTH, bottom + 52)
    width = (WIDTH - LEFT - 4) / len(columns.names)
    write(svg, (4, 13), down, "soft")
    for row, name in enumerate(rows.names):
        write(svg, (LEFT - 8, TOP + (row + 0.5) * ROW + 4), clip(name, 16), "tick end")
    for column, name in enumerate(columns.names):
        for line, text in enumerate(_lines(name, max(3, int(width / 7)))):
            write(svg, (LEFT + (column + 0.5) * width, bottom + 15 + 13 * line), text, "tick middle")
    write(svg, ((LEFT + WIDTH) / 2, bottom + 46), across, "soft middle")
    for (row, column), found in cells.items():
        corner = (LEFT + column * width, TOP + row * ROW)
        where = f"{across} {columns.names[column]}, {down} {rows.names[row]}"
        median = medians.get((row, column))
        if median is None:
            _hatch(svg, corner, width, f"{where}: no trial with a value")
            continue
        colour = shades[row, column]
        _cell(svg, corner, width, colour, f"{where}: median {median:.5g} of {len(found):,} trials")
        if width > 34:
            write(svg, (corner[0] + width / 2, corner[1] + ROW / 2 + 4), f"{median:.3g}", f"tick middle on-{colour}")
    return f"Medians of {panel.goal_at_first}, of {len(trials):,} trials. Hatched: no trial with a value."


def pairs(parent: Element, panel: Panel, link: Link | None = None) -> str:
    """Draws the value at the first rung over each two of the most important numeric parameters.

    Returns:
        What is drawn, in words; empty unless two numeric parameters vary.
    """
    numeric = {one.name for one in panel.spec.space().parameters if not isinstance(one.domain, Choice)}
    names = [name for name in _ranked(panel) if name in numeric][:MOST_PAIRED]
    valued = [trial for trial in panel.everything if panel.at_first(trial) is not None]
    best = [trial for trial in panel.trials[:MOST_BEST] if panel.at_first(trial) is not None]
    if len(names) < 2 or not valued:
        return ""
    values = [panel.at_first(trial) or 0.0 for trial in valued]
    kinds = _shades(values, is_maximized=panel.is_maximized)
    _ramp(parent, values, is_maximized=panel.is_maximized, top=f"the best {len(best)} in the end")
    few, all_shown = len(valued) <= MOST_DOTS, sample(list(zip(valued, kinds, strict=True)), MOST_IN_CLOUDS)
    drawn = [*all_shown, *((trial, "top") for trial in reversed(best))]
    axes = {name: axis_of(name, [(panel, trial) for trial, _ in drawn]) for name in names}
    grid = SubElement(parent, "div", {"class": "multiples"})
    for across, down in combinations(names, 2):
        x, y = axes[across], axes[down]
        label = f"{panel.goal_at_first} over {across} and {down}"
        ends = [(min([-0.04, *one.positions]) - 0.02, 1.05) for one in (x, y)]
        plot = Plot(grid, label, ends[0], ends[1], (x.label, y.label), size=SMALL, has_links=link is not None)
        plot.grid(_short(x.ticks), _short(y.ticks))
        placed = list(zip(x.positions, y.positions, drawn, strict=True))
        if not few:
            for kind in [f"g{shade}" for shade in range(SHADES)]:
                plot.cloud([(left, up) for left, up, (_, own) in placed if own == kind], kind)
        for left, up, (trial, kind) in placed if few else placed[len(all_shown) :]:
            is_best = kind == "top"
            plot.dot((left, up), 3.4 + is_best, kind, title(trial), href=href(link, trial), is_stop=is_best)
    part = f"{len(all_shown):,} of " if len(all_shown) < len(valued) else ""
    return (
        f"{part}{len(valued):,} trials over the {len(names)} numeric parameters that decide most. Shade: "
        f"{panel.goal_at_first}, the stronger the better."
    )


@dataclass(frozen=True)
class _Categories:
    """The values of a parameter as cells: their names in order, and in which of them each trial is."""

    names: Sequence[str]
    of: "np.ndarray[tuple[int], np.dtype[np.int64]]"


def _categories(panel: Panel, name: str, trials: Sequence[Trial]) -> _Categories:
    """Choices and few numbers each for itself; of many numbers ranges of equal width on their scale."""
    domain = next(one.domain for one in panel.spec.space().parameters if one.name == name)
    active = np.array([name in trial.parameters for trial in trials])
    values = [trial.parameters.get(name) for trial in trials]
    found = dict.fromkeys(value for value, is_active in zip(values, active.tolist(), strict=True) if is_active)
    none = [] if active.all() else ["inactive"]
    if isinstance(domain, Choice) or len(found) <= MOST_CATEGORIES:
        options = domain.options if isinstance(domain, Choice) else sorted(found, key=_number)
        ordered = [
            *(option for option in options if option in found),
            *(value for value in found if value not in options),
        ]
        places = {value: len(none) + place for place, value in enumerate(ordered)}
        cells = [places[value] if is_active else 0 for value, is_active in zip(values, active.tolist(), strict=True)]
        return _Categories([*none, *(_cell_name(value) for value in ordered)], np.array(cells))
    numbers = np.array(
        [_number(value) if is_active else np.nan for value, is_active in zip(values, active, strict=True)]
    )
    scaled = np.log(numbers) if domain.log else numbers
    edges = np.linspace(np.nanmin(scaled), np.nanmax(scaled), RANGES + 1)[1:-1]
    ranges = np.where(active, np.searchsorted(edges, scaled), -1)
    used, of = np.unique(ranges, return_inverse=True)
    spans = [numbers[ranges == place] for place in used.tolist() if place >= 0]
    return _Categories([*none, *(f"{span.min():.2g}–{span.max():.2g}" for span in spans)], of)


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _cell_name(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ranked(panel: Panel) -> list[str]:
    """The parameters that vary, the most important first."""
    return sorted(varying([panel]), key=lambda name: (-panel.importances.get(name, 0.0), name))


def _shades(values: Sequence[float], *, is_maximized: bool) -> list[str]:
    """For each value its shade: each has as many of the values."""
    steps = np.quantile(values, np.linspace(0, 1, SHADES + 1)[1:-1])
    places = np.searchsorted(steps, values, side="right").tolist()
    return [f"g{place if is_maximized else SHADES - 1 - place}" for place in places]


def _ramp(parent: Element, values: Sequence[float], *, is_maximized: bool, top: str = "") -> None:
    """What the shades stand for."""
    steps = np.quantile(values, np.linspace(0, 1, SHADES + 1)).tolist()
    spans = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(steps)]
    shades = range(SHADES) if is_maximized else reversed(range(SHADES))
    entries = [(f"g{shade}", span) for shade, span in zip(shades, spans, strict=True)]
    legend(parent, [*entries, *([("top", top)] if top else [])])


def _cell(svg: Element, corner: tuple[float, float], width: float, kind: str, said: str) -> None:
    box = {"x": f"{corner[0] + 1:g}", "y": f"{corner[1] + 1:g}", "width": f"{width - 2:g}", "height": f"{ROW - 2}"}
    SubElement(SubElement(svg, "rect", {**box, "class": f"cell {kind}"}), "title").text = said


def _hatch(svg: Element, corner: tuple[float, float], width: float, said: str) -> None:
    """A cell with slanted lines."""
    _cell(svg, corner, width, "none", said)
    left, top, right, bottom = corner[0] + 1, corner[1] + 1, corner[0] + width - 1, corner[1] + ROW - 1
    for start in np.arange(left - (bottom - top) + 6, right, 8.0).tolist():
        low, high = max(left, start), min(right, start + bottom - top)
        path(
            svg,
            [(round(low, 1), round(bottom - (low - start), 1)), (round(high, 1), round(bottom - (high - start), 1))],
            "hatch",
        )


def _short(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    return [(at, clip(text, 8)) for at, text in ticks]


def _lines(text: str, most: int) -> list[str]:
    """A name of a column on one line, or a range on two."""
    low, dash, high = text.partition("–")
    return [f"{low}{dash}", high] if dash and len(text) > most else [clip(text, most)]

"""The model card: pictures as SVG that take their colours from the page. Pure.

Bars have no size of their own: their marks stand at percentages, so that a bar is as wide as there is room for, and
dots stay round.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from podium.registry.card.parts import Curves, Forest, Kind, Mark, Panel
from podium.registry.card.words import number

MOST_TICKS = 5
WORST_LEFT_OUT = 0.4
"""The share of a picture's points that may lie outside of it: those of the first epochs would squeeze all others."""

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 220, 52, 44, 10, 36


@dataclass(frozen=True)
class Scale:
    """From `low` to `high`, with ticks."""

    low: float
    high: float

    @classmethod
    def over(cls, values: Iterable[float]) -> "Scale":
        """A scale with some room on both sides of all values."""
        kept = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        room = 0.06 * (max(kept) - min(kept)) or abs(kept[0]) * 0.1 or 1.0
        return cls(min(kept) - room, max(kept) + room)

    def place(self, value: float) -> float:
        """From 0 to 1, and no further."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def percent(self, value: float) -> str:
        """The same for SVG."""
        return f"{100 * self.place(value):.2f}%"

    @property
    def step(self) -> float:
        """Between ticks: 1, 2 or 5 of a power of ten."""
        raw = (self.high - self.low) / MOST_TICKS
        power = 10.0 ** math.floor(math.log10(raw))
        return next(step * power for step in (1, 2, 5, 10) if step * power >= raw)

    def ticks(self) -> list[float]:
        """Multiples of the step, at most about `MOST_TICKS` of them."""
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return [index * self.step for index in range(first, last + 1)]


UNIT = Scale(0.0, 1.0)


def scale_of(forest: Forest) -> Scale:
    """One that holds all of a forest's marks and lines."""
    marks = [mark for row in forest.rows for mark in row.marks]
    return Scale.over([*(end for mark in marks for end in _ends(mark)), *(at for at, _ in forest.lines)])


def bar(scale: Scale, marks: Sequence[Mark], lines: Sequence[tuple[float, str]], said: str) -> str:
    """The marks of one row, each interval on a height of its own; `said` is the same in words."""
    intervals = [mark for mark in marks if mark.kind != "reported"]
    drawn = [_rule(scale, at, index) for index, (at, _) in enumerate(lines)]
    drawn += [_interval(scale, mark, 10 + 12 * index) for index, mark in enumerate(intervals)]
    drawn += [_reported(scale, mark, 10) for mark in marks if mark.kind == "reported"]
    height = 12 * max(1, len(intervals)) + 8
    return f'<svg class="bar" height="{height}" role="img" aria-label="{escape(said)}">{"".join(drawn)}</svg>'


def axis(scale: Scale, share: bool, *, is_signed: bool) -> str:
    """The ticks below bars."""
    drawn = []
    for tick in scale.ticks():
        x = scale.percent(tick)
        text = _tick(tick, scale, share, sign="+" if is_signed and abs(tick) > scale.step / 2 else "")
        drawn.append(f'{_segment(x, 0, x, 5, "tick")}<text x="{x}" y="18">{text}</text>')
    return f'<svg class="bar axis" height="22" aria-hidden="true">{"".join(drawn)}</svg>'


def key(kind: Kind) -> str:
    """What stands beside a mark's name in a legend."""
    if kind == "reported":
        return _key(_reported(UNIT, Mark(kind, 0.5), 7))
    return _key(_interval(UNIT, Mark(kind, 0.5, 0.0, 1.0), 7))


def key_of_line(index: int) -> str:
    """The same for one of a forest's lines."""
    return _key(_rule(UNIT, 0.5, index))


def scale_of_curves(curves: Curves) -> Scale:
    """One for all panels; the worst points of the curves may lie outside."""
    points = [value for panel in curves.panels for curve in panel.curves for _, value in curve if value is not None]
    points.sort(reverse=not curves.maximize)
    best = points[int(len(points) * WORST_LEFT_OUT) :]
    return Scale.over([*best, *(end for panel in curves.panels for mark in panel.marks for end in _ends(mark))])


def panel(curves: Curves, shown: Panel, scale: Scale, said: str) -> str:
    """The curves of one finalist, and at the right what was confirmed and reported."""
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    epochs = [epoch for curve in shown.curves for epoch, _ in curve]
    across = Scale(min(epochs), max(*epochs, min(epochs) + 1))

    def y(value: float) -> float:
        return TOP + high * (1 - scale.place(value))

    drawn = []
    for tick in scale.ticks():
        drawn.append(_segment(LEFT, y(tick), WIDTH - 4, y(tick), "grid"))
        drawn.append(
            f'<text class="y" x="{LEFT - 6}" y="{y(tick) + 4:.1f}">{_tick(tick, scale, curves.is_share)}</text>'
        )
    for epoch in sorted({round(tick) for tick in across.ticks()}):
        drawn.append(f'<text x="{LEFT + wide * across.place(epoch):.1f}" y="{HEIGHT - 18}">{epoch}</text>')
    drawn.append(f'<text x="{LEFT + wide // 2}" y="{HEIGHT - 3}">epoch</text>')
    inside = "".join(_curve(curve, across, scale, wide, high) for curve in shown.curves)
    drawn.append(f'<svg x="{LEFT}" y="{TOP}" width="{wide}" height="{high}">{inside}</svg>')
    for mark in shown.marks:
        if mark.kind == "reported":
            x, at = WIDTH - 12, y(mark.estimate)
            drawn.append(_segment(LEFT, at, x, at, "reported dashed"))
            drawn.append(_diamond(f'transform="translate({x} {at:.1f})"'))
        else:
            drawn.append(_upright(mark, WIDTH - RIGHT + 16, [y(end) for end in _ends(mark)]))
    about = f'role="img" aria-label="{escape(said)}"'
    return f'<svg class="panel" viewBox="0 0 {WIDTH} {HEIGHT}" {about}>{"".join(drawn)}</svg>'


def _curve(points: Sequence[tuple[int, float | None]], across: Scale, scale: Scale, wide: int, high: int) -> str:
    """A line that is broken where there is no value, and may leave the scale; a point by itself is a dot."""
    path, is_down = [], False
    for epoch, value in points:
        if value is not None:
            x = wide * across.place(epoch)
            y = high * (scale.high - value) / (scale.high - scale.low)
            path.append(f"L{x:.1f} {y:.1f}" if is_down else f"M{x:.1f} {y:.1f}h0")
        is_down = value is not None
    return f'<path class="curve" d="{"".join(path)}"/>'


def _interval(scale: Scale, mark: Mark, y: int) -> str:
    drawn = ""
    if mark.low is not None and mark.high is not None:
        low, high = scale.percent(mark.low), scale.percent(mark.high)
        drawn = _segment(low, y, high, y) + "".join(_segment(end, y - 4, end, y + 4) for end in (low, high))
    return f'<g class="{mark.kind}">{drawn}<circle cx="{scale.percent(mark.estimate)}" cy="{y}" r="4.5"/></g>'


def _upright(mark: Mark, x: int, ends: Sequence[float]) -> str:
    """The same from bottom to top; the first of `ends` is the estimate."""
    drawn = _segment(x, min(ends), x, max(ends)) + "".join(_segment(x - 4, end, x + 4, end) for end in ends[1:])
    return f'<g class="{mark.kind}">{drawn}<circle cx="{x}" cy="{ends[0]:.1f}" r="4.5"/></g>'


def _reported(scale: Scale, mark: Mark, y: int) -> str:
    """A diamond, within an SVG of no size that can stand at a percentage."""
    x = scale.percent(mark.estimate)
    return f'<svg x="{x}" y="{y}" width="1" height="1" overflow="visible">{_diamond("")}</svg>'


def _diamond(where: str) -> str:
    return f'<path class="reported" {where} d="M0 -5.5L5.5 0L0 5.5L-5.5 0Z"/>'


def _rule(scale: Scale, at: float, index: int) -> str:
    x = scale.percent(at)
    return _segment(x, 0, x, "100%", "limit dashed" if index else "limit")


def _segment(x1: float | str, y1: float | str, x2: float | str, y2: float | str, kind: str = "") -> str:
    places = zip(("x1", "y1", "x2", "y2"), (x1, y1, x2, y2), strict=True)
    at = " ".join(f'{name}="{place if isinstance(place, str) else f"{place:.5g}"}"' for name, place in places)
    return f'<line class="{kind}" {at}/>' if kind else f"<line {at}/>"


def _key(drawn: str) -> str:
    return f'<svg class="key" width="26" height="14" aria-hidden="true">{drawn}</svg>'


def _tick(value: float, scale: Scale, share: bool, sign: str = "") -> str:
    # a spread of six steps is shown with the digit of one
    return escape(number(value, share, spread=6 * scale.step, unit="", sign=sign))


def _ends(mark: Mark) -> list[float]:
    return [mark.estimate, *(end for end in (mark.low, mark.high) if end is not None)]

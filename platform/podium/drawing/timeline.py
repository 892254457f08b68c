"""Gangs against time: what each of them did, and what the time of all went into."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

import numpy as np

from podium.drawing.marks import legend
from podium.drawing.svg import Link, Scale, anchor, canvas, path, write
from podium.sweep.spans import Pause, Piece, Row, Span, Use
from podium.sweep.timeline import Timeline
from podium.sweep.trial import TrialState

Colour = Literal["state", "trial", "cohort", "lanes"]

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 960, 96, 8, 8, 40
TALL, LOW = 20, 11
"""Heights of a line where there are few, and where there are many."""

FEW_LINES, MOST_LINES = 16, 40
"""Of more than the latter, gangs beside each other share a line."""

MOST_PIECES = 400
"""More pieces than that are drawn as what most of the time of a cell went into."""

MOST_CELLS, MOST_COLUMNS = 4000, 400
MOST_STOPS = 40
SHOWN = 0.0005
"""Shares below that are left out of the legend."""

HUES, SHADES = 6, 5
NO_GANG = "no gang"
MOST_KINDS = 24
UNITS = ((7200.0, 3600.0, "h"), (120.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From how many seconds on times are told in which unit."""

KINDS = {use: f"use-{use.name.lower().replace('_', '-')}" for use in Use}
"""The classes of the style sheet for what time goes into."""

Part = tuple[str, float, float]
"""A kind, and the seconds between which it was there."""


def totals(parent: Element, timeline: Timeline) -> str:
    """Draws one bar: the time of all gangs by what it went into.

    Returns:
        How much time that is, in words; empty if no gang has been there.
    """
    found = {use: seconds for use, seconds in timeline.totals.items() if seconds > 0 and use is not Use.AWAY}
    whole = sum(found.values())
    if not whole:
        return ""
    legend(
        parent,
        [(KINDS[use], f"{use} {seconds / whole:.1%}") for use, seconds in found.items() if seconds >= SHOWN * whole],
    )
    svg = canvas(parent, f"Gang time of {timeline.machine.spec.sweep} by what it went into", WIDTH, 40)
    scale, passed, middle = Scale(0, whole, 2, WIDTH - 2), 0.0, 16
    for use, seconds in found.items():
        left, right = scale(passed), scale(passed + seconds)
        said = f"{use}: {_told(seconds)}, {seconds / whole:.1%}"
        _run(svg, [(left, max(right - 0.6, left + 0.4))], middle, 28, KINDS[use], said)
        if right - left > 60:
            write(svg, ((left + right) / 2, middle + 4), f"{seconds / whole:.0%}", "label middle halo")
        passed += seconds
    return f"{_told(whole)} of gangs in all."


def timeline(parent: Element, timeline: Timeline, link: Link | None = None, colour: Colour = "state") -> str:
    """Draws each gang as a line over time: its advances, and in between what it waited for.

    A gang that came after another was gone shares its line. Times without a driver are cut out. Of many gangs or
    advances each cell is drawn as what most of its time went into.

    Args:
        parent: What it becomes part of.
        timeline: The sweep's.
        link: Where an advance leads, by the first trial of its cohort.
        colour: What the colours of advances stand for: the states that their trials are in by now, their trials,
            their cohorts, or how many lanes they have.

    Returns:
        How many gangs and advances it shows, in words; empty if no gang has been there.
    """
    rows = list(timeline.pieces)
    if not rows:
        return ""
    painter, clock, lines = _Painter(timeline, colour), _Clock(timeline), _lines(timeline, rows)
    is_many = len(lines) > MOST_LINES or sum(len(pieces) for _, pieces in rows) > MOST_PIECES
    spans = [piece for _, pieces in rows for piece in pieces if isinstance(piece, Span)]
    _legend(parent, timeline, painter, spans)
    label = f"Gangs of {timeline.machine.spec.sweep} over time"
    frame = {"class": "wide", "tabindex": "0", "role": "region", "aria-label": label}
    groups = _groups(lines)
    sheet = _Sheet(SubElement(parent, "div", frame), label, clock, len(groups), None if is_many else link)
    for place, group in enumerate(groups):
        sheet.name(place, _name(group))
    if is_many:
        sheet.cells([[part for line in group for part in line.parts(painter)] for group in groups])
    else:
        for place, line in enumerate(lines):
            for piece in line.pieces:
                sheet.draw(place, piece, painter.parts(piece), is_stop=len(spans) <= MOST_STOPS)
    told = f"{len(rows):,} {'gang' if len(rows) == 1 else 'gangs'}, {len({span.key for span in spans}):,} advances."
    apart = {"trial": " Colours tell trials apart.", "cohort": " Colours tell cohorts apart."}.get(colour, "")
    mixed = " Each cell shows what most of its time went into." if is_many else ""
    data = "" if timeline.tells_data else " How long gangs waited for data, this ledger does not tell."
    return f"{told}{apart}{mixed}{data}"


class _Clock:
    """Seconds since the launch in which there was a driver."""

    def __init__(self, timeline: Timeline) -> None:
        self._begin = timeline.begin
        self.away = [wait for wait in timeline.all_waits if wait.use is Use.AWAY]
        self.whole_s = self(timeline.end)

    def __call__(self, at: float) -> float:
        """Where a moment lies."""
        return float(self.all(np.array(at)))

    def all(self, at: "np.ndarray[Any, np.dtype[np.float64]]") -> "np.ndarray[Any, np.dtype[np.float64]]":
        """Where moments lie."""
        away_s = [np.clip(at, wait.begin, wait.end) - wait.begin for wait in self.away]
        return np.asarray(at - self._begin - sum(away_s))


class _Painter:
    """Says of which kind the parts of a piece are."""

    def __init__(self, timeline: Timeline, colour: Colour) -> None:
        self._trials, self._colour = timeline.machine.trials, colour
        every = (len(each.trials) for row in timeline.rows for each in row.pieces if isinstance(each, Span))
        self.most_lanes = max(every, default=1)

    def kind(self, span: Span) -> str:
        """The class of the style sheet for an advance."""
        if self._colour == "state" and len(span.trials) == 1:
            return self._trials[span.trials[0]].state
        if self._colour == "trial":
            return f"s{span.trials[0] % HUES}"
        if self._colour == "cohort":
            return f"s{int(span.key.rpartition('/')[2]) % HUES}"
        if self._colour == "lanes":
            return f"g{self.shade(len(span.trials))}"
        states = [self._trials[number].state for number in span.trials]
        return max(TrialState, key=states.count)

    def shade(self, lanes: int) -> int:
        """The more lanes, the stronger."""
        return min(SHADES - 1, SHADES * (lanes - 1) // max(self.most_lanes - 1, 1)) if self.most_lanes > 1 else 3

    def parts(self, piece: Piece) -> list[Part]:
        """What a piece shows; of an advance waits for data first, and last what was written or in vain."""
        if isinstance(piece, Pause):
            return [(KINDS[piece.use], piece.begin, piece.end)]
        start, after = piece.begin + piece.data_s, piece.end - piece.checkpoint_s - piece.redone_s
        last = KINDS[Use.REDONE if piece.redone_s else Use.CHECKPOINT]
        parts = [(KINDS[Use.DATA], piece.begin, start), (self.kind(piece), start, after), (last, after, piece.end)]
        return [part for part in parts if part[2] > part[1]]


@dataclass
class _Line:
    """Gangs that were there one after the other."""

    names: list[str]
    pieces: list[Piece]

    def parts(self, painter: _Painter) -> Iterator[Part]:
        """What all of them show."""
        for piece in self.pieces:
            yield from painter.parts(piece)


def _lines(timeline: Timeline, rows: Iterable[tuple[Row, list[Piece]]]) -> list[_Line]:
    """Each gang on a line that is free again; times without any gang on one of their own."""
    lines: list[_Line] = []
    ends: list[tuple[float, int]] = []
    for row, pieces in sorted(rows, key=lambda each: each[0].begin):
        end = timeline.at if row.end is None else row.end
        if ends and ends[0][0] <= row.begin:
            index = ends[0][1]
            heapq.heapreplace(ends, (end, index))
            lines[index].names.append(row.gang)
            lines[index].pieces += pieces
        else:
            heapq.heappush(ends, (end, len(lines)))
            lines.append(_Line([row.gang], list(pieces)))
    waits: list[Piece] = [wait for wait in timeline.all_waits if wait.use is not Use.AWAY]
    return [_Line([NO_GANG], waits), *lines] if waits else lines


def _groups(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Which lines share one that is drawn; the one without any gang is by itself."""
    alone = [[lines[0]]] if lines[0].names == [NO_GANG] else []
    others = lines[len(alone) :]
    shares = np.array_split(np.arange(len(others)), min(len(others), MOST_LINES))
    return alone + [[others[index] for index in share] for share in shares]


def _name(lines: Sequence[_Line]) -> str:
    names = [name for line in lines for name in line.names]
    more = f" +{len(names) - 1}" if len(names) > 1 else ""
    most = 13 - len(more)
    return (names[0] if len(names[0]) <= most else f"{names[0][: most - 1]}…") + more


class _Sheet:
    """The drawing: lines from top to bottom, time from left to right."""

    def __init__(self, parent: Element, label: str, clock: _Clock, lines: int, link: Link | None) -> None:
        self._clock, self._link = clock, link
        self._height = TALL if lines <= FEW_LINES else LOW
        bottom = TOP + self._height * lines
        self._svg = canvas(parent, label, WIDTH, bottom + BOTTOM, has_links=link is not None)
        self._across = Scale(0, max(clock.whole_s, 1e-9), LEFT, WIDTH - RIGHT)
        self._draw_axis(bottom)

    def _draw_axis(self, bottom: float) -> None:
        svg, clock = self._svg, self._clock
        _, unit_s, unit = next(each for each in UNITS if clock.whole_s >= each[0])
        for value, text in Scale(0, max(clock.whole_s, 1e-9) / unit_s, 0, 1).ticks():
            x = self._across(value * unit_s)
            path(svg, [(x, TOP), (x, bottom)], "grid")
            write(svg, (x, bottom + 15), text, "tick middle")
        cut = ", without the times that had no driver" if clock.away else ""
        write(svg, ((LEFT + WIDTH) / 2, bottom + 34), f"time since the launch ({unit}){cut}", "soft middle")
        for wait in clock.away:
            x = self._across(clock(wait.begin))
            path(svg, [(x, TOP), (x, bottom)], "guide", f"no driver for {_told(wait.end - wait.begin)}")

    def name(self, place: int, text: str) -> None:
        """Writes what a line is of."""
        write(self._svg, (LEFT - 8, self._middle(place) + 4), text, "tick end")

    def draw(self, place: int, piece: Piece, parts: Iterable[Part], *, is_stop: bool) -> None:
        """Draws one piece by itself."""
        said = _said(piece)
        address = self._link(piece.trials[0]) if self._link is not None and isinstance(piece, Span) else ""
        into = anchor(self._svg, address, said, is_stop=is_stop)
        for kind, begin, end in parts:
            left, right = self._across(self._clock(begin)), self._across(self._clock(end))
            if right > left:
                _run(into, [(left, max(right - 0.8, left + 0.4))], self._middle(place), self._height - 3, kind, said)

    def cells(self, groups: Sequence[Sequence[Part]]) -> None:
        """Draws for each line and stretch of time what most of it went into, neighbours of one kind joined."""
        columns = min(MOST_COLUMNS, MOST_CELLS // len(groups))
        width = (self._across.end - self._across.start) / columns
        kinds: dict[str, int] = {}
        for place, parts in enumerate(groups):
            of = np.array([kinds.setdefault(kind, len(kinds)) for kind, _, _ in parts], dtype=np.int64)
            moments = np.array([(begin, end) for _, begin, end in parts]).reshape(-1, 2)
            seconds = _covered(of, self._clock.all(moments) / max(self._clock.whole_s, 1e-9) * columns, columns)
            shown = np.where(seconds.sum(1) > 1e-9, seconds.argmax(1), -1)
            for kind, index in kinds.items():
                edges = np.flatnonzero(np.diff(np.concatenate([[False], shown == index, [False]])))
                ends = (self._across.start + edges * width).reshape(-1, 2).tolist()
                _run(self._svg, ends, self._middle(place), self._height - 2, kind)

    def _middle(self, place: int) -> float:
        return TOP + (place + 0.5) * self._height


def _legend(parent: Element, timeline: Timeline, painter: _Painter, spans: Sequence[Span]) -> None:
    used = [use for use, seconds in timeline.totals.items() if seconds > 0]
    causes = [(KINDS[use], str(use)) for use in used if use not in (Use.TRAINING, Use.AWAY)]
    kinds = {painter.kind(span) for span in spans}
    states = [(str(state), str(state)) for state in TrialState if state in kinds]
    counts: dict[str, list[int]] = {}
    for count in sorted({len(span.trials) for span in spans}):
        counts.setdefault(f"g{painter.shade(count)}", []).append(count)
    shades = [(kind, _lanes(found)) for kind, found in counts.items() if kind in kinds]
    legend(parent, [*states, *shades, *causes])


def _lanes(counts: Sequence[int]) -> str:
    least, most = counts[0], counts[-1]
    return f"{least} to {most} lanes" if least < most else f"{most} lane{'s' if most > 1 else ''}"


def _covered(of: "np.ndarray[Any, Any]", ends: "np.ndarray[Any, Any]", columns: int) -> "np.ndarray[Any, Any]":
    """How much of each column each kind covers, `[columns, MOST_KINDS]`; of spans in units of columns, `[N, 2]`."""
    partial, whole = np.zeros((columns, MOST_KINDS)), np.zeros((columns + 1, MOST_KINDS))
    first = np.minimum(ends.astype(np.int64), columns - 1)
    begin, last = first[:, 0], first[:, 1]
    is_within = begin == last
    np.add.at(partial, (begin, of), np.where(is_within, ends[:, 1], begin + 1) - ends[:, 0])
    np.add.at(partial, (last, of), np.where(is_within, 0.0, ends[:, 1] - last))
    np.add.at(whole, (begin + 1, of), np.where(is_within, 0, 1))
    np.add.at(whole, (last, of), np.where(is_within, 0, -1))
    return np.asarray(partial + whole.cumsum(0)[:columns])


def _run(
    parent: Element, ends: Sequence[Sequence[float]], middle: float, height: float, kind: str, said: str = ""
) -> None:
    """Thick lines of one kind beside each other, as one element."""
    if not ends:
        return
    d = "".join(f"M{left:.5g} {middle:g}H{right:.5g}" for left, right in ends)
    run = SubElement(parent, "path", {"d": d, "class": f"run {kind}", "stroke-width": f"{height:g}"})
    if said:
        SubElement(run, "title").text = said


def _said(piece: Piece) -> str:
    length = _told(piece.end - piece.begin)
    if isinstance(piece, Pause):
        return f"{piece.use}, {length}"
    several = f"trials {', '.join(map(str, piece.trials[:8]))}{', …' if len(piece.trials) > 8 else ''}"
    who = several if len(piece.trials) > 1 else f"trial {piece.trials[0]}"
    return f"{who}, epochs {piece.since} to {piece.until}, {length}, {piece.ending} ({piece.key})"


def _told(seconds: float) -> str:
    """A length of time in the unit that suits it."""
    _, unit_s, unit = next(each for each in UNITS if seconds >= each[0])
    return f"{seconds / unit_s:,.3g} {unit}"

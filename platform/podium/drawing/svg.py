"""Small charts as SVG within an HTML page: scales, axes and marks. Colours are the classes of the page's style.

The elements are a tree, so that whatever a user's name holds is escaped when it is written.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

WIDTH, HEIGHT = 460, 290
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 24, 40
SMALL = (320, 250)
"""The size of charts that stand beside each other."""

Point = tuple[float, float]

Link = Callable[[int], str]
"""From a trial's number to the address of its page."""


@dataclass(frozen=True)
class Scale:
    """From values between `low` and `high` to coordinates between `start` and `end`; beyond them, to the nearer."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        share = (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)  # the whole difference may be infinite
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self, *, whole: bool = False) -> list[tuple[float, str]]:
        """About five round values with their labels, which have as many digits as it takes to tell them apart."""
        from matplotlib.ticker import MaxNLocator

        found = MaxNLocator(nbins=5, steps=[1, 2, 5, 10], integer=whole).tick_values(self.low, self.high)
        values = [float(each) for each in found if self.low <= each <= self.high and (each == int(each) or not whole)]
        digits = next(many for many in range(6, 18) if len({f"{each:.{many}g}" for each in values}) == len(values))
        return [(each, f"{each:,.{digits}g}") for each in values]


class Plot:
    """A chart with two axes.

    Args:
        parent: The element that it becomes part of.
        label: What it shows, for those who cannot see it.
        x: The lowest and the highest value across.
        y: Those upwards.
        names: What the axes show.
        size: Width and height in units of the drawing.
        has_links: Whether its marks lead anywhere.
    """

    def __init__(
        self,
        parent: Element,
        label: str,
        x: Point,
        y: Point,
        names: tuple[str, str],
        *,
        size: tuple[float, float] = (WIDTH, HEIGHT),
        has_links: bool = False,
    ) -> None:
        self.svg = canvas(parent, label, *size, has_links=has_links)
        self._width, self._height = size
        self.x, self.y = Scale(*x, LEFT, self._width - RIGHT), Scale(*y, self._height - BOTTOM, TOP)
        write(self.svg, ((LEFT + self._width - RIGHT) / 2, self._height - 4), names[0], "soft middle")
        write(self.svg, (4, 13), names[1], "soft")

    def grid(self, x: Iterable[tuple[float, str]], y: Iterable[tuple[float, str]]) -> None:
        """Draws labelled ticks, and a line across at each of `y`."""
        for value, label in y:
            path(self.svg, [(LEFT, self.y(value)), (self._width - RIGHT, self.y(value))], "grid")
            write(self.svg, (LEFT - 6, self.y(value) + 4), label, "tick end")
        for value, label in x:
            write(self.svg, (self.x(value), self._height - BOTTOM + 15), label, "tick middle")

    def line(
        self, points: Sequence[Point], kind: str, title: str = "", href: str = "", *, is_stop: bool = True
    ) -> None:
        """Draws a line through points; a title shows when one points at it, and it leads to `href`."""
        parent = anchor(self.svg, href, title, is_stop=is_stop)
        path(parent, [(self.x(x), self.y(y)) for x, y in points], f"line {kind}", title)

    def cloud(self, points: Iterable[Point], kind: str) -> None:
        """Draws many dots as one element, and only once those that would cover each other."""
        there = sorted({(round(self.x(x)), round(self.y(y))) for x, y in points})
        if there:
            SubElement(self.svg, "path", {"d": "".join(f"M{x} {y}h0" for x, y in there), "class": f"cloud {kind}"})

    def area(self, x: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str) -> None:
        """Fills the space between two lines."""
        there = [*zip(x, high, strict=True), *reversed(list(zip(x, low, strict=True)))]
        path(self.svg, [(self.x(x), self.y(y)) for x, y in there], f"area {kind}")

    def dot(
        self,
        at: Point,
        radius: float,
        kind: str,
        title: str = "",
        shift: float = 0.0,
        href: str = "",
        *,
        is_stop: bool = True,
    ) -> None:
        """Draws a dot, `shift` units right of where it belongs, that leads to `href`."""
        circle = SubElement(
            anchor(self.svg, href, title, is_stop=is_stop),
            "circle",
            {
                "cx": f"{self.x(at[0]) + shift:g}",
                "cy": f"{self.y(at[1]):g}",
                "r": f"{radius:g}",
                "class": f"dot {kind}",
            },
        )
        _title(circle, title)

    def bar(self, x: float, low: float, high: float, kind: str, shift: float = 0.0) -> None:
        """Draws a line upwards from `low` to `high`, `shift` units right of where it belongs."""
        path(self.svg, [(self.x(x) + shift, self.y(low)), (self.x(x) + shift, self.y(high))], kind)


def canvas(parent: Element, label: str, width: float, height: float, *, has_links: bool = False) -> Element:
    """An empty drawing as wide as the page lets it be; to those who cannot see it a picture, or a group of links."""
    role = "group" if has_links else "img"
    return SubElement(parent, "svg", {"viewBox": f"0 0 {width:g} {height:g}", "role": role, "aria-label": label})


def anchor(parent: Element, href: str, label: str, *, is_stop: bool = True) -> Element:
    """A link within a drawing, or its `parent` if it leads nowhere.

    Args:
        parent: What it becomes part of.
        href: Where it leads.
        label: Its name for those who cannot see it.
        is_stop: Whether the tab key stops there: of hundreds of marks only at those that matter most.
    """
    if not href:
        return parent
    return SubElement(parent, "a", {"href": href, "aria-label": label, **({} if is_stop else {"tabindex": "-1"})})


def path(parent: Element, points: Sequence[Point], kind: str, title: str = "") -> None:
    """Draws a line through points, in coordinates; nothing through none."""
    if not points:
        return
    d = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
    _title(SubElement(parent, "path", {"d": d, "class": kind}), title)


def write(parent: Element, at: Point, text: str, kind: str) -> None:
    """Writes text, in coordinates."""
    SubElement(parent, "text", {"x": f"{at[0]:g}", "y": f"{at[1]:g}", "class": kind}).text = text


def _title(element: Element, text: str) -> None:
    if text:
        SubElement(element, "title").text = text

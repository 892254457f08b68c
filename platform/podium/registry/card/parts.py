"""The model card: what it is made of, whichever way it is written. Plain data, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SIGNS = {
    "promoted": "✓",
    "passed": "✓",
    "refused": "✗",
    "failed": "✗",
    "undecided": "?",
    "open": "?",
}
"""What stands before an outcome, so that its colour is not all that tells it."""


@dataclass(frozen=True)
class Outcome:
    """A verdict or how a gate ended; drawn in its colour."""

    name: str

    def __str__(self) -> str:
        """With its sign."""
        return f"{SIGNS.get(self.name, '?')} {self.name}"


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | Outcome]]


@dataclass(frozen=True)
class Figures:
    """The few figures that count: name, value, and a note, which may be empty."""

    figures: Sequence[tuple[str, str, str]]


Kind = Literal["chosen", "plain", "other", "reported"]
"""Whose a mark is: the candidate's, or another finalist's; the champion's; or what the sweep reported."""


@dataclass(frozen=True)
class Mark:
    """An estimate on a scale, with its bounds, if it has any.

    Attributes:
        kind: Whose it is.
        estimate: Where it stands.
        low: None without a lower bound.
        high: None without an upper bound.
    """

    kind: Kind
    estimate: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of a forest: its marks, and the same in words."""

    label: str
    note: str
    marks: Sequence[Mark]
    texts: Sequence[str]


@dataclass(frozen=True)
class Forest:
    """Intervals below each other on one scale.

    Attributes:
        head: What the labels and the texts are.
        rows: From top to bottom.
        is_share: Whether the numbers are shares, shown in percent.
        legend: What the kinds of marks mean.
        lines: Numbers that the marks are to be held against, with a name each.
        sides: What it means to stand on the left and on the right of the first line; empty if nothing.
    """

    head: tuple[str, str]
    rows: Sequence[Row]
    is_share: bool
    legend: Sequence[tuple[Kind, str]]
    lines: Sequence[tuple[float, str]] = ()
    sides: tuple[str, str] | None = None


@dataclass(frozen=True)
class Panel:
    """The curves of one finalist: by seed the value after each epoch; what was reported and confirmed of it."""

    title: str
    is_chosen: bool
    curves: Sequence[Sequence[tuple[int, float | None]]]
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Curves:
    """Learning curves, a panel for each finalist, all on one scale."""

    metric: str
    maximize: bool
    is_share: bool
    panels: Sequence[Panel]


Block = Text | Points | Table | Figures | Forest | Curves


@dataclass(frozen=True)
class Section:
    """Blocks under a title."""

    title: str
    blocks: Sequence[Block]

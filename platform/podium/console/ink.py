"""How states look in a terminal: in colours where there are colours, in letters where there are none."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rich.console import Console

from podium.console import ground
from podium.drawing.palette import DARK, LIGHT
from podium.sweep.machine import SweepState
from podium.sweep.trial import TrialState

BLOCKS = {
    TrialState.COMPLETE: "█",
    TrialState.STOPPED: "█",
    TrialState.DIVERGED: "█",
    TrialState.FAILED: "█",
    TrialState.CANCELLED: "█",
    TrialState.PAUSED: "▓",
    TrialState.RUNNING: "▒",
    TrialState.WAITING: "░",
}
"""The mark of each state, in the order of the bar from left to right; the rest are trials to come."""

LETTERS = dict(zip(BLOCKS, "#=x!-+>:", strict=True))
"""The marks where states would look alike, or signs beyond ASCII cannot be shown."""

OWN = {
    TrialState.COMPLETE: "blue",
    TrialState.STOPPED: "yellow",
    TrialState.DIVERGED: "red",
    TrialState.FAILED: "magenta",
    TrialState.CANCELLED: "default",
    TrialState.PAUSED: "cyan",
    TrialState.RUNNING: "green",
    TrialState.WAITING: "default",
}
"""The terminal's own colours, which suit its ground whatever it is."""

SWEEPS = {
    SweepState.RUNNING: TrialState.RUNNING,
    SweepState.FINISHED: TrialState.COMPLETE,
    SweepState.EXHAUSTED: TrialState.COMPLETE,
    SweepState.INTERRUPTED: TrialState.PAUSED,
    SweepState.STOPPED: TrialState.STOPPED,
    SweepState.FAILED: TrialState.FAILED,
}
"""The trial's state whose colour a sweep's state has."""


@dataclass(frozen=True)
class Ink:
    """What a terminal can show.

    Attributes:
        marks: By state its mark.
        styles: By state the style of its mark; text is left in the terminal's own colour.
        rest: The mark of trials to come.
        between: What stands between two facts in a line.
        arrow: From one to the next.
        ellipsis: For what was left out.
        bold: The style of what matters most.
    """

    marks: Mapping[TrialState, str]
    styles: Mapping[TrialState, str]
    rest: str = "·"
    between: str = " · "
    arrow: str = " → "
    ellipsis: str = "…"
    bold: str = "bold"

    @property
    def is_ascii(self) -> bool:
        """Whether nothing else is written."""
        return self.ellipsis.isascii()


COLOURLESS = Ink(LETTERS, dict.fromkeys(LETTERS, ""))
ASCII = Ink(LETTERS, dict.fromkeys(LETTERS, ""), rest=".", between=" - ", arrow=" -> ", ellipsis="...")


def ink_of(console: Console) -> Ink:
    """What a console can show."""
    colours = None if console.no_color else console.color_system
    styles = _styles(colours) if colours else COLOURLESS.styles
    if not console.encoding.startswith("utf"):
        return Ink(LETTERS, styles, ASCII.rest, ASCII.between, ASCII.arrow, ASCII.ellipsis)
    return Ink(BLOCKS, styles) if colours else COLOURLESS


@cache
def _styles(colours: str) -> Mapping[TrialState, str]:
    """The palette's colours for the ground, if that is known and there are enough colours to show them."""
    light = ground.is_light() if colours in ("256", "truecolor") else None
    return OWN if light is None else (LIGHT if light else DARK).states

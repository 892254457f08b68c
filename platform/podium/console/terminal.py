"""Live progress in a terminal; plain lines where there is none."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from podium.console.ink import Ink, ink_of
from podium.console.view import View
from podium.errors import Interrupted
from podium.sweep.machine import Machine
from podium.sweep.messages import Event

DRAW_EVERY_S = 0.2
LINE_EVERY_S = 5.0

SHARE = 0.02
"""Of the driver's time that drawing may take."""


class Interrupts:
    """Counts the user's wishes to leave: the first is heard by the driver, the second ends the process's wait."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.count = 0
        self.is_at_once = False
        self._say = say

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler; the first wish, too, is carried out at once while `is_at_once`."""
        self.count += 1
        if self.count > 1 or self.is_at_once:
            raise KeyboardInterrupt
        self._say("Leaving: no new trials, running ones write a checkpoint. Once more leaves at once.")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens to SIGINT and SIGTERM until the block ends; only the main thread of a process can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Screen:
    """Standard error: a live area in a terminal, lines elsewhere.

    Args:
        console: Where to draw; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.is_live = self.console.is_terminal and not self.console.is_dumb_terminal
        self._live: Live | None = None
        self._ink: Ink | None = None
        self._lines: list[Text] = []
        self._said = ""
        self._due = 0.0

    def show(self, view: View, machine: Machine, note: str = "") -> None:
        """Draws a machine, as often as an eye can follow; the end of a sweep always.

        Args:
            view: What has heard of its events.
            machine: The sweep.
            note: What else is to be said, in a line below it.
        """
        if not machine.is_ended and time.monotonic() < self._due:
            return
        if self.is_live and self._ink is None:
            self._ink = ink_of(self.console)  # a terminal that does not answer takes a while, and only once
        began = time.monotonic()
        if self._ink is not None:
            width, height = self.console.size
            self._lines = view.draw(machine, width, height - bool(note), self._ink)
            self._draw(note)
        else:
            self._say_once(" · ".join(filter(None, (view.headline(machine), note))))
        ended = time.monotonic()
        self._due = ended + max(DRAW_EVERY_S if self.is_live else LINE_EVERY_S, (ended - began) / SHARE)

    def note(self, text: str) -> None:
        """Says something below what was drawn last; the same only once where lines stay."""
        self._draw(text) if self.is_live else self._say_once(text)

    def say(self, text: str, style: str = "") -> None:
        """Prints a line, above the live area if there is one."""
        self.console.print(Text(text, style=style), soft_wrap=True)

    def close(self) -> None:
        """Leaves what the live area shows as it is, and goes on below it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, note: str) -> None:
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        lines = [*self._lines, *([Text(note, style="bold")] if note else [])]
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
        self._live.update(Group(*lines), refresh=True)

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.say(text)


class Terminal:
    """A launch's watcher that draws on standard error: a live view in a terminal, lines elsewhere.

    Args:
        console: Where to draw; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._screen = Screen(console)
        self._view = View()
        self._interrupts = Interrupts(self.warn)

    @contextmanager
    def opened(self) -> Iterator["Terminal"]:
        """Hears interrupts and owns the live area until the block ends."""
        try:
            with self._interrupts.heard():
                yield self
        finally:
            self._screen.close()

    def stage(self, text: str) -> None:
        """Says what is being done."""
        self._screen.close()
        self._screen.say(f"{text} …", "bold")

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        """Shows how much of the data is prepared; whoever leaves meanwhile leaves at once."""
        shown = self._screen.console.status("") if self._screen.is_live else None
        told = time.monotonic()

        def tell(stage: str, share: float) -> None:
            nonlocal told
            text = f"Preparing data: {stage} {share:.0%}"
            if shown is not None:
                shown.update(text)
            elif time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                self._screen.say(text)

        self._interrupts.is_at_once = True
        try:
            with shown or nullcontext():
                yield tell
        except KeyboardInterrupt:  # nothing that a user's code catches
            if self._interrupts.count != 1:
                raise
            problem = "interrupted while the data were prepared; launch again, and it goes on from there"
            raise Interrupted(problem) from None
        finally:
            self._interrupts.is_at_once = False

    def warn(self, text: str) -> None:
        """Says what the user should know."""
        self._screen.say(text, "yellow")

    def is_interrupted(self) -> bool:
        """Whether the user asked to leave."""
        return self._interrupts.count > 0

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """Draws the machine, as often as an eye can follow."""
        self._view.take(machine, events)
        self._screen.show(self._view, machine)


class Silent:
    """A watcher that says nothing, for programs."""

    def stage(self, text: str) -> None:
        """Says nothing."""

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        """Says nothing."""
        yield lambda stage, share: None

    def warn(self, text: str) -> None:
        """Says nothing."""

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """Says nothing."""

    def is_interrupted(self) -> bool:
        """Never."""
        return False

"""Live progress in a terminal; plain lines where there is none."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from podium.sweep.machine import Machine
from podium.sweep.messages import Event, Progress
from podium.sweep.trial import Trial, TrialState

COLOURS = {
    TrialState.WAITING: "bright_black",
    TrialState.RUNNING: "cyan",
    TrialState.PAUSED: "blue",
    TrialState.COMPLETE: "green",
    TrialState.STOPPED: "yellow",
    TrialState.DIVERGED: "magenta",
    TrialState.FAILED: "red",
    TrialState.CANCELLED: "bright_black",
}

MOST_ROWS = 12
PLAIN_EVERY_S = 2.0


class Interrupts:
    """Counts the user's wishes to leave: the first is heard by the driver, the second ends the process's wait."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.count = 0
        self._say = say

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """The signal handler."""
        self.count += 1
        if self.count > 1:
            raise KeyboardInterrupt
        self._say("Leaving: no new trials, running ones write a checkpoint. Once more leaves at once.")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens to SIGINT and SIGTERM until the block ends."""
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class View:
    """What the screen shows of a machine: pure text, no terminal."""

    def __init__(self) -> None:
        self._latest: dict[int, tuple[int, dict[str, float | None]]] = {}
        self._began = time.monotonic()
        self._ended_before: int | None = None

    def take(self, machine: Machine, events: Sequence[Event]) -> None:
        """Remembers the newest metrics of running trials."""
        for event in events:
            if isinstance(event, Progress):
                for lane in event.lanes:
                    self._latest[lane.trial] = (lane.epoch, lane.metrics)
        if self._ended_before is None:
            self._ended_before = self.ended(machine)

    def ended(self, machine: Machine) -> int:
        """How many trials are over."""
        return sum(trial.state.is_ended for trial in machine.trials.values())

    def speed(self, machine: Machine) -> float:
        """Trials that left their first rung or ended, per second of this launch."""
        return self._passed(machine) / max(time.monotonic() - self._began, 1e-9)

    def headline(self, machine: Machine) -> str:
        """Counts, best, speed and time left in one line."""
        counts = machine.count()
        parts = [f"{len(machine.trials)}/{machine.budget} trials"]
        parts += [f"{counts[state]} {state}" for state in TrialState if state in counts]
        best = machine.best()
        if best is not None:
            parts.append(f"best {number(best.last_values[0])} (trial {best.number}, epoch {best.best_epoch})")
        speed = self.speed(machine)
        if speed > 0:
            parts.append(f"{speed:.2g} trials/s")
            left = machine.budget - self._passed(machine) - (self._ended_before or 0)
            parts.append(f"about {duration(max(left, 0) / speed)} left")
        return " · ".join(parts)

    def running(self, machine: Machine) -> list[tuple[Trial, int, dict[str, float | None]]]:
        """The running trials with their newest epoch and metrics."""
        trials = [trial for trial in machine.trials.values() if trial.state is TrialState.RUNNING]
        return [(trial, *self._latest.get(trial.number, (trial.epoch, {}))) for trial in trials]

    def _passed(self, machine: Machine) -> int:
        passed = sum(trial.state.is_ended or bool(trial.values) for trial in machine.trials.values())
        return passed - (self._ended_before or 0)


class Terminal:
    """A launch's watcher that draws on standard error: a live view in a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._view = View()
        self._interrupts = Interrupts(self.warn)
        self._live: Live | None = None
        self._last_line = 0.0
        self._last_text = ""

    @contextmanager
    def opened(self) -> Iterator["Terminal"]:
        """Hears interrupts and owns the live area until the block ends."""
        try:
            with self._interrupts.heard():
                yield self
        finally:
            self._close()

    def stage(self, text: str) -> None:
        """Says what is being done."""
        self._close()
        self._console.print(f"[bold]{text}[/bold] …")

    def warn(self, text: str) -> None:
        """Says what the user should know."""
        self._console.print(f"[yellow]{text}[/yellow]", soft_wrap=True)

    def is_interrupted(self) -> bool:
        """Whether the user asked to leave."""
        return self._interrupts.count > 0

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """Draws the machine."""
        self._view.take(machine, events)
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, refresh_per_second=4, transient=False)
                self._live.start()
            self._live.update(self._draw(machine))
        elif machine.is_ended or time.monotonic() - self._last_line >= PLAIN_EVERY_S:
            self._last_line = time.monotonic()
            text = self._view.headline(machine)
            if text != self._last_text:
                self._last_text = text
                print(text, file=sys.stderr, flush=True)  # noqa: T201

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, machine: Machine) -> RenderableType:
        bar = ProgressBar(total=machine.budget, completed=self._view.ended(machine), width=None)
        running = self._view.running(machine)
        table = Table(box=None, pad_edge=False)
        for heading in ("trial", "epoch", "last", "parameters"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        metric = machine.spec.search.objectives[0].metric
        for trial, epoch, metrics in running[:MOST_ROWS]:
            parameters = " ".join(f"{key.split('.')[-1]}={short(value)}" for key, value in trial.parameters.items())
            table.add_row(str(trial.number), str(epoch), number(metrics.get(metric)), parameters)
        more = [Text(f"and {len(running) - MOST_ROWS} more")] if len(running) > MOST_ROWS else []
        return Group(bar, Text(self._view.headline(machine)), table, *more)


class Silent:
    """A watcher that says nothing, for programs."""

    def stage(self, text: str) -> None:
        """Says nothing."""

    def warn(self, text: str) -> None:
        """Says nothing."""

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """Says nothing."""

    def is_interrupted(self) -> bool:
        """Never."""
        return False


def number(value: float | None) -> str:
    """A metric in five significant digits."""
    return "–" if value is None else f"{value:.5g}"


def short(value: object) -> str:
    """A parameter's value, floats in three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"

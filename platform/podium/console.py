"""Live progress in a terminal; plain lines where there is none."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import FrameType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from podium.errors import Interrupted
from podium.sweep.forecast import left_epochs
from podium.sweep.machine import Machine
from podium.sweep.messages import Event, GangReady, Progress
from podium.sweep.trial import Trial, TrialState

BAR = {
    TrialState.COMPLETE: ("█", "green"),
    TrialState.STOPPED: ("█", "yellow"),
    TrialState.DIVERGED: ("█", "magenta"),
    TrialState.FAILED: ("█", "red"),
    TrialState.CANCELLED: ("█", "bright_black"),
    TrialState.PAUSED: ("▓", "blue"),
    TrialState.RUNNING: ("▒", "cyan"),
    TrialState.WAITING: ("░", "default"),
}
"""How a share of the bar is drawn, from left to right; the rest are trials to come."""

MOST_ROWS = 12
OTHER_LINES = 7
"""Lines of the screen that the table must leave to the rest."""

DRAW_EVERY_S = 0.2
LINE_EVERY_S = 5.0


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


class View:
    """What the screen shows of a machine: text and tables, no terminal.

    Args:
        now: The time in seconds, never running backwards.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._latest: dict[int, tuple[int, dict[str, float | None]]] = {}
        self._began = 0.0
        self._before: tuple[int, int] | None = None

    def take(self, machine: Machine, events: Sequence[Event]) -> None:
        """Remembers the newest metrics of trials, and where the sweep stood when its first gang was ready."""
        for event in events:
            if isinstance(event, Progress):
                for lane in event.lanes:
                    self._latest[lane.trial] = (lane.epoch, lane.metrics)
        if self._before is None and any(isinstance(event, GangReady) for event in events):
            self._began, self._before = self._now(), self._done(machine)

    def headline(self, machine: Machine) -> str:
        """Counts, speed, time left and best in one line."""
        return " · ".join(part for part in (self.counts(machine), self.pace(machine), self.best(machine)) if part)

    def counts(self, machine: Machine) -> str:
        """How many trials there are, and in which states."""
        counts = machine.count()
        states = [f"{counts[state]} {state}" for state in TrialState if state in counts]
        return " · ".join([f"{len(machine.trials)}/{machine.budget} trials", *states])

    def pace(self, machine: Machine) -> str:
        """Speed of this launch and time left; empty before there is anything to go by."""
        elapsed_s = self._now() - self._began
        if self._before is None or machine.is_ended or elapsed_s <= 0:
            return ""
        passed, epochs = (now - before for now, before in zip(self._done(machine), self._before, strict=True))
        parts = [rate(passed / elapsed_s)] if passed else []
        if epochs:
            left_s = left_epochs(machine, self._epochs(machine)) * elapsed_s / epochs
            limit_s = machine.spec.budget.wall_time
            left_s = left_s if limit_s is None else min(left_s, max(limit_s - machine.spent_s, 0))
            parts.append(f"about {duration(left_s)} left")
        return " · ".join(parts)

    def best(self, machine: Machine) -> str:
        """The best trial so far; empty before the first."""
        best = machine.best()
        if best is None:
            return ""
        metrics = [objective.metric for objective in machine.spec.search.objectives]
        values = ", ".join(f"{name} {number(x)}" for name, x in zip(metrics, best.last_values, strict=True))
        return f"best {values} (trial {best.number}, epoch {best.best_epoch})"

    def running(self, machine: Machine) -> list[tuple[Trial, int, dict[str, float | None]]]:
        """The running trials with their newest epoch and metrics."""
        trials = [trial for trial in machine.trials.values() if trial.state is TrialState.RUNNING]
        return [(trial, *self._latest.get(trial.number, (trial.epoch, dict(trial.metrics)))) for trial in trials]

    def draw(self, machine: Machine, width: int, height: int) -> RenderableType:
        """All of it, for a screen of `width` by `height` characters."""
        lines = [self.counts(machine), self.pace(machine), self.best(machine)]
        texts = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines if line]
        rows = self.running(machine)
        shown = max(1, min(MOST_ROWS, height - OTHER_LINES))
        more = [Text(f"and {len(rows) - shown} more", style="bright_black")] if len(rows) > shown else []
        return Group(bar(machine, width), *texts, *([_table(machine, rows[:shown])] if rows else []), *more)

    def _epochs(self, machine: Machine) -> dict[int, int]:
        return {
            number: max(trial.epoch, self._latest.get(number, (0, {}))[0]) for number, trial in machine.trials.items()
        }

    def _done(self, machine: Machine) -> tuple[int, int]:
        """Trials that passed their first rung or ended, and epochs, of all launches together."""
        passed = sum(trial.state.is_ended or bool(trial.values) for trial in machine.trials.values())
        return passed, sum(self._epochs(machine).values())


class Terminal:
    """A launch's watcher that draws on standard error: a live view in a terminal, lines elsewhere.

    Args:
        console: Where to draw; by default standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._view = View()
        self._interrupts = Interrupts(self.warn)
        self._live: Live | None = None
        self._drawn = 0.0
        self._line = ""

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
        self._print(Text(f"{text} …", style="bold"))

    @contextmanager
    def preparing(self) -> Iterator[Callable[[str, float], None]]:
        """Shows how much of the data is prepared; whoever leaves meanwhile leaves at once."""
        shown = self._console.status("") if self._is_live else None
        told = time.monotonic()

        def tell(stage: str, share: float) -> None:
            nonlocal told
            text = f"Preparing data: {stage} {share:.0%}"
            if shown is not None:
                shown.update(text)
            elif time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                self._print(Text(text))

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
        self._print(Text(text, style="yellow"))

    def is_interrupted(self) -> bool:
        """Whether the user asked to leave."""
        return self._interrupts.count > 0

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """Draws the machine, as often as an eye can follow."""
        self._view.take(machine, events)
        every_s = DRAW_EVERY_S if self._is_live else LINE_EVERY_S
        if machine.is_ended or time.monotonic() - self._drawn >= every_s:
            self._drawn = time.monotonic()
            self._draw(machine) if self._is_live else self._print_line(machine)

    def _draw(self, machine: Machine) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        self._live.update(self._view.draw(machine, self._console.width, self._console.height), refresh=True)

    def _print_line(self, machine: Machine) -> None:
        line = self._view.headline(machine)
        if line != self._line:
            self._line = line
            self._print(Text(line))

    def _print(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


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


def bar(machine: Machine, width: int) -> Text:
    """A line over all trials of the budget, by state; a state that has any trials has at least one character."""
    counts, text, drawn = machine.count(), Text(no_wrap=True), 0
    seen = 0
    for state, (character, style) in BAR.items():
        seen += counts.get(state, 0)
        length = min(max(round(width * seen / machine.budget) - drawn, 1 if state in counts else 0), width - drawn)
        text.append(character * length, style)
        drawn += length
    return text.append("·" * (width - drawn), "bright_black")


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


def rate(per_s: float) -> str:
    """Trials a second, or a minute or an hour where that makes a number one can read."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.2g} trials/{unit}"
    return f"{per_s * 3600:.2g} trials/h"


def _table(machine: Machine, rows: Sequence[tuple[Trial, int, dict[str, float | None]]]) -> Table:
    metric = machine.spec.search.objectives[0].metric
    names = machine.spec.space().names
    table = Table(box=None, pad_edge=False, expand=True, header_style="bright_black")
    for heading in ("trial", "epoch", _shorten(metric, (metric,))):
        table.add_column(heading, no_wrap=True, justify="right", max_width=12)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
    for trial, epoch, metrics in rows:
        parameters = " ".join(f"{_shorten(key, names)}={short(value)}" for key, value in trial.parameters.items())
        cells = str(trial.number), f"{epoch}/{machine.spec.budget.epochs.max}", number(metrics.get(metric)), parameters
        table.add_row(*map(Text, cells))
    return table


def _shorten(name: str, names: Sequence[str]) -> str:
    """The last part of a dotted or slashed name, unless another of the `names` ends the same."""

    def last(full: str) -> str:
        return full.replace("/", ".").rpartition(".")[2]

    return last(name) if sum(last(each) == last(name) for each in names) == 1 else name

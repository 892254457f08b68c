"""What the screen shows, from events alone."""

import io
import signal
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from podium.console import BAR, Interrupts, Terminal, View, bar, duration, number, rate, short
from podium.spec.files import parse_sweep
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    Event,
    GangReady,
    LaneProgress,
    Launched,
    Progress,
    Propose,
    Proposed,
    Report,
    Saved,
)
from podium.testing.simulation import RandomProposer

METRIC = "validation/accuracy"


class Bench:
    """A machine that is fed by hand, with a view of it and a clock that stands still."""

    def __init__(
        self, trials: int, gangs: int, policy: str = "asha", budget: Mapping[str, Any] = {}, fuses: bool = False
    ) -> None:
        spec = parse_sweep(
            {
                "sweep": "shown",
                "task": "classification",
                "data": {"source": "mnist_5k"},
                "search": {
                    "objective": {"metric": METRIC, "direction": "maximize"},
                    "space": {
                        "network.kind": {"choice": ["mlp", "convnet"]},
                        "optimizer.kind": {"choice": ["sgd", "adam"]},
                        "optimizer.learning_rate": {"log": [1e-4, 1.0]},
                    },
                },
                "budget": {"trials": trials, "epochs": {"min": 1, "max": 9}, "policy": policy, **budget},
            }
        )
        self.machine, self.at_s = Machine(spec), 0.0
        self.view = View(lambda: self.at_s)
        self._proposer = RandomProposer(spec.space())
        self.open: list[Advance] = []
        self.tell(Launched(identity="1", spec=spec.written(), fuses=fuses))
        self.tell(*(GangReady(gang=f"g{index}") for index in range(gangs)))

    def tell(self, *events: Event) -> None:
        """Tells machine and view; answers proposals, and keeps the advances that follow."""
        told = list(events)
        while told:
            commands = [command for event in told for command in self.machine.handle(event)]
            self.view.take(self.machine, told)
            self.open += [command for command in commands if isinstance(command, Advance)]
            told = [self._proposer.propose(ask, self.machine.trials) for ask in commands if isinstance(ask, Propose)]
        assert not any(isinstance(command, Proposed) for command in told)

    def progress(self, advance: Advance, epoch: int, value: float | None) -> None:
        """One epoch of a running advance."""
        lanes = tuple(LaneProgress(trial=lane.trial, epoch=epoch, metrics={METRIC: value}) for lane in advance.lanes)
        self.tell(Progress(gang=advance.gang, lanes=lanes))

    def finish(self, value: float = 0.5) -> None:
        """Ends the oldest open advance at its rung."""
        advance = self.open.pop(0)
        for epoch in range(advance.lanes[0].epoch + 1, advance.until + 1):
            self.progress(advance, epoch, value)
        trials = [lane.trial for lane in advance.lanes]
        reports = tuple(
            Report(
                trial=trial,
                epoch=advance.until,
                values=(value,),
                best_epoch=advance.until,
                metrics={METRIC: value},
            )
            for trial in trials
        )
        self.tell(*(Saved(trial=trial, epoch=advance.until, folder="saved") for trial in trials))
        self.tell(Advanced(key=advance.key, gang=advance.gang, reports=reports))

    def drawn(self, width: int, height: int = 30, **console: Any) -> list[str]:
        """The lines on a screen."""
        screen = Console(file=io.StringIO(), width=width, height=height, highlight=False, **console)
        screen.print(self.view.draw(self.machine, width, height))
        return screen.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_the_headline_says_counts_best_speed_and_time_left() -> None:
    bench = Bench(trials=40, gangs=8)
    assert bench.view.headline(bench.machine) == "8/40 trials · 8 running"
    bench.at_s = 10.0
    bench.finish(0.75)
    headline = bench.view.headline(bench.machine)
    assert headline.startswith("9/40 trials · 8 running · 1 paused · 6 trials/min · about ")
    assert headline.endswith("left · best validation/accuracy 0.75 (trial 0, epoch 1)")


def test_the_trials_of_a_cohort_count_one_by_one() -> None:
    bench = Bench(trials=40, gangs=1, fuses=True)
    assert [len(advance.lanes) for advance in bench.open] == [6], "a lead, and 40 // 8 mates"
    assert bench.view.counts(bench.machine) == "6/40 trials · 6 running"
    bench.progress(bench.open[0], 1, 0.25)
    assert [(epoch, metrics) for _, epoch, metrics in bench.view.running(bench.machine)] == [(1, {METRIC: 0.25})] * 6
    bench.at_s = 10.0
    bench.finish(0.75)
    assert bench.view.pace(bench.machine).startswith("36 trials/min")


def test_running_trials_stand_with_their_last_metric() -> None:
    bench = Bench(trials=4, gangs=2)
    bench.progress(bench.open[0], 1, 0.25)
    (first, epoch, metrics), (second, before, nothing) = bench.view.running(bench.machine)
    assert (first.number, epoch, metrics) == (0, 1, {METRIC: 0.25})
    assert (second.number, before, nothing) == (1, 0, {})


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize(("trials", "gangs"), [(2, 1), (40, 8), (4000, 500)])
def test_a_screen_is_readable_at_any_width_and_size(width: int, trials: int, gangs: int) -> None:
    bench = Bench(trials, gangs)
    bench.at_s = 5.0
    bench.progress(bench.open[0], 1, 0.91)
    bench.finish(0.912345)
    lines = bench.drawn(width)
    assert all(len(line) <= width for line in lines)
    assert len(lines) <= 20
    text = "\n".join(lines)
    assert len(lines[0]) == width
    assert f"/{trials} trials" in lines[1]
    assert "0.91234" in text
    assert "network.kind=" in text
    assert text.count("/9 ") == min(gangs, 12)
    assert ("and 488 more" in text) == (gangs == 500)


def test_a_low_screen_leaves_room_for_the_rest() -> None:
    assert len(Bench(40, 8).drawn(80, height=10)) <= 10


def test_nothing_is_coloured_where_colours_are_not_wanted() -> None:
    bench = Bench(40, 8)
    coloured = "\n".join(bench.drawn(80, force_terminal=True))
    plain = "\n".join(bench.drawn(80, force_terminal=True, color_system=None))
    assert "\x1b[36m" in coloured
    assert "\x1b[3" not in plain


def test_the_bar_covers_the_budget_and_shows_every_state() -> None:
    bench = Bench(trials=4000, gangs=1)
    assert bar(bench.machine, 40) == Text("▒" + "·" * 39, spans=bar(bench.machine, 40).spans)
    for _ in range(3):
        bench.finish()
    assert bar(bench.machine, 40).plain.startswith("▓▒·")
    while not bench.machine.is_ended and len(bench.machine.trials) < 400:
        bench.finish()
    assert {character for character, _ in BAR.values()} >= set(bar(bench.machine, 40).plain) - {"·"}
    assert len(bar(bench.machine, 40).plain) == 40


def test_a_full_bar_has_nothing_left() -> None:
    bench = Bench(trials=7, gangs=2)
    while not bench.machine.is_ended:
        bench.finish()
    assert set(bar(bench.machine, 33).plain) == {"█"}
    assert "left" not in bench.view.headline(bench.machine)


def test_time_left_is_exact_where_every_trial_takes_the_same() -> None:
    bench = Bench(trials=10, gangs=1, policy="none")
    for seconds in range(1, 5):
        bench.at_s = 9.0 * seconds
        bench.finish()
    assert bench.view.pace(bench.machine) == "6.7 trials/min · about 54 s left"


def test_time_left_is_never_less_than_what_is_under_way() -> None:
    bench = Bench(trials=1, gangs=1)
    for at_s in (1.0, 3.0):
        bench.at_s = at_s
        bench.finish()
    assert bench.view.pace(bench.machine) == "20 trials/min · about 6 s left"


def test_time_left_ends_with_the_wall_time() -> None:
    bench = Bench(trials=1000, gangs=1, budget={"wall_time": 20.0})
    bench.at_s = 1.0
    bench.finish()
    assert bench.view.pace(bench.machine).endswith("about 20 s left")


def test_speed_counts_this_launch_only() -> None:
    bench = Bench(trials=40, gangs=1, policy="none")
    for _ in range(20):
        bench.finish()
    later = View(lambda: bench.at_s)
    bench.at_s = 100.0
    later.take(bench.machine, [GangReady(gang="g0")])
    assert later.pace(bench.machine) == ""
    bench.at_s = 110.0
    assert later.pace(bench.machine) == ""
    bench.view = later
    bench.finish()
    assert later.pace(bench.machine).startswith("6 trials/min")


def test_a_pipe_gets_plain_lines_and_a_dumb_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    bench = Bench(40, 8)
    for console in (Console(file=io.StringIO(), width=40), Console(file=io.StringIO(), width=40, force_terminal=True)):
        with Terminal(console).opened() as terminal:
            terminal.stage("Starting workers")
            terminal.news(bench.machine, [])
            terminal.news(bench.machine, [])
        assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
            "Starting workers …",
            "8/40 trials · 8 running",
        ]


def test_a_terminal_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    bench, console = Bench(40, 8), Console(file=io.StringIO(), width=80, height=30, force_terminal=True)
    with Terminal(console).opened() as terminal:
        terminal.news(bench.machine, [])
        terminal.warn("mind [the gap] and [/this]")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "▒▒▒" in shown
    assert "mind [the gap] and [/this]" in shown
    assert shown.endswith("\x1b[?25h")


def test_a_long_warning_is_one_line_for_whoever_reads_it_from_a_file() -> None:
    console = Console(file=io.StringIO(), width=40)
    Terminal(console).warn("word " * 30)
    assert len(console.file.getvalue().splitlines()) == 1  # type: ignore[attr-defined]


def test_the_first_interrupt_is_noted_and_the_second_leaves() -> None:
    said: list[str] = []
    interrupts, before = Interrupts(said.append), signal.getsignal(signal.SIGINT)
    with interrupts.heard():
        signal.raise_signal(signal.SIGINT)
        assert interrupts.count == 1
        assert "Once more leaves at once" in said[0]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_thread_may_launch_too_and_hears_no_signals() -> None:
    ended: list[int] = []

    def listen() -> None:
        with Terminal(Console(file=io.StringIO())).opened() as terminal:
            ended.append(terminal.is_interrupted())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert ended == [False]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("per_s", "said"), [(52.4, "52 trials/s"), (0.5, "30 trials/min"), (0.01, "36 trials/h")])
def test_speeds_have_a_unit_that_suits_them(per_s: float, said: str) -> None:
    assert rate(per_s) == said


def test_values_are_short() -> None:
    assert (number(0.123456789), number(None)) == ("0.12346", "–")
    assert (short(0.00123456), short("relu"), short(3), short((1, 2))) == ("0.00123", "relu", "3", "(1, 2)")

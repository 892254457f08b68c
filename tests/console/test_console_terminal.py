"""A launch's terminal: drawn in place, as plain lines, interrupted; and the words for numbers."""

import io
import signal
import threading

import pytest
from console_bench import Bench
from rich.console import Console

from podium.console import Terminal
from podium.console.ink import Ink, ink_of
from podium.console.terminal import SHARE, Interrupts, Screen
from podium.drawing.words import duration, number, one_line, rate, short


def written(console: Console) -> str:
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_a_pipe_gets_plain_lines_and_a_dumb_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    bench = Bench(40, 8)
    for console in (Console(file=io.StringIO(), width=40), Console(file=io.StringIO(), width=40, force_terminal=True)):
        with Terminal(console).opened() as terminal:
            terminal.stage("Starting workers")
            terminal.news(bench.machine, [])
            terminal.news(bench.machine, [])
        assert written(console).splitlines() == [
            "Starting workers …",
            "8/40 trials · 8 running",
        ]


def test_a_terminal_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    bench, console = Bench(40, 8), Console(file=io.StringIO(), width=80, height=30, force_terminal=True)
    with Terminal(console).opened() as terminal:
        terminal.news(bench.machine, [])
        terminal.warn("mind [the gap] and [/this]")
    shown = written(console)
    assert "8/40 trials" in shown
    assert "mind [the gap] and [/this]" in shown
    assert shown.endswith("\x1b[?25h")


def test_a_long_warning_is_one_line_for_whoever_reads_it_from_a_file() -> None:
    console = Console(file=io.StringIO(), width=40)
    Terminal(console).warn("word " * 30)
    assert len(written(console).splitlines()) == 1


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
    ("seconds", "said"),
    [(0.4, "0.4 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")],
)
def test_durations_have_two_units_at_most(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("per_s", "said"), [(52.4, "52 trials/s"), (0.5, "30 trials/min"), (0.01, "36 trials/h")])
def test_speeds_have_a_unit_that_suits_them(per_s: float, said: str) -> None:
    assert rate(per_s) == said


def test_values_are_short() -> None:
    assert (number(0.123456789), number(None)) == ("0.12346", "–")
    assert (short(0.00123456), short("relu"), short(3), short((1, 2))) == ("0.00123", "relu", "3", "1, 2")


def test_text_of_a_users_does_nothing_to_the_terminal() -> None:
    assert one_line("a\n  b\x1b[31mred\x07") == "a b?[31mred?"


def test_drawing_leaves_the_driver_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    now, bench = [100.0], Bench(40, 8)
    screen = Screen(Console(file=io.StringIO(), width=80, height=30, force_terminal=True))
    drawn: list[float] = []

    def draw(*_args: object) -> None:
        drawn.append(now[0])
        now[0] += 0.05

    monkeypatch.setattr("podium.console.terminal.time.monotonic", lambda: now[0])

    def ask(console: Console) -> Ink:
        now[0] += 0.3
        return ink_of(console)

    monkeypatch.setattr("podium.console.terminal.ink_of", ask)
    monkeypatch.setattr(screen, "_draw", draw)
    while now[0] < 200.0:
        screen.show(bench.view, bench.machine)
        now[0] += 0.01
    assert drawn[1] - drawn[0] < 4, "a terminal that does not answer is asked once, and holds up no later picture"
    assert 0.05 * len(drawn) / 100 == pytest.approx(SHARE, rel=0.1)

"""Errors in a terminal: where, the line at fault with a mark below it, what is meant; elsewhere one plain line."""

import io
import sys
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.console import problems
from podium.console.problems import span
from podium.errors import LookupFailed, SpecError
from podium.spec.files import read_sweep


class Screen(io.StringIO):
    """Standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def show(self, error: Exception) -> list[str]:
        """The lines that are read on the screen when an error is shown on it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", self)
            (problems.show_usage if isinstance(error, click.ClickException) else problems.show)(error)  # type: ignore[operator]
        return [click.unstyle(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "24")
    return Screen()


FILE = """sweep: shown
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space:
    x: {float: [0, 1]}
budget: {trials: 6, epochs: {min: 1, max: 3}, policy: ashaa}
"""


def refused(folder: Path, text: str, *overrides: str) -> SpecError:
    (folder / "sweep.yaml").write_text(text)
    (folder / "train.py").write_text("")
    with pytest.raises(SpecError) as caught:
        read_sweep(folder / "sweep.yaml", overrides)
    return caught.value


def test_a_wrong_value_is_marked_in_its_line(tmp_path: Path, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(tmp_path, FILE)
    with pytest.raises(SpecError) as caught:
        read_sweep("sweep.yaml")
    where, line, mark, *said = screen.show(caught.value)
    assert where == "podium: sweep.yaml:7: budget.policy"
    assert "policy: ashaa" in line
    assert mark.index("^") == line.index("ashaa")
    assert mark.count("^") == len("ashaa")
    assert said[1] == "  did you mean 'asha'?"
    assert said[2].startswith("  allowed: asha, ")
    assert max(map(len, [where, line, mark, *said])) <= 60


def test_an_unknown_key_is_marked_itself(tmp_path: Path, screen: Screen) -> None:
    error = refused(tmp_path, FILE.replace("ashaa", "asha").replace("task:", "taks:"))
    _, line, mark, *_ = screen.show(error)
    assert mark.index("^") == line.index("taks")
    assert mark.count("^") == len("taks")


def test_an_override_is_shown_as_it_was_given(tmp_path: Path, screen: Screen) -> None:
    error = refused(tmp_path, FILE.replace("ashaa", "asha"), "budget.trials=many")
    where, line, mark, said = screen.show(error)
    assert where == "podium: budget.trials"
    assert mark.index("^") == line.index("many")
    assert said == "  must be a whole number, and is 'many'"


def test_a_file_that_is_gone_has_no_line_to_show(screen: Screen) -> None:
    assert screen.show(SpecError("there is no such file", file="absent.yaml")) == [
        "podium: absent.yaml",
        "  there is no such file",
    ]


def test_other_errors_are_as_wide_as_the_terminal(screen: Screen) -> None:
    known = ", ".join(f"sweep-{number}" for number in range(30))
    first, *rest = screen.show(LookupFailed(f"there is no sweep 'a' here; known sweeps: {known}"))
    assert first.startswith("podium: there is no sweep 'a' here; known sweeps: sweep-0")
    assert all(line.startswith("        sweep-") and len(line) <= 60 for line in rest)


def test_a_wrong_command_line_is_told_with_its_usage(screen: Screen) -> None:
    from podium.cli import podium

    with pytest.raises(click.UsageError) as caught:
        podium(["launch", "--nonsense"], standalone_mode=False)
    told = screen.show(caught.value)
    assert told[0].startswith("Usage: ")
    assert told[-1] == "podium: No such option '--nonsense'."


def test_elsewhere_an_error_is_one_plain_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    error = refused(tmp_path, FILE)
    problems.show(error)
    assert capsys.readouterr().err == f"podium: {error}\n"


def test_colours_are_no_part_of_what_is_said(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    screen.show(LookupFailed("no `podium list`"))
    assert "\x1b[3" not in screen.getvalue(), "NO_COLOR"
    monkeypatch.delenv("NO_COLOR")
    screen.show(LookupFailed("no `podium list`"))
    assert "\x1b[1;31mpodium: " in screen.getvalue()


@given(text=st.text(max_size=80), key=st.text(max_size=12), problem=st.sampled_from(["unknown key", "is wrong"]))
def test_a_mark_is_always_within_its_line(text: str, key: str, problem: str) -> None:
    begin, end = span(text, key, problem)
    assert 0 <= begin < end <= max(len(text), begin + 1)
    assert begin <= len(text)

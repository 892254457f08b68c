"""`podium ledger show` and `verify`, and what `status` says of failures."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from wiring_cases import TRAIN, Outcome, podium_here, write_quick

FAILING = TRAIN.replace("    first = 1\n", "    first = 1\n    assert trial.number != 2, 'bad luck'\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep of six trials, of which one failed."""
    folder = write_quick(tmp_path_factory.mktemp("story"), train=FAILING)
    outcome = podium_here(folder, "launch", "sweep.yaml", "--cluster", "inline", "--json")
    assert outcome.code == 0, outcome.problems
    return folder


def test_the_story_of_a_sweep_says_what_became_of_every_trial(folder: Path) -> None:
    entries = podium_here(folder, "ledger", "show", "quick", "--json").json["entries"]
    assert [entry["sequence"] for entry in entries] == sorted(entry["sequence"] for entry in entries)
    assert entries[0]["text"] == "launched: train.py:train, 6 trials"
    assert entries[-1]["text"] == "the sweep is finished: budget spent"
    for number in range(6):
        texts = [entry["text"] for entry in entries if entry["trial"] == number]
        assert texts[0].startswith("proposed: ")
        assert texts[1].startswith("trains on gang inline until epoch 1, from the beginning")
        assert texts[-1].startswith(("is stopped: ", "is complete: ", "is failed: "))


def test_the_story_of_one_trial_is_its_own(folder: Path) -> None:
    output = podium_here(folder, "ledger", "show", "quick", "--trial", "2").output
    lines = output.splitlines()
    assert len(lines) == 4
    assert all("  trial 2 " in line for line in lines)
    assert lines[2].endswith("broke off on gang inline (exception, 1 so far): AssertionError: bad luck")
    unknown = podium_here(folder, "ledger", "show", "quick", "--trial", "9")
    assert (unknown.code, unknown.problems) == (2, "podium: sweep 'quick' has no trial 9; it has 6, counted from 0\n")


def test_status_says_why_a_trial_failed_and_how_its_log_ends(folder: Path) -> None:
    (failure,) = podium_here(folder, "status", "quick", "--json").json["failures"]
    assert (failure["trial"], failure["cause"], failure["attempts"]) == (2, "exception", {"exception": 1})
    assert failure["log_tail"].splitlines()[-1] == "AssertionError: bad luck"
    said = podium_here(folder, "status", "quick").output
    assert "failed  trial 2: exception after 1 attempt(s): AssertionError: bad luck" in said
    assert "│ AssertionError: bad luck" in said
    assert "`podium logs quick/2`" in said


def test_a_ledger_as_it_was_written_is_whole(folder: Path) -> None:
    assert podium_here(folder, "ledger", "verify", "quick").output == "the ledger of quick is whole\n"


@pytest.fixture
def tampered(folder: Path, tmp_path: Path) -> Callable[[str], Outcome]:
    """Runs a statement on a copy of the ledger; gives what `verify` says of that."""

    def tamper(statement: str) -> Outcome:
        copy = tmp_path / ".podium" / "ledger.db"
        copy.parent.mkdir()
        with (
            closing(sqlite3.connect(folder / ".podium" / "ledger.db")) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute(statement)
            target.commit()
        return podium_here(tmp_path, "ledger", "verify", "quick", "--json")

    return tamper


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("update events set body = replace(body, '0.', '0.9') where kind = 'advanced'", "was altered"),
        ("update events set at = at + 1 where sequence = 3", "event 3 (time_spent) was altered"),
        ("delete from events where sequence = 4", "event 5 (saved) stands where event 4 should be"),
        ("update events set body = 'nonsense' where sequence = 2", "event 2 (proposed) cannot be read"),
        ("update events set kind = 'saved', body = '{}' where sequence = 2", "event 2 (saved) cannot be read"),
    ],
)
def test_tampering_shows(tampered: Callable[[str], Outcome], statement: str, said: str) -> None:
    outcome = tampered(statement)
    assert outcome.code == 1
    assert any(said in problem for problem in outcome.json["problems"]), outcome.json

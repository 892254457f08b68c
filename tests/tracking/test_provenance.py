import json
import subprocess
from pathlib import Path

import pytest

from podium.tracking.provenance import DIFF_LIMIT, ORIGIN, masked, origin, provenance


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "init.defaultBranch=trunk"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init")
    (tmp_path / "task.py").write_text("one\n")
    git(tmp_path, "add", "task.py")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_a_clean_repository(repository: Path) -> None:
    found = provenance(repository)["git"]
    assert found == {"commit": git(repository, "rev-parse", "HEAD"), "branch": "trunk", "dirty": False, "diff": ""}


def test_uncommitted_changes(repository: Path) -> None:
    (repository / "task.py").write_text("two\n")
    found = provenance(repository)["git"]
    assert found["dirty"]
    assert "-one\n+two\n" in found["diff"]


def test_many_changes_are_cut_short(repository: Path) -> None:
    (repository / "task.py").write_text("x" * (DIFF_LIMIT + 1000))
    diff = provenance(repository)["git"]["diff"]
    assert len(diff) < DIFF_LIMIT + 100
    assert "more characters" in diff


def test_no_repository(tmp_path: Path) -> None:
    assert provenance(tmp_path)["git"] == {}


def test_the_machine_and_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODIUM_TEST_SECRET", "hunter2")
    found = provenance(tmp_path, ["podium", "launch"])
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_bytes"] > 2**27
    assert {"podium", "torch", "mlflow", "numpy"} <= set(found["packages"])
    assert found["command"] == ["podium", "launch"]
    assert "hunter2" not in str(found)


def test_a_folder_that_was_submitted_tells_where_it_lay(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = origin(repository)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / ORIGIN).write_text(json.dumps({**there, "host": "laptop"}))
    monkeypatch.setenv("PODIUM_USER", "ada")
    found = provenance(copy)
    assert (found["git"], found["folder"], found["host"]) == (there["git"], str(repository), "laptop")
    assert (found["user"], there["git"]["commit"] != "") == ("ada", True)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (["podium", "launch", "sweep.yaml"], ["podium", "launch", "sweep.yaml"]),
        (["--tracking-uri", "https://ann:pw@host/x"], ["--tracking-uri", "https://***@host/x"]),
        (["--ledger", "postgresql://ann:p/w@host/x"], ["--ledger", "postgresql://***@host/x"]),
        (["--api-token", "abc", "next"], ["--api-token", "***", "next"]),
        (["--password=abc"], ["--password=***"]),
        (["parameters.secret=abc"], ["parameters.secret=***"]),
        (["optimizer.learning_rate=0.1"], ["optimizer.learning_rate=0.1"]),
    ],
)
def test_secrets_are_masked(command: list[str], shown: list[str]) -> None:
    assert masked(command) == shown

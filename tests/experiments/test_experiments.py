"""Every experiment: its file, its preflight, what its README says to run, and a small sweep on its real data."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from empty_runs import make_empty_runs
from sklearn.datasets import load_digits
from wiring_cases import podium_here

import podium
from podium.spec.files import read_sweep

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = sorted(path.parent.name for path in (ROOT / "experiments").glob("*/sweep.yaml"))
FEW_STRUCTURES = 10
"""So many of an experiment's structures are tried, its corners among them; `podium check` tries 64."""

SMALL = {"budget.trials": 2, "budget.epochs.max": 3, "tracking.plots": False, "tracking.model": False}


def sweep_file(name: str) -> Path:
    return ROOT / "experiments" / name / "sweep.yaml"


def commands(name: str) -> Iterator[list[str]]:
    """The commands that the README of an experiment shows."""
    text = (ROOT / "experiments" / name / "README.md").read_text()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            yield shlex.split(line, comments=True)


def majority_share(name: str, home: Path) -> float:
    """The accuracy of whoever always says the most frequent class."""
    if name == "forest":
        labels = load_digits().target
        return float(np.bincount(labels).max() / len(labels))
    (manifest,) = home.glob("shards/*/manifest.json")
    counts = json.loads(manifest.read_text())["classes"]["validation"]
    return float(max(counts) / sum(counts))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_sweep_is_named_like_its_folder(name: str) -> None:
    assert read_sweep(sweep_file(name)).spec.sweep == name


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_there_is_a_larger_sweep_for_a_large_machine(name: str) -> None:
    small, full = read_sweep(sweep_file(name)).spec, read_sweep(sweep_file(name), ["preset=full"]).spec
    assert full.sweep != small.sweep, "or the two could not stand in one home"
    assert full.budget.trials * full.budget.epochs.max > small.budget.trials * small.budget.epochs.max


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_preflight_finds_nothing_wrong(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.wiring.preflight.MOST_STRUCTURES", FEW_STRUCTURES)
    done = podium_here(tmp_path, "check", str(sweep_file(name)), "--home", str(tmp_path), "--json")
    assert done.code == 0, done.problems
    report = done.json
    assert {entry["name"] for entry in report["parameters"]} == set(read_sweep(sweep_file(name)).spec.search.space)
    assert report.get("saves_checkpoints", True), "without, it could not be paused"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_readme_shows_commands_that_can_be_run(name: str) -> None:
    seen: Counter[str] = Counter()
    for command in commands(name):
        for word in command:
            if word.startswith("experiments/"):
                assert (ROOT / word).exists()
        if command[:2] in (["podium", "launch"], ["podium", "check"], ["podium", "data"]):
            seen[command[1]] += 1
            read_sweep(ROOT / command[2], [word for word in command[3:] if not word.startswith("-")])
    assert seen["launch"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "forest"])  # the others have files of their own
def test_two_short_trials_beat_whoever_always_says_the_same(name: str, tmp_path: Path) -> None:
    result = podium.launch(podium.load_sweep(sweep_file(name), SMALL), home=tmp_path, cluster="inline")
    assert (result.summary["state"], result.summary["trials"]["total"]) == ("finished", 2)
    assert result.best is not None
    assert result.best["value"] > majority_share(name, tmp_path) + 0.5


@pytest.mark.slow
def test_a_forest_that_was_paused_grows_on_as_if_it_had_not_waited(tmp_path: Path) -> None:
    changes = {**SMALL, "budget.trials": 3, "budget.epochs.max": 9}
    for name in ("a", "b"):
        make_empty_runs(tmp_path / name / "mlflow.db")
    paused = podium.launch(podium.load_sweep(sweep_file("forest"), changes), home=tmp_path / "a", cluster="inline")
    undisturbed = podium.launch(
        podium.load_sweep(sweep_file("forest"), {**changes, "budget.policy": "none"}),
        home=tmp_path / "b",
        cluster="inline",
    )
    best = paused.best
    assert best is not None
    log = (tmp_path / "a" / "logs" / "forest" / f"trial-{best['trial']:05d}.log").read_text()
    assert "from step 0" in log
    assert "from step 1" in log, "it was called again, with what it had saved"
    same = undisturbed.trials().loc[best["trial"]]
    assert {key: same[f"params.{key}"] for key in best["params"]} == best["params"]
    assert {key: same[f"metrics.{key}"] for key in best["metrics"]} == best["metrics"]

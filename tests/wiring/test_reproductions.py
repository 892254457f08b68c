"""Trials of a tiny sweep that was interrupted, trained again: the same, or what is not."""

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empty_runs import make_empty_runs
from wiring_cases import podium_here

import podium
from podium.console import Silent
from podium.data.prepare import shards
from podium.errors import DataError, Interrupted, LookupFailed, TaskError, UserError
from podium.folders import scratch
from podium.registry.reproduction import Leg
from podium.spec.files import SweepFile, parse_sweep
from podium.sweep.messages import Advanced, Event, Launched
from podium.tracking import provenance
from podium.wiring import code, environments, launch, repeats, reproductions
from podium.wiring.place import Place

SWEEP = {
    "sweep": "again",
    "task": "task.py:Own",
    "data": {"source": {"kind": "arrays", "path": "points.npz"}, "batch_size": 16},
    "network": {"kind": "mlp", "depth": 1, "width": 8},
    "search": {
        "objective": {"metric": "validation/loss", "direction": "minimize"},
        "sampler": "random",
        "space": {"optimizer.learning_rate": {"log": [1e-3, 1e-1]}, "network.dropout": {"float": [0, 0.5]}},
    },
    "budget": {"trials": 4, "epochs": {"min": 1, "max": 3, "factor": 3}},
    "fuse": 4,
    "tracking": {"plots": False, "model": False, "inside": False, "diagnosis": False},
}
TASK = """
from podium.training.tasks import Classification


class Own(Classification):
    pass
"""
TRAIN = """
import random


def train(trial):
    if trial.params["x"] == 2:
        raise ValueError("two is too much")
    for step in range(1, 4):
        noise = random.random() if trial.params["noisy"] else 0.0
        trial.report(step, {"score": trial.params["x"] / step + noise, "score_s": random.random()})
"""


class Leaving(Silent):
    """Leaves once the first trials have been told to have trained an epoch."""

    def __init__(self) -> None:
        self.is_leaving = False

    def news(self, machine: Any, events: Any) -> None:
        self.is_leaving = self.is_leaving or any(isinstance(event, Advanced) for event in events)

    def is_interrupted(self) -> bool:
        return self.is_leaving


class Nobody:
    """Shows no runs: MLflow is beside the point."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def tend(self) -> None:
        pass

    def wait(self) -> str:
        return ""

    def abandon(self) -> None:
        pass


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A sweep whose trials shared stacks, and whose driver left in the middle and came back."""
    folder = tmp_path_factory.mktemp("again")
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, 240)
    points = source.normal(0, 1, (240, 4)) + labels[:, None]
    np.savez(folder / "points.npz", x=points.astype(np.float32), y=labels)
    (folder / "task.py").write_text(TASK)
    (folder / "sweep.yaml").write_text(json.dumps(SWEEP))
    home = folder / ".podium"
    place = Place.of(home, tracking_uri=make_empty_runs(home / "mlflow.db"), cluster="inline")
    file = SweepFile(spec=parse_sweep(SWEEP), text=json.dumps(SWEEP), folder=folder, path=folder / "sweep.yaml")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        patched.setattr(launch, "Follower", Nobody)
        assert launch.launch(file, place, Leaving())["state"] == "interrupted"
        assert launch.resume("again", place, Silent())["state"] == "finished"
        yield place


def events(place: Place, sweep: str = "again") -> list[Event]:
    return [row.event for row in place.book().rows(sweep)]


def test_a_fused_and_interrupted_trial_is_identical(place: Place) -> None:
    rows = events(place)
    best = max(
        (report for event in rows if isinstance(event, Advanced) for report in event.reports), key=lambda r: r.epoch
    )
    found = reproductions.reproduce(place, f"again/{best.trial}", Silent())
    assert (found["verdict"], found["epochs"], found["first_epoch"]) == ("identical", 3, None)
    assert max(len(stretch["stack"]) for stretch in found["history"]) == 4
    assert found["differences"] == {"data": [], "code": [], "packages": [], "hardware": [], "settings": []}
    assert found["conditions"]["threads"] == 1
    assert events(place) == rows, "the ledger is only read"
    assert not list(place.home.glob(".reproduction-*")), "nothing stays behind"


def test_another_package_another_code_and_other_data_are_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = events(place)[0]
    assert isinstance(launched, Launched)
    folder = Path(launched.provenance["folder"])
    now = {**provenance.packages(), "torch": "0.1"}
    monkeypatch.setattr(provenance, "packages", lambda: now)
    monkeypatch.setattr(provenance, "_source_digest", lambda: "0" * 64)
    monkeypatch.setattr("podium.training.live.draws.fold", lambda *parts: 5)  # other initial weights, no twin's
    shard = next(place.fetch(shards(launched.data)).glob("train*"))
    kept = shard.read_bytes()
    some = next(row.tobytes() for row in np.load(folder / "points.npz")["x"] if row.tobytes() in kept)
    try:
        (folder / "task.py").write_text("# other\n")
        shard.write_bytes(kept.replace(some, bytes(len(some)), 1))
        outcome = podium_here(folder, "reproduce", "again/0", "--home", str(place.home), "--json")
    finally:
        shard.write_bytes(kept)
        (folder / "task.py").write_text(TASK)
    assert (outcome.code, outcome.json["verdict"], outcome.json["first_epoch"]) == (1, "different", 1)
    assert "train/loss" in outcome.json["metrics"]
    differences = outcome.json["differences"]
    assert [told.partition(" ")[0] for told in differences["packages"]] == ["torch"]
    assert [told.partition(":")[0] for told in differences["code"]] == ["Podium's own code"]
    assert reproductions.CODE_NOTE in outcome.json["notes"], "it was not what was trained"
    assert "is not what its checksum says" in differences["data"][0]


def test_data_that_are_gone_are_prepared_again(place: Place) -> None:
    launched = events(place)[0]
    assert isinstance(launched, Launched)
    shard = next(place.fetch(shards(launched.data)).glob("train*"))
    kept = shard.read_bytes()
    shard.write_bytes(kept[:-1])
    assert reproductions.reproduce(place, "again/0", Silent())["verdict"] == "identical"
    assert shard.read_bytes() == kept
    shutil.rmtree(place.fetch(shards(launched.data)))
    shutil.rmtree(place.fetch(code.staged(launched.code)))
    assert reproductions.reproduce(place, "again/0", Silent())["verdict"] == "identical"
    folder = Path(launched.provenance["folder"])
    shutil.rmtree(place.fetch(code.staged(launched.code)))
    (folder / "task.py").write_text("# other\n")
    with pytest.raises(TaskError, match="has changed since"):
        reproductions.reproduce(place, "again/0", Silent())
    (folder / "task.py").write_text(TASK)
    shutil.rmtree(place.fetch(shards(launched.data)))
    (folder / "points.npz").rename(folder / "elsewhere.npz")
    with pytest.raises(DataError, match="are not whole in"):
        reproductions.reproduce(place, "again/0", Silent())
    np.savez(folder / "points.npz", x=np.zeros((9, 4), np.float32), y=np.zeros(9, int))
    with pytest.raises(DataError, match="and the source gives"):
        reproductions.reproduce(place, "again/0", Silent())
    assert not list(place.fetch(shards("")).glob("[!.]*")), "others were not made"
    (folder / "elsewhere.npz").replace(folder / "points.npz")


def test_a_whole_sweep_comes_out_again(place: Place) -> None:
    with pytest.raises(Interrupted, match="in the middle of again-again"):
        reproductions.reproduce_sweep(place, "again", Leaving())
    with pytest.raises(UserError, match="podium resume again-again"):
        reproductions.reproduce_sweep(place, "again-again", Silent())
    found = reproductions.reproduce_sweep(place, "again", Silent())
    assert found["again"] == "again-again", "what was begun goes on"
    assert found["verdict"] in ("identical", "within tolerance")
    assert [row["trial"] for row in found["trials"]] == [0, 1, 2, 3]
    assert not any(told for kind, told in found["differences"].items() if kind != "settings")
    launched = events(place, "again-again")[0]
    assert isinstance(launched, Launched)
    assert launched.spec["tracking"]["model"] is False
    then, now = (
        [event for event in events(place, name) if event.kind == "proposed"] for name in ("again", "again-again")
    )
    assert [event.parameters for event in then] == [event.parameters for event in now]


def test_a_sweep_is_trained_once_more_and_what_differs_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podium.training.live.draws.fold", lambda *parts: 5)
    monkeypatch.setattr(provenance, "packages", lambda: {"torch": "0.1"})
    where = ["--home", str(place.home), "--cluster", "inline"]
    before = place.book().sweeps()
    outcome = podium_here(place.home.parent, "reproduce", "--from-sweep", "again", *where)
    (new,) = set(place.book().sweeps()) - {*before}
    assert (outcome.code, new.startswith("again-again")) == (1, True)
    assert f"again was trained again as {new}: 4 different" in outcome.output
    assert "packages: " in outcome.output
    rows = [line.split() for line in outcome.output.splitlines() if line[:1].isdigit()]
    assert [(row[0], row[1], row[2]) for row in rows] == [(str(number), "different", "1") for number in range(4)]


def test_code_of_which_the_folder_is_gone_has_no_commit(place: Place) -> None:
    launched = events(place)[0]
    assert isinstance(launched, Launched)
    then = {**launched.provenance, "folder": "/no/such/folder", "git": {"commit": "a" * 40}}
    lost = launched.model_copy(update={"provenance": then})
    assert reproductions._differences(place, lost, is_thorough=False)["code"] == []


def test_what_a_killed_reproduction_left_is_removed(place: Place) -> None:
    dead = place.home / f".reproduction-{'0' * 32}-{'1' * 32}"
    dead.mkdir()
    with scratch(place.home, "reproduction") as living:
        reproductions.reproduce(place, "again/0", Silent())
        assert living.is_dir()
    assert not list(place.home.glob(".reproduction-*"))


def test_an_environment_reproduces_and_hands_its_answer_on(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={Path(podium.__file__).parents[1]} exec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(environments, "build", lambda *arguments: python)
    found = podium_here(place.home.parent, "reproduce", "again/0", "--env", "--home", str(place.home), "--json")
    told = capfd.readouterr()
    assert found.code == 0, told.err
    answer = json.loads(told.out.splitlines()[-1])
    assert (answer["verdict"], answer["trial"]) == ("identical", 0)


def test_this_process_trains_what_asks_for_no_other_place(place: Place) -> None:
    subject = reproductions._subject(place, "again", 0)
    elsewhere = replace(subject, place=replace(place, cluster="127.0.0.1:6379"))
    one, two = Leg(1, "replicated"), Leg(2, "replicated")
    found = [repeats._is_here(*each) for each in ((subject, one), (subject, two), (elsewhere, one))]
    assert found == [True, False, False]


def test_who_leaves_leaves_nothing_behind(place: Place) -> None:
    watcher = Leaving()
    watcher.is_leaving = True
    with pytest.raises(Interrupted, match="nothing of that is kept"):
        reproductions.reproduce(place, "again/0", watcher)
    assert not list(place.home.glob(".reproduction-*"))


def test_a_run_is_found_by_its_id(place: Place) -> None:
    place.book().facts("again").put({"run/2": "f" * 32})
    assert reproductions.find_run(place, "f" * 32) == ("again", 2)
    assert reproductions.find_run(place, "again/3") == ("again", 3)
    with pytest.raises(LookupFailed, match="has a run 'nobody'"):
        reproductions.find_run(place, "nobody")


def test_a_training_function_is_called_again(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAIN)
    space = {"x": {"float": [1, 2]}, "noisy": {"choice": [False, True]}}
    spec = {
        "sweep": "own",
        "task": "train.py:train",
        "search": {
            "objective": {"metric": "score", "direction": "maximize"},
            "sampler": "list",
            "space": space,
            "points": [{"x": 1.5, "noisy": False}, {"x": 1.5, "noisy": True}, {"x": 2.0, "noisy": False}],
        },
        "budget": {"trials": 3, "epochs": {"max": 3}, "policy": "none"},
        "tracking": SWEEP["tracking"],
    }
    home = tmp_path / ".podium"
    with chdir(tmp_path), pytest.MonkeyPatch.context() as patched:
        patched.setattr(launch, "Follower", Nobody)
        podium.launch(spec, home=home, tracking_uri=make_empty_runs(home / "mlflow.db"), cluster="inline")
        plain = podium.reproduce("own/0", home=home)
        assert plain["verdict"] == "identical"
        assert "cannot make it deterministic" in plain["notes"][0]
        place = Place.of(home, cluster="inline")
        assert reproductions.reproduce(place, "own/1", Silent())["first_epoch"] == 1
        with pytest.raises(LookupFailed, match="has no epoch to compare"):
            reproductions.reproduce(place, "own/2", Silent())
        rows = reproductions.reproduce_sweep(place, "own", Silent())["trials"]
        assert (rows[0]["verdict"], rows[0]["endings"]) == ("identical", ("complete", "complete"))
        assert (rows[2]["verdict"], rows[2]["endings"]) == ("nothing to compare", ("failed", "failed"))


@pytest.mark.slow  # venv brings pip along
def test_an_environment_has_the_versions_of_then_and_says_what_it_cannot_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = {"podium": "0.1", "pip": "1", "numpy": "2.4.6", "torch": "2.13.0+cpu"}
    assert environments.requirements(packages) == ["numpy==2.4.6", "torch==2.13.0+cpu"]
    assert (Path(environments.podium_requirement(packages)) / "pyproject.toml").exists()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UserError, match=r"no-such-package==1\.0.*--env"):
        environments.build(tmp_path, {"no-such-package": "1.0"}, Silent())


def test_one_of_the_two_is_asked_for(tmp_path: Path) -> None:
    outcome = podium_here(tmp_path, "reproduce")
    assert outcome.code == 2
    assert "either RUN or --from-sweep" in outcome.problems

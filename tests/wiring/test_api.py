"""Podium from Python, on a small real sweep."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from empty_runs import make_empty_runs
from ruamel.yaml import YAML
from wiring_cases import BLOBS, BLOBS_METRIC, QUICK, write_blobs, write_quick

import podium
from podium import Result, UserError
from podium.errors import LookupFailed, SpecError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep file and its data."""
    folder = write_blobs(tmp_path_factory.mktemp("api"))
    with (folder / "sweep.yaml").open("a") as file:
        file.write("tracking: {plots: false, model: false}\n")
    return folder


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    """The sweep of that file, launched."""
    make_empty_runs(folder / "home" / "mlflow.db")
    return podium.launch(folder / "sweep.yaml", home=folder / "home", cluster="inline")


def settings(text: str) -> dict[str, Any]:
    """A sweep file's content as a user of Python writes it."""
    content: dict[str, Any] = json.loads(json.dumps(YAML(typ="safe").load(text)))
    return content


def test_the_best_trial_says_where_and_how(result: Result) -> None:
    best = result.best
    assert best is not None
    assert best["value"] == best["metrics"][BLOBS_METRIC] or best["epoch"] < best["rung"]
    assert set(best["params"]) == {"optimizer.learning_rate", "initializer.scheme"}
    assert result.summary["state"] == "finished"
    assert result.summary["objectives"] == [BLOBS_METRIC]


def test_trials_are_a_frame_with_one_row_each(result: Result) -> None:
    frame = result.trials()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [0, 1, 2, 3]
    assert set(frame["state"]) <= {"complete", "stopped", "diverged"}
    assert {"value", "rung", "params.optimizer.learning_rate", f"metrics.{BLOBS_METRIC}", "run_id"} <= set(
        frame.columns
    )
    best = result.best
    assert best is not None
    assert frame.loc[best["trial"], "value"] == best["value"]
    assert frame["params.optimizer.learning_rate"].between(1e-3, 1e-1).all()


def test_the_best_network_is_the_one_that_was_measured(result: Result, folder: Path) -> None:
    """Its accuracy on the validation split, counted anew, is what the best trial's epoch reported."""
    best, network = result.best, podium.load_network("blobs", home=folder / "home")
    assert best is not None
    assert (network.trial, network.epoch, network.run_id) == (best["trial"], best["epoch"], best["run_id"])
    assert network.parameters.items() > best["params"].items()
    assert network.parameters["network.width"] == 16
    assert (network.schema.inputs, network.schema.classes) == ((4,), 3)
    right = [
        network.module(torch.from_numpy(batch.inputs)).argmax(dim=1).numpy() == batch.targets
        for batch in network.reader().sequential("validation", 32)
    ]
    assert np.concatenate(right).mean() == pytest.approx(best["value"])


def test_networks_that_are_not_there(result: Result, quick: Path) -> None:
    with pytest.raises(LookupFailed, match="sweep 'blobs' has no trial 7; it has 4 trials"):
        result.network(7)
    function = podium.launch(
        podium.load_sweep(quick / "sweep.yaml", {"budget.trials": 1}), home=quick / ".podium", cluster="inline"
    )
    with pytest.raises(UserError, match="'quick' has no data"):
        function.network()


def test_figures_are_plotly_figures_by_name(result: Result) -> None:
    from plotly.graph_objects import Figure

    figures = result.figures()
    assert {"history", "learning_curves"} <= set(figures)
    assert all(isinstance(figure, Figure) and figure.data for figure in figures.values())


def test_a_result_is_found_again_by_its_name(result: Result, folder: Path) -> None:
    again = podium.load_result("blobs", home=folder / "home")
    assert again.summary == result.summary
    assert repr(again).startswith("Result('blobs', finished, 4 trials, best {")


def test_a_result_that_is_not_there_names_those_that_are(result: Result, folder: Path) -> None:
    with pytest.raises(LookupFailed, match="there is no sweep 'blob' here; known sweeps: blobs"):
        podium.load_result("blob", home=folder / "home")


def test_launching_again_gives_the_same_result(result: Result, folder: Path) -> None:
    again = podium.launch(str(folder / "sweep.yaml"), home=folder / "home", cluster="inline")
    assert again.summary == result.summary


def test_overrides_keep_their_types(folder: Path) -> None:
    overrides = {
        "budget.trials": 2,
        "note": "off: 1e-4, #1",
        "fuse": "off",
        "tracking.plots": False,
        "budget.target": None,
        "search.points": [{"initializer.scheme": "orthogonal"}],
        "data.source": {"kind": "arrays", "path": "blobs.npz"},
    }
    spec = podium.load_sweep(folder / "sweep.yaml", overrides).spec
    assert (spec.budget.trials, spec.note, spec.fuse) == (2, "off: 1e-4, #1", "off")
    assert spec.tracking.plots is False
    assert spec.budget.target is None
    assert spec.search.points == ({"initializer.scheme": "orthogonal"},)


def test_a_driver_in_python_cannot_be_elsewhere(quick: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="a terminal `--cluster http://head:8265` submits"):
        podium.launch(quick, home=folder / "nowhere", cluster="http://head:8265")
    assert not (folder / "nowhere").exists()


def test_a_mistake_in_a_file_or_a_mapping_is_a_user_error(folder: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'trials'"):
        podium.load_sweep(folder / "sweep.yaml", {"budget.trails": 2})
    wrong = settings(BLOBS)
    wrong["budget"]["trials"] = -1
    with pytest.raises(UserError, match=r"budget\.trials"):
        podium.launch(wrong, home=folder / "home")


def test_a_sweep_may_be_a_mapping_a_spec_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first launches it; the others are taken for the same, and find it ended."""
    monkeypatch.chdir(write_quick(tmp_path))
    mapping = settings(QUICK.replace("trials: 6", "trials: 2"))
    file = podium.load_sweep("sweep.yaml", {"budget.trials": 2})
    for sweep in (mapping, file.spec, file):
        result = podium.launch(sweep, home=".podium", cluster="inline")
        assert result.summary["trials"]["total"] == 2
    assert (tmp_path / ".podium" / "ledger.db").exists()

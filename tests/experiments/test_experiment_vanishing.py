"""Two short trials on digits: one that learns, and one whose depth keeps it from learning, which is said."""

import json
from pathlib import Path

import pytest
from empty_runs import make_empty_runs

import podium

pytestmark = pytest.mark.slow

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "vanishing" / "sweep.yaml"
CHANCE = 0.1


def test_sigmoids_learn_in_one_layer_and_not_in_ten_which_is_said(tmp_path: Path) -> None:
    changes = {
        "search.space": {"network.depth": {"choice": [1, 10]}},
        "network.activation": "sigmoid",
        "initializer.scheme": "xavier_normal",
        "optimizer.learning_rate": 0.1,
        "budget.trials": 2,
        "budget.epochs.max": 1,
    }
    make_empty_runs(tmp_path / "mlflow.db")
    result = podium.launch(podium.load_sweep(SWEEP, changes), home=tmp_path, cluster="inline")
    shallow, deep = (trial for _, trial in result.trials().iterrows())
    assert shallow["value"] > CHANCE + 0.4
    assert deep["value"] < CHANCE + 0.1
    assert shallow["verdict"] == ""
    assert "vanishing gradients in layers 1 to" in deep["verdict"]
    assert "sigmoid at depth 10" in deep["verdict"]
    path = tmp_path / "artifacts" / "vanishing" / "00001" / "diagnosis.json"
    first, *_, last = json.loads(path.read_text())[0]["layers"]
    assert first["gradient"] < 1e-3 * last["gradient"]
    pictures = list((tmp_path / "artifacts").glob("vanishing/*/artifacts/diagnosis.png"))
    assert len(pictures) == 2, "of the best trial, and of the one that ails"

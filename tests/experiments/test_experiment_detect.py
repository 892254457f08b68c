"""Detect: two short trials find digits better than chance, on canvases whose digits stand in one split alone."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import podium

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "detect"
FEW = {"train": 1000, "validation": 200, "test": 20}
SMALL = {
    "data.batch_size": 16,
    "network.depth": 2,
    "search.space": {"optimizer.learning_rate": {"log": [3e-3, 6e-3]}},
    "budget.trials": 2,
    "budget.epochs": {"max": 3},
    "budget.policy": "none",
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


@pytest.fixture(scope="module")
def task() -> Any:
    spec = importlib.util.spec_from_file_location("detect_task", FOLDER / "task.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_short_trials_are_better_than_chance(
    task: Any, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_DATA", str(real_data))  # the task that is run is a copy, beside which is no data
    text, whole = (FOLDER / "task.py").read_text(), f"CANVASES = {json.dumps(task.CANVASES)}"
    assert whole in text
    (tmp_path / "task.py").write_text(text.replace(whole, f"CANVASES = {FEW}"))
    (tmp_path / "sweep.yaml").write_text((FOLDER / "sweep.yaml").read_text())
    result = podium.launch(podium.load_sweep(tmp_path / "sweep.yaml", SMALL), home=tmp_path, cluster="inline")
    assert (result.summary["state"], result.summary["trials"]["total"]) == ("finished", 2)
    assert result.best is not None
    batches = result.network().reader().sequential("validation", 256)
    targets = np.concatenate([batch.targets for batch in batches])
    chance = targets.mean()  # the average precision of scores at random
    assert result.best["value"] > chance + 0.1


def test_digits_on_a_canvas_are_whole_and_touch_nothing(task: Any) -> None:
    draws = np.random.default_rng(0)
    images = np.zeros((4, 28, 28), np.uint8)
    for number, image in enumerate(images):
        image[4 : 20 + number, 5:15] = number + 1
    canvas = task.composed(images, draws)
    assert canvas.shape == (64, 64)
    for number in range(4):
        rows, columns = np.nonzero(canvas == number + 1)
        assert len(rows) == (16 + number) * 10
        around = canvas[max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3]
        assert set(np.unique(around)) <= {0, number + 1}


def test_the_digits_of_a_split_stand_in_no_other(task: Any) -> None:
    taken = [(own, index) for own, first, end in task.SPLITS.values() for index in range(first, end)]
    assert len(taken) == len(set(taken)) == 70_000

"""Two short trials on the vowels, and on the sunspots."""

import importlib.util
import os
from pathlib import Path

import pytest

import podium

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "series"
SMALL = {"budget.trials": 2, "fuse": "off", "tracking.plots": False, "tracking.model": False}


@pytest.fixture(autouse=True, scope="module")
def _fetched() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "podium" / "series"
    names = ["JapaneseVowels_TRAIN.ts", "JapaneseVowels_TEST.ts", "sunspots.csv"]
    if not all((cache / name).is_file() for name in names):
        pytest.skip("the series are not there; python experiments/series/fetch.py brings them")


def test_two_trials_tell_speakers_apart(tmp_path: Path) -> None:
    changes = {**SMALL, "budget.policy": "none", "budget.epochs.max": 6}
    sweep = podium.load_sweep(FOLDER / "sweep.yaml", changes)
    best = podium.launch(sweep, home=tmp_path, cluster="inline").best
    assert best is not None
    assert best["value"] > 1 / 9 + 0.4


def test_two_trials_forecast_better_than_the_mean(tmp_path: Path) -> None:
    changes = {**SMALL, "budget.policy": "none", "budget.epochs.max": 12}
    sweep = podium.load_sweep(FOLDER / "forecast.yaml", changes)
    best = podium.launch(sweep, home=tmp_path, cluster="inline").best
    assert best is not None
    assert best["metrics"]["validation/skill"] > 0.3


def test_the_series_are_as_they_were_published() -> None:
    spec = importlib.util.spec_from_file_location("series_task", FOLDER / "task.py")
    assert spec is not None
    assert spec.loader is not None
    task = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(task)
    vowels = list(task.vowels())
    assert [sum(each["split"] == split for each in vowels) for split in ("train", "validation", "test")] == [
        216,
        54,
        370,
    ]
    assert {each["input"].shape[1] for each in vowels} == {12}
    lengths = [len(each["input"]) for each in vowels]
    assert (min(lengths), max(lengths)) == (7, 29)
    sunspots = list(task.sunspots())
    assert sum(each["split"] == "test" for each in sunspots) == 35
    assert sunspots[-1]["target"] == pytest.approx([0.38])

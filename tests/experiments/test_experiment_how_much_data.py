"""The experiment how-much-data on its real data, in a tiny size, with its fit."""

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import podium

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "how-much-data"
SMALL = {
    "data.split": {"train": 0.5, "validation": 0.5, "test": 0.0},
    "data.batch_size": 16,
    "search.space": {"data.share": {"choice": [0.05, 1.0]}},
    "budget.trials": 2,
    "budget.epochs.max": 6,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"how_much_data_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def picture() -> ModuleType:
    return load("picture")


@pytest.fixture(scope="module")
def records(real_data: Path) -> list[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_DATA", str(real_data))
        return list(load("task").digits())


def test_the_source_has_every_digit_in_its_split(records: list[dict[str, Any]]) -> None:
    counts = Counter(record["split"] for record in records)
    assert counts == {"train": 50_000, "validation": 10_000, "test": 10_000}
    assert {record["input"].shape for record in records} == {(28, 28)}
    assert {record["target"] for record in records} == set(range(10))


def test_more_data_make_fewer_errors(records: list[dict[str, Any]], tmp_path: Path, picture: ModuleType) -> None:
    few = records[:1500]
    np.savez(tmp_path / "few.npz", x=[each["input"] for each in few], y=[each["target"] for each in few])
    source = {"kind": "arrays", "path": str(tmp_path / "few.npz")}
    sweep = podium.load_sweep(FOLDER / "sweep.yaml", {**SMALL, "data.source": source})
    result = podium.launch(sweep, home=tmp_path, cluster="inline")
    assert result.summary["trials"]["total"] == 2
    errors = picture.errors(["how-much-data"], tmp_path).sort_values("n")
    assert errors["n"].tolist() == [2500, 50_000]
    of_few, of_many = errors["error"]
    assert of_many < 0.3
    assert of_many < of_few < 0.85, "whoever always says the same errs at nine of ten"


def test_the_fit_is_that_of_a_line_through_logarithms(picture: ModuleType, tmp_path: Path) -> None:
    n = np.array([100.0, 300, 1000, 3000, 10000])
    error = 2.0 * n**-0.4 * np.exp([0.05, -0.03, 0.02, -0.06, 0.01])
    law, line = picture.fit(n, error), stats.linregress(np.log(n), np.log(error))
    assert (law.exponent, law.error) == pytest.approx((-line.slope, line.stderr))
    assert law.factor == pytest.approx(np.exp(line.intercept))
    picture.draw(pd.DataFrame({"n": n, "error": error}), law, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000

"""The experiment first-guess on its real data, in a tiny size, with its table."""

import importlib.util
from pathlib import Path
from types import ModuleType

import podium

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "first-guess"
SMALL = {
    "search.space": {
        "network.kind": {"choice": ["mlp"]},
        "network.depth": {"choice": [1]},
        "optimizer.kind": {"choice": ["adam"]},
        "optimizer.learning_rate": {"choice": [1e-5, 1e-2]},
    },
    "budget.trials": 2,
    "budget.epochs.max": 4,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


def picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("first_guess_picture", FOLDER / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_small_rate_learns_little_and_a_good_one_much(tmp_path: Path) -> None:
    result = podium.launch(podium.load_sweep(FOLDER / "sweep.yaml", SMALL), home=tmp_path, cluster="inline")
    assert result.summary["trials"]["total"] == 2
    script = picture()
    accuracy = script.table("first-guess", tmp_path)
    assert accuracy.index.tolist() == [("adam", "mlp 1")]
    small, good = accuracy.iloc[0]
    assert small < 0.5, "the commonest of ten digits is a tenth of them"
    assert good > 0.85
    assert script.summary(accuracy)["best"].tolist() == [0, 1]
    script.draw(accuracy, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000

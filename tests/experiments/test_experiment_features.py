"""Two short trials on patches of photographs."""

from pathlib import Path

import pytest

import podium

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "features" / "sweep.yaml"


@pytest.mark.usefixtures("real_data")
def test_two_trials_reconstruct_better_than_the_mean(tmp_path: Path) -> None:
    changes = {
        "budget.trials": 2,
        "budget.policy": "none",
        "budget.epochs.min": 1,
        "fuse": "off",
        "budget.epochs.max": 1,
        "data.share": 0.25,
        "tracking.plots": False,
        "tracking.model": False,
    }
    best = podium.launch(podium.load_sweep(SWEEP, changes), home=tmp_path, cluster="inline").best
    assert best is not None
    assert best["metrics"]["validation/mse"] < 0.3, "patches have a variance of nearly 1"

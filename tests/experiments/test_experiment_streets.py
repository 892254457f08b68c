"""The experiment streets on its real data, in a tiny size."""

import json
from pathlib import Path

import pytest

import podium

pytestmark = pytest.mark.slow

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "streets" / "sweep.yaml"
SMALL = {
    "data.steps": [{"kind": "resize", "height": 30, "width": 40}],
    "data.share": 0.15,
    "network.depth": 3,
    "network.channels": 8,
    "budget.trials": 2,
    "budget.policy": "none",
    "budget.epochs.min": 2,
    "budget.epochs.max": 2,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


def test_streets_are_known_better_than_by_whoever_takes_all_for_the_commonest_class(
    real_data: Path, tmp_path: Path
) -> None:
    result = podium.launch(podium.load_sweep(SWEEP, SMALL), home=tmp_path, cluster="inline")
    (manifest,) = tmp_path.glob("shards/*/manifest.json")
    counts = json.loads(manifest.read_text())["classes"]["validation"][:-1]
    trivial = max(counts) / sum(counts) / len(counts)
    values = result.trials()["value"]
    assert len(values) == 2
    assert (values > trivial + 0.05).all()

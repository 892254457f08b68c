"""The experiment tumour on its real data, in a tiny size."""

import json
from pathlib import Path

import pytest

import podium

pytestmark = pytest.mark.slow

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "tumour" / "sweep.yaml"
PATIENTS = ["TCGA-21-5784", "TCGA-A7-A13E", "TCGA-B0-5698", "TCGA-G9-6336", "TCGA-49-4488", "TCGA-18-5592"]
SMALL = {
    "data.steps": [
        {"kind": "filter", "column": "patient", "keep": PATIENTS},
        {"kind": "apply", "function": "task.py:even_colours"},
        {"kind": "crop", "height": 100, "width": 100},
    ],
    "data.share": 0.3,
    "data.batch_size": 5,
    "network.depth": 2,
    "network.patch": 20,
    "network.stride": 10,
    "budget.epochs.min": 2,
    "budget.epochs.max": 2,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


def test_both_networks_find_nuclei_better_than_whoever_takes_all_for_nuclei(real_data: Path, tmp_path: Path) -> None:
    result = podium.launch(podium.load_sweep(SWEEP, SMALL), home=tmp_path, cluster="inline")
    (manifest,) = tmp_path.glob("shards/*/manifest.json")
    outside, inside = json.loads(manifest.read_text())["classes"]["validation"]
    found = result.trials()
    assert list(found["params.network.kind"]) == ["unet", "convnet"]
    assert (found["value"] > 2 * inside / (2 * inside + outside) + 0.05).all()

"""The mnist experiment: the model of two short trials on a few digits beats whoever always says the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import podium

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "mnist"
FEW = {"train": 1500, "test": 300}
SMALL = {
    "network.channels": 4,
    "augmentation": {},
    "data.batch_size": 32,
    "budget": {"trials": 2, "epochs": {"max": 2}, "policy": "none"},
    "tracking.plots": False,
}


@pytest.mark.slow
def test_the_registered_model_of_two_short_trials_reads_test_images(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(real_data / "mnist" / "mnist.npz") as whole:
        few = {f"{name}_{split}": whole[f"{name}_{split}"][:count] for name in "xy" for split, count in FEW.items()}
    (tmp_path / "mnist").mkdir()
    np.savez(tmp_path / "mnist" / "mnist.npz", **few)
    monkeypatch.setenv("PODIUM_DATA", str(tmp_path))
    home = tmp_path / "home"
    result = podium.launch(podium.load_sweep(FOLDER / "sweep.yaml", SMALL), home=home, cluster="inline")
    assert (result.summary["state"], result.summary["trials"]["total"]) == ("finished", 2)
    (manifest,) = home.glob("shards/*/manifest.json")
    assert json.loads(manifest.read_text())["rows"]["test"] == FEW["test"]
    command = [sys.executable, FOLDER / "evaluate.py", "--home", home, "mnist"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("mnist version 1: ")]
    majority = np.bincount(few["y_test"]).max() / FEW["test"]
    assert float(line.split()[3]) > majority + 0.4

"""Super-resolution: two short trials beat bicubic interpolation."""

from pathlib import Path

import pytest
import torch

import podium
from podium.training.toolbox.similarity import psnr

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "super-resolution" / "sweep.yaml"
SMALL = {
    "data.steps": [{"kind": "crop", "height": 33, "width": 33}],
    "data.share": 0.2,
    "data.batch_size": 8,
    "network.channels": 8,
    "optimizer.learning_rate": 4e-3,
    "search.space": {"optimizer.learning_rate": {"log": [3e-3, 5e-3]}},
    "budget.trials": 2,
    "budget.epochs.max": 1,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


@pytest.mark.usefixtures("real_data")
def test_two_short_trials_beat_bicubic_interpolation(tmp_path: Path) -> None:
    result = podium.launch(podium.load_sweep(SWEEP, SMALL), home=tmp_path, cluster="inline")
    assert (result.summary["state"], result.summary["trials"]["total"]) == ("finished", 2)
    assert result.best is not None
    trained = result.network()
    (mean,), (std,) = trained.schema.mean, trained.schema.std
    batches = trained.reader().sequential("validation", 256)
    bicubic = torch.cat([psnr(torch.tensor(b.inputs * std + mean), torch.tensor(b.targets), 1.0) for b in batches])
    assert result.best["value"] > float(bicubic.mean()) + 0.05

"""Denoising and inpainting: two short trials give better photographs than they are given."""

from pathlib import Path

import pytest
import torch

import podium
from podium.training.toolbox.similarity import psnr

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "denoise"
SMALL = {
    "data.share": 0.1,
    "network.channels": 6,
    "network.kernel": 3,
    "network.depth": 1,
    "optimizer.learning_rate": 8e-3,
    "search.space": {"optimizer.learning_rate": {"log": [5e-3, 1e-2]}},
    "budget.trials": 2,
    "budget.epochs.max": 1,
    "tracking.plots": False,
    "tracking.model": False,
    "tracking.inside": False,
}


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize(("file", "gained"), [("sweep.yaml", 2.0), ("inpainting.yaml", 2.0)])
def test_two_short_trials_improve_photographs(file: str, gained: float, tmp_path: Path) -> None:
    result = podium.launch(podium.load_sweep(FOLDER / file, SMALL), home=tmp_path, cluster="inline")
    assert (result.summary["state"], result.summary["trials"]["total"]) == ("finished", 2)
    assert result.best is not None
    batches = result.network().reader().sequential("validation", 256)
    given = torch.cat([psnr(torch.tensor(b.inputs), torch.tensor(b.targets), 1.0) for b in batches])
    assert result.best["value"] > float(given.mean()) + gained

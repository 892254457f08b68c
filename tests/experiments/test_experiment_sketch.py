"""Two short trials on the sheep."""

from pathlib import Path

import pytest
import torch

import podium
from podium.training.toolbox.networks.sketch_rnn import SketchRnn, generate
from podium.wiring.networks import load_network
from podium.wiring.place import Place

pytestmark = pytest.mark.slow

SWEEP = Path(__file__).resolve().parents[2] / "experiments" / "sketch" / "sweep.yaml"
SMALL = {
    "budget.trials": 2,
    "budget.policy": "none",
    "budget.epochs.min": 1,
    "fuse": "off",
    "budget.epochs.max": 1,
    "data.share": 0.25,
    "network.width": 32,
    "data.batch_size": 32,
    "tracking.plots": False,
    "tracking.model": False,
}


@pytest.mark.usefixtures("real_data")
def test_two_trials_know_more_of_sheep_than_one_normal_distribution(tmp_path: Path) -> None:
    best = podium.launch(podium.load_sweep(SWEEP, SMALL), home=tmp_path, cluster="inline").best
    assert best is not None
    found = load_network(Place.of(tmp_path), "sketch")
    steps = torch.cat([torch.tensor(each) for each, _ in stored(found.reader())])
    drawn = steps[steps[:, 4] == 0]
    normal = torch.distributions.MultivariateNormal(drawn[:, :2].mean(0), torch.cov(drawn[:, :2].T))
    share = steps[:, 2:].mean(0)
    trivial = -normal.log_prob(drawn[:, :2]).sum() / len(steps) - (share * share.log()).sum()
    assert best["value"] < float(trivial) - 0.1
    assert isinstance(found.module, SketchRnn)
    assert all(torch.isfinite(drawing).all() for drawing in generate(found.module, 3, 0))


def stored(reader: object) -> object:
    return ((inputs.values, targets) for inputs, targets in reader.stored("validation"))

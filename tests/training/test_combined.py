"""Several networks as one: means of answers, and means of weights."""

import copy

import pytest
import torch
from torch import nn

from podium.training.answers import linked
from podium.training.combined import Ensemble, averaged


def networks(outputs: int = 4) -> list[nn.Module]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return [nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Linear(8, outputs)).eval() for _ in range(3)]


@pytest.mark.parametrize("link", ["softmax", "sigmoid", "identity"])
def test_an_ensemble_answers_with_the_mean_of_the_answers(link):
    inputs, members = torch.randn(5, 3), networks()
    wanted = torch.stack([linked(member(inputs), link) for member in members]).mean(dim=0)
    torch.testing.assert_close(linked(Ensemble(members, link)(inputs), link), wanted)


def test_heads_are_averaged_each_by_its_own_link():
    inputs, members = torch.randn(5, 3), networks()
    ensemble = Ensemble(members, "none", (("class", "softmax", 0, 3), ("size", "identity", 3, 4)))
    outputs = ensemble(inputs)
    for part, link in ((slice(0, 3), "softmax"), (slice(3, 4), "identity")):
        wanted = torch.stack([linked(member(inputs)[:, part], link) for member in members]).mean(dim=0)
        torch.testing.assert_close(linked(outputs[:, part], link), wanted)


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_members_that_are_sure_leave_numbers_that_are_finite(link):
    sure = nn.Linear(2, 2, bias=False)
    nn.init.constant_(sure.weight, 0)
    with torch.no_grad():
        sure.weight[0, 0] = 1e4
    outputs = Ensemble([sure, copy.deepcopy(sure)], link)(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert torch.isfinite(outputs).all()


def test_weights_are_averaged_and_counts_are_those_of_the_first():
    members = networks()
    whole = averaged(members)
    for name, value in whole.state_dict().items():
        own = [member.state_dict()[name] for member in members]
        wanted = torch.stack(own).mean(dim=0) if value.is_floating_point() else own[0]
        torch.testing.assert_close(value, wanted)
    assert not whole.training

import itertools
from typing import Any

import pytest
import torch
from scipy.stats import kstest
from torch import nn

from podium.errors import SpecError
from podium.spec.sweep import NetworkSettings
from podium.training.toolbox.activations import ACTIVATIONS, MONOTONE
from podium.training.toolbox.chance import (
    Dropout,
    Noise,
    SpatialDropout,
    StochasticDepth,
    begin_epoch,
    begin_step,
    replace_torch_dropout,
    sites,
)
from podium.training.toolbox.networks import make_network
from podium.training.toolbox.networks.convnet import convnet
from podium.training.toolbox.norms import BatchNorm

IMAGE = (2, 9, 7)


def build(inputs: tuple[int, ...] = IMAGE, **settings: Any) -> nn.Module:
    return make_network({f"network.{key}": value for key, value in settings.items()}, inputs, 4)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
@pytest.mark.parametrize("kind", ["mlp", "convnet"])
@pytest.mark.parametrize("depth", [1, 3])
def test_networks_map_a_batch_to_outputs(kind: str, norm: str, depth: int) -> None:
    network = build(kind=kind, norm=norm, depth=depth, channels=6, width=10, kernel=3)
    assert network(torch.randn(5, *IMAGE)).shape == (5, 4)


def test_an_mlp_has_the_parameters_it_says() -> None:
    assert sum(parameter.numel() for parameter in build(depth=2, width=64).parameters()) == (
        126 * 64 + 64 + 64 * 64 + 64 + 64 * 4 + 4
    )


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_there_is_no_bias_before_a_norm(kind: str, norm: str) -> None:
    layers = list(build(kind=kind, norm=norm, depth=2).modules())
    for layer, following in itertools.pairwise(layers):
        if isinstance(following, BatchNorm | nn.GroupNorm):
            assert layer.bias is None


def test_pooling_ends_before_a_side_vanishes() -> None:
    assert build((1, 4, 4), kind="convnet", depth=5, width=2)(torch.randn(2, 1, 4, 4)).shape == (2, 4)


def test_a_convnet_refuses_vectors() -> None:
    with pytest.raises(SpecError, match=r"network.kind: a convnet takes samples of shape .*\(12,\).*kind: mlp"):
        build((12,), kind="convnet")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_used(name: str) -> None:
    network = build(activation=name)
    assert any(type(module) is type(ACTIVATIONS[name]()) for module in network.modules())


def test_batch_norm_is_that_of_torch_and_takes_a_single_sample() -> None:
    ours, theirs = BatchNorm(3), nn.BatchNorm1d(3)
    inputs = torch.randn(10, 3) * 2 + 1
    torch.testing.assert_close(ours(inputs), theirs(inputs))
    torch.testing.assert_close(ours(inputs[:1]), theirs.eval()(inputs[:1]))


def masks(network: nn.Module, positions: list[int], seed: int = 1, epoch: int = 0) -> torch.Tensor:
    places = sites(network)
    begin_epoch(places, seed, epoch)
    begin_step(places, torch.tensor(positions))
    return network(torch.ones(len(positions), 50))


def test_a_mask_depends_on_the_position_and_not_on_the_batch() -> None:
    network = nn.Sequential(Dropout(0.5))
    together = masks(network, [3, 4, 5])
    assert torch.equal(together[[2, 0]], masks(network, [5, 3]))
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(together, masks(network, [3, 4, 5], epoch=1))
    assert not torch.equal(together, masks(network, [3, 4, 5], seed=2))


def test_sites_draw_masks_of_their_own() -> None:
    network = nn.ModuleDict({"a": Dropout(0.5), "b": Dropout(0.5)})
    begin_epoch(sites(network), 1, 0)
    begin_step(sites(network), torch.arange(4))
    assert not torch.equal(network["a"](torch.ones(4, 50)), network["b"](torch.ones(4, 50)))


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.9])
def test_dropout_keeps_the_mean(rate: float) -> None:
    dropped = masks(nn.Sequential(Dropout(rate)), list(range(1000)))
    assert float((dropped == 0).double().mean()) == pytest.approx(rate, abs=0.01)
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)


def test_dropout_is_the_identity_in_evaluation_and_wants_to_know_its_batch() -> None:
    module = Dropout(0.5)
    inputs = torch.randn(3, 4)
    with pytest.raises(RuntimeError, match="Dropout knows 0 positions and got a batch of 3"):
        module(inputs)
    assert torch.equal(module.eval()(inputs), inputs)


def test_dropout_of_torch_is_replaced() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Dropout(0.3)))
    replace_torch_dropout(network)
    assert [(name, module.rate) for name, module in sites(network)] == [("1.0", 0.3)]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_pooling_and_activation_may_change_places_where_the_order_is_kept(activation: str) -> None:
    inputs = torch.linspace(-6, 6, 2 * 3 * 8 * 8, dtype=torch.float64).view(2, 3, 8, 8)
    pooling, module = nn.MaxPool2d(2), ACTIVATIONS[activation]()
    same = torch.allclose(pooling(module(inputs)), module(pooling(inputs)))
    assert same == (activation in MONOTONE)
    settings = NetworkSettings(kind="convnet", depth=1, activation=activation)
    kinds = [type(layer) for layer in convnet(settings, (1, 8, 8), 2)[1:3]]
    assert kinds == ([nn.MaxPool2d, type(module)] if same else [type(module), nn.MaxPool2d])


@pytest.mark.parametrize(("module", "drops_samples"), [(SpatialDropout(0.3), False), (StochasticDepth(0.3), True)])
def test_whole_channels_or_branches_are_dropped(module: nn.Module, drops_samples: bool) -> None:
    places = [("site", module)]
    begin_epoch(places, 1, 0)
    begin_step(places, torch.arange(400))
    dropped = module(torch.ones(400, 6, 4, 4)).view(400, 6, -1)
    assert torch.equal(dropped.amin(dim=2), dropped.amax(dim=2)), "a channel is whole or gone"
    is_one_for_all = bool((dropped.amax(dim=2).amin(dim=1) == dropped.amax(dim=2).amax(dim=1)).all())
    assert is_one_for_all == drops_samples
    assert float((dropped == 0).double().mean()) == pytest.approx(0.3, abs=0.06)
    assert float(dropped.max()) == pytest.approx(1 / 0.7)
    assert torch.equal(module.eval()(torch.ones(2, 6, 4, 4)), torch.ones(2, 6, 4, 4))


def test_noise_is_standard_normal_and_gone_in_evaluation() -> None:
    places = [("site", noise := Noise())]
    begin_epoch(places, 1, 0)
    begin_step(places, torch.arange(1000))
    drawn = noise(torch.ones(1000, 5, dtype=torch.float64))
    assert drawn.dtype is torch.float64
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    assert not noise.eval()(torch.ones(3, 5)).any()

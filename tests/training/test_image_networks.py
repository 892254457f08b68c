"""Networks for images: shapes, what the papers say of them, and that they can be stacked and exported."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.components import InitializerSettings
from podium.spec.networks import DENSE, VECTORS
from podium.training.toolbox.chance import SpatialDropout, StochasticDepth, begin_epoch, begin_step, sites
from podium.training.toolbox.initializers import initialize
from podium.training.toolbox.layers import replace_layers
from podium.training.toolbox.networks import NETWORKS, make_network

IMAGE = (2, 19, 23)
IMAGES = ["convnet", "lenet", "alexnet", "resnet", "fcn", "unet", "frrn", "srcnn", "rednet"]
SMALL: Mapping[str, Any] = {"channels": 3, "width": 6, "kernel": 3, "depth": 2}


def build(kind: str, inputs: tuple[int, ...] = IMAGE, outputs: int = 4, **settings: Any) -> nn.Module:
    made = {**SMALL, "kind": kind, **settings}
    network = make_network({f"network.{key}": value for key, value in made.items()}, inputs, outputs)
    initialize(network, InitializerSettings(), seed=1)
    return network


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_networks_for_images_give_vectors_or_maps() -> None:
    assert {*VECTORS, *DENSE} == {"mlp", *IMAGES} <= {*NETWORKS}


@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("inputs", [IMAGE, (1, 28, 28), (3, 5, 4)])
def test_images_become_vectors_or_maps_of_their_size(kind: str, norm: str, inputs: tuple[int, ...]) -> None:
    network = build(kind, inputs, norm=norm)
    begin_step(sites(network), torch.arange(2))
    expected = (2, 4, *inputs[1:]) if kind in DENSE else (2, 4)
    assert network(torch.randn(2, *inputs)).shape == expected


@pytest.mark.parametrize("kind", IMAGES)
def test_vectors_are_refused(kind: str) -> None:
    with pytest.raises(SpecError, match=rf"network.kind: an? {kind} takes samples of shape .*\(12,\).*kind: mlp"):
        build(kind, (12,))


@pytest.mark.parametrize("kind", ["fcn", "unet", "frrn"])
def test_images_that_are_halved_too_often_are_refused(kind: str) -> None:
    build(kind, (1, 9, 8), depth=3)
    with pytest.raises(SpecError, match=rf"network.depth: is 4, and a {kind} halves .* 9 x 8 .* can be halved 3 times"):
        build(kind, (1, 9, 8), depth=4)


@pytest.mark.parametrize("kind", ["fcn", "unet", "frrn", "srcnn", "rednet"])
@pytest.mark.parametrize("size", [(16, 16), (17, 31)])
def test_a_network_for_maps_takes_images_of_other_sizes_too(kind: str, size: tuple[int, int]) -> None:
    assert build(kind).eval()(torch.randn(1, 2, *size)).shape == (1, 4, *size)


def test_lenet_is_that_of_the_paper_but_for_its_tables() -> None:
    network = build("lenet", (1, 28, 28), 10)
    shapes = [tuple(value.shape) for name, value in network.named_parameters() if name.endswith("weight")]
    assert shapes == [(6, 1, 5, 5), (16, 6, 5, 5), (120, 400), (84, 120), (10, 84)]


@pytest.mark.parametrize(
    ("side", "first", "flat"), [(227, (48, 3, 11, 11), 128 * 8 * 8), (32, (48, 3, 3, 3), 128 * 4 * 4)]
)
def test_an_alexnet_is_scaled_to_its_input(side: int, first: tuple[int, ...], flat: int) -> None:
    network = build("alexnet", (3, side, side), 10, channels=48, width=5)
    shapes = [tuple(value.shape) for name, value in network.named_parameters() if name.endswith("weight")]
    assert shapes[0] == first
    assert [shape[0] for shape in shapes[:5]] == [48, 128, 192, 192, 128]
    assert shapes[5] == (5, flat)


def test_a_resnet_has_the_weights_of_the_paper() -> None:
    network = build("resnet", (3, 32, 32), 10, channels=16, depth=3, norm="batch")
    assert count(network) == 269_722, "0.27 million in the table for ResNet-20"
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(convolutions) == 20


def test_the_plain_twin_has_the_same_weights_and_no_shortcuts() -> None:
    one, plain = (build("resnet", shortcuts=shortcuts) for shortcuts in (True, False))
    assert [name for name, _ in one.named_parameters()] == [name for name, _ in plain.named_parameters()]
    for network in (one, plain):
        for name, parameter in network.named_parameters():
            if ".branch." in name:
                nn.init.zeros_(parameter)
    inputs = torch.randn(2, *IMAGE)
    first = one[1](one[0](inputs))
    carried = functional.pad(first[:, :, ::4, ::4], (0, 0, 0, 0, 0, 9))
    torch.testing.assert_close(one(inputs), one[-1](carried.mean(dim=(2, 3))), msg="what is added is nothing")
    torch.testing.assert_close(plain(inputs), plain[-1].bias.expand(2, -1), msg="nothing comes through")


def test_stochastic_depth_rises_evenly_and_needs_shortcuts() -> None:
    network = build("resnet", stochastic_depth=0.6)
    rates = [module.rate for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    with pytest.raises(SpecError, match=r"network.stochastic_depth: is 0.6, .*network.shortcuts: true"):
        build("resnet", stochastic_depth=0.6, shortcuts=False)


def test_an_srcnn_has_the_weights_of_the_paper() -> None:
    network = build("srcnn", (1, 33, 33), 1, channels=64, kernel=1)
    weights = sum(value.numel() for name, value in network.named_parameters() if name.endswith("weight"))
    assert weights == 8_032, "9-1-5 in the table of the paper"
    weights = sum(
        value.numel()
        for name, value in build("srcnn", (1, 33, 33), 1, channels=64, kernel=5).named_parameters()
        if name.endswith("weight")
    )
    assert weights == 57_184, "9-5-5"


def test_a_rednet_adds_every_second_layer_to_its_mirror_image() -> None:
    network = build("rednet", (1, 12, 12), 1, depth=4)
    inputs, relu = torch.randn(2, 1, 12, 12), functional.relu
    encoded = [inputs]
    for layer in network.encoder:
        encoded.append(layer(encoded[-1]))

    def turned(layer: nn.Conv2d, maps: Tensor) -> Tensor:
        kernel = layer.weight.transpose(0, 1).flip(2, 3)
        return functional.conv_transpose2d(maps, kernel, layer.bias, padding=1)

    first = relu(turned(network.decoder[0][0], encoded[4]))
    second = relu(turned(network.decoder[1][0], first) + encoded[2])
    third = relu(turned(network.decoder[2][0], second))
    torch.testing.assert_close(network(inputs), turned(network.last, third))


def test_the_full_resolution_stream_of_an_frrn_goes_by_what_is_pooled() -> None:
    network = build("frrn", (1, 12, 13), 2, depth=2)
    for unit in network.units:
        nn.init.zeros_(unit.back.weight)
    inputs = torch.randn(1, 1, 12, 13)
    found: list[Tensor] = []
    network.units[-1].register_forward_hook(lambda module, given, made: found.append(made[1]))
    network(inputs)
    torch.testing.assert_close(found[0], network.split(network.first(inputs)))


@pytest.mark.parametrize("kind", ["convnet", "lenet", "alexnet", "resnet", "fcn", "unet", "frrn"])
def test_dropout_of_channels_changes_no_names_and_drops(kind: str) -> None:
    plain, dropping = (build(kind, spatial_dropout=rate) for rate in (0.0, 0.4))
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    active = [module for module in dropping.modules() if isinstance(module, SpatialDropout) and module.is_active]
    assert active
    places = sites(dropping)
    begin_epoch(places, 1, 0)
    begin_step(places, torch.arange(3))
    inputs = torch.randn(3, *IMAGE)
    assert not torch.allclose(plain(inputs), dropping(inputs))
    torch.testing.assert_close(plain.eval()(inputs), dropping.eval()(inputs))


def rows(networks: Sequence[nn.Module]) -> dict[str, Tensor]:
    return {
        name: torch.stack([dict(network.named_parameters())[name].detach() for network in networks]).requires_grad_()
        for name, _ in networks[0].named_parameters()
    }


@pytest.mark.parametrize("kind", IMAGES)
def test_a_stack_of_two_is_what_each_is_alone(kind: str) -> None:
    networks = [build(kind, residual=False).double() for _ in range(2)]
    for number, network in enumerate(networks):
        initialize(network, InitializerSettings(), seed=number)
    template = copy.deepcopy(networks[0])
    replace_layers(template)
    inputs, weights = torch.randn(3, *IMAGE, dtype=torch.float64), rows(networks)
    stacked = vmap(lambda named: functional_call(template, named, (inputs,)))(weights)
    gradients = torch.autograd.grad(stacked.square().sum(), list(weights.values()))
    for lane, network in enumerate(networks):
        alone = network(inputs)
        torch.testing.assert_close(stacked[lane], alone, rtol=1e-9, atol=1e-9)
        own = torch.autograd.grad(alone.square().sum(), list(network.parameters()))
        for one, other in zip(gradients, own, strict=True):
            torch.testing.assert_close(one[lane], other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["resnet", "fcn", "unet", "frrn", "rednet"])
def test_networks_are_exported_for_any_batch(kind: str) -> None:
    network: Callable[[Tensor], Tensor] = build(kind).eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, (torch.zeros(2, *IMAGE),), dynamic_shapes=({0: batch},))
    inputs = torch.randn(5, *IMAGE)
    torch.testing.assert_close(program.module()(inputs), network(inputs))

"""Training, the toolbox: what several networks are built of."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training.toolbox.activations import ACTIVATIONS
from podium.training.toolbox.chance import SpatialDropout
from podium.training.toolbox.norms import make_norm


def hidden(settings: NetworkSettings, layer: nn.Module, channels: int) -> Iterator[nn.Module]:
    """A layer of `channels` outputs, then its norm if there is one, then the activation."""
    yield layer
    if settings.norm != "none":
        yield make_norm(settings.norm, channels)
    yield ACTIVATIONS[settings.activation]()


def require_images(settings: NetworkSettings, inputs: tuple[int, ...]) -> tuple[int, int, int]:
    """Channels, height and width of a sample.

    Raises:
        SpecError: unless that is what `inputs` is.
    """
    if len(inputs) != 3:
        article = "an" if settings.kind == "alexnet" else "a"
        raise SpecError(
            f"{article} {settings.kind} takes samples of shape (channels, height, width), and these are {inputs}; "
            "use `kind: mlp`",
            key="network.kind",
        )
    channels, height, width = inputs
    return channels, height, width


def require_depth(settings: NetworkSettings, height: int, width: int) -> None:
    """Refuses to halve images more often than they can be.

    Raises:
        SpecError: naming the largest depth.
    """
    most = min(height, width).bit_length() - 1
    if settings.depth > most:
        raise SpecError(
            f"is {settings.depth}, and a {settings.kind} halves images of {height} x {width} pixels so often; they can "
            f"be halved {most} times",
            key="network.depth",
        )


def in_sequence(layers: Sequence[nn.Module]) -> nn.Sequential:
    """The layers one after the other; dropout of channels is not counted in their names.

    Initial weights are drawn by name, and are the same with it and without.
    """
    named, number = OrderedDict[str, nn.Module](), 0
    for layer in layers:
        if isinstance(layer, SpatialDropout):
            named[f"dropout{number}"] = layer
        else:
            named[str(number)] = layer
            number += 1
    return nn.Sequential(named)


def convolution(settings: NetworkSettings, inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size, or divides it by its stride; without a bias where a norm follows."""
    has_bias = settings.norm == "none"
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=has_bias)


def two_convolutions(settings: NetworkSettings, inputs: int, outputs: int) -> nn.Sequential:
    """Twice a convolution with its norm and activation, then dropout of channels: `[B, C, H, W]`, of the same size."""
    first = hidden(settings, convolution(settings, inputs, outputs, settings.kernel), outputs)
    second = hidden(settings, convolution(settings, outputs, outputs, settings.kernel), outputs)
    return in_sequence([*first, *second, SpatialDropout(settings.spatial_dropout)])


def upsampled(maps: Tensor, size: Sequence[int], mode: str) -> Tensor:
    """Maps `[B, C, h, w]` brought to another height and width, by `nearest` or `bilinear` interpolation."""
    aligned = False if mode == "bilinear" else None
    return functional.interpolate(maps, size=tuple(size), mode=mode, align_corners=aligned)


def joined(*maps: Tensor) -> Tensor:
    """The channels of several `[B, C, H, W]` side by side."""
    return torch.cat(maps, dim=1)

"""Training, the toolbox: LeNet's family, from LeNet-5 to AlexNet."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from podium.spec.networks import NetworkSettings
from podium.training.toolbox.activations import MONOTONE
from podium.training.toolbox.chance import Dropout, SpatialDropout
from podium.training.toolbox.networks.blocks import convolution, hidden, in_sequence, require_images


@dataclass
class _Family:
    """Blocks of convolution, and what size is left after them."""

    settings: NetworkSettings
    channels: int
    height: int
    width: int

    def block(self, layer: nn.Conv2d, pooling: nn.MaxPool2d | None) -> list[nn.Module]:
        """A convolution, norm, activation, pooling if there is any and no side would vanish, dropout of channels."""
        settings = self.settings
        self.channels = layer.out_channels
        self.height, self.width = _after(layer, self.height), _after(layer, self.width)
        *before, activation = hidden(settings, layer, layer.out_channels)
        last = [activation]
        if pooling is not None and min(self.height, self.width) >= 2:
            # a maximum may be taken before what keeps the order, which then has a quarter to do
            last = [pooling, activation] if settings.activation in MONOTONE else [activation, pooling]
            self.height, self.width = _after(pooling, self.height), _after(pooling, self.width)
        return [*before, *last, SpatialDropout(settings.spatial_dropout)]

    def top(self, widths: Sequence[int], outputs: int) -> list[nn.Module]:
        """Fully connected layers of these widths, then a linear one."""
        layers: list[nn.Module] = [nn.Flatten()]
        size = self.channels * self.height * self.width
        for width in widths:
            linear = nn.Linear(size, width, bias=self.settings.norm == "none")
            layers += [*hidden(self.settings, linear, width), Dropout(self.settings.dropout)]
            size = width
        return [*layers, nn.Linear(size, outputs)]


def convnet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """LeNet's family: `depth` blocks of convolution and 2 x 2 max pooling, a hidden layer, a linear layer.

    Convolutions keep the size; channels start at `channels` and double; pooling ends where a side would vanish.
    Dropout acts on the hidden layer. Source: LeCun et al., "Gradient-based learning applied to document
    recognition", 1998, with max pooling and free activations.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    family, layers, made = _Family(settings, *require_images(settings, inputs)), [], settings.channels
    for _ in range(settings.depth):
        layers += family.block(convolution(settings, family.channels, made, settings.kernel), nn.MaxPool2d(2))
        made = 2 * made
    return in_sequence([*layers, *family.top([settings.width], outputs)])


def lenet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """LeNet-5: 6 and 16 channels of 5 x 5, each with 2 x 2 pooling, then 120, 84 and the outputs.

    The first convolution keeps the size, as 28 x 28 digits do that are padded to 32 x 32; the second one does so only
    where images are too small for it. Pooling takes the maximum, and the second convolution sees all channels.
    Source: LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    family, has_bias = _Family(settings, *require_images(settings, inputs)), settings.norm == "none"
    layers = family.block(convolution(settings, family.channels, 6, 5), nn.MaxPool2d(2))
    is_large = min(family.height, family.width) >= 6
    layers += family.block(nn.Conv2d(6, 16, 5, padding=0 if is_large else 2, bias=has_bias), nn.MaxPool2d(2))
    return in_sequence([*layers, *family.top([120, 84], outputs)])


LARGE = 128
"""Sides from which AlexNet begins with strides of 4."""


def alexnet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """AlexNet, scaled to the input: five convolutions, overlapping pooling after the first, second and fifth.

    Channels have the paper's proportions, 3 : 8 : 12 : 12 : 8, and begin with `channels`; two fully connected layers
    of `width` follow. Images whose sides have at least 128 pixels meet kernels of 11 with strides of 4 first, smaller
    ones kernels of `kernel`; pooling ends where a side would vanish. `norm` takes the place of local response
    normalization. Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    family = _Family(settings, *require_images(settings, inputs))
    is_large = min(family.height, family.width) >= LARGE
    kernels = [11 if is_large else settings.kernel, 5 if is_large else 3, 3, 3, 3]
    strides = [4 if is_large else 1, 1, 1, 1, 1]
    made = [max(1, settings.channels * share // 3) for share in (3, 8, 12, 12, 8)]
    layers: list[nn.Module] = []
    for number, (channels, kernel, stride) in enumerate(zip(made, kernels, strides, strict=True)):
        layer = convolution(settings, family.channels, channels, kernel, stride)
        layers += family.block(layer, nn.MaxPool2d(3, 2, padding=1) if number in (0, 1, 4) else None)
    return in_sequence([*layers, *family.top([settings.width] * 2, outputs)])


def _after(layer: nn.Conv2d | nn.MaxPool2d, side: int) -> int:
    kernel, stride, padding = (_first(each) for each in (layer.kernel_size, layer.stride, layer.padding))
    return (side + 2 * padding - kernel) // stride + 1


def _first(number: object) -> int:
    found = number[0] if isinstance(number, tuple) else number
    assert isinstance(found, int)
    return found

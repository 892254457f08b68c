"""Training, the toolbox: networks from images to maps of the same size, over coarser and coarser images of them."""

from collections.abc import Sequence

from torch import Tensor, nn

from podium.spec.networks import NetworkSettings
from podium.training.toolbox.chance import SpatialDropout
from podium.training.toolbox.networks.blocks import (
    convolution,
    hidden,
    in_sequence,
    joined,
    require_depth,
    require_images,
    two_convolutions,
    upsampled,
)
from podium.training.toolbox.networks.resnet import Unit


class FCN(nn.Module):
    """What `fcn` makes.

    Args:
        settings: Those of the network.
        inputs: Channels of images.
        outputs: Channels of maps.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        made = [settings.channels * 2**level for level in range(settings.depth)]
        blocks = zip([inputs, *made], made, strict=False)
        self.blocks = nn.ModuleList(two_convolutions(settings, before, after) for before, after in blocks)
        self.scores = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in made)
        self.pooling = nn.MaxPool2d(2)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H, W]`."""
        scores, maps = [], inputs
        for block, score in zip(self.blocks, self.scores, strict=True):
            maps = self.pooling(block(maps))
            scores.append(score(maps))
        total: Tensor = scores.pop()
        while scores:
            finer = scores.pop()
            total = upsampled(total, finer.shape[-2:], "bilinear") + finer
        return upsampled(total, inputs.shape[-2:], "bilinear")


def fcn(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The fully convolutional network: scores of each of `depth` levels, upsampled and added up.

    A level is two convolutions and 2 x 2 max pooling; channels start at `channels` and double. Upsampling is bilinear,
    with which the paper's learnt one begins. Source: Long, Shelhamer and Darrell, "Fully convolutional networks for
    semantic segmentation", 2014, arXiv:1411.4038.

    Raises:
        SpecError: for inputs that are no images, or cannot be halved so often.
    """
    channels, height, width = require_images(settings, inputs)
    require_depth(settings, height, width)
    return FCN(settings, channels, outputs)


class UNet(nn.Module):
    """What `unet` makes.

    Args:
        settings: Those of the network.
        inputs: Channels of images.
        outputs: Channels of maps.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        made = [settings.channels * 2**level for level in range(settings.depth + 1)]
        downwards = zip([inputs, *made], made, strict=False)
        self.down = nn.ModuleList(two_convolutions(settings, before, after) for before, after in downwards)
        upwards = made[-2::-1]
        self.narrow = nn.ModuleList(
            nn.Sequential(*hidden(settings, convolution(settings, 2 * channels, channels, 3), channels))
            for channels in upwards
        )
        self.up = nn.ModuleList(two_convolutions(settings, 2 * channels, channels) for channels in upwards)
        self.pooling, self.last = nn.MaxPool2d(2), nn.Conv2d(settings.channels, outputs, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H, W]`."""
        skips, maps = [], inputs
        for number, down in enumerate(self.down):
            maps = down(self.pooling(maps) if number else maps)
            skips.append(maps)
        skips.pop()
        for narrow, up in zip(self.narrow, self.up, strict=True):
            skip = skips.pop()
            maps = up(joined(skip, narrow(upsampled(maps, skip.shape[-2:], "nearest"))))
        outputs: Tensor = self.last(maps)
        return outputs


def unet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The U-Net: `depth` times down and up again, each level's maps joined with those that come from below.

    A level has two convolutions; channels start at `channels` and double. Convolutions are padded, so that maps have
    the size of images, whatever that is; after nearest-neighbour upsampling comes one of 3 x 3, since the paper's
    2 x 2 cannot be padded evenly. Source: Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical
    image segmentation", 2015, arXiv:1505.04597.

    Raises:
        SpecError: for inputs that are no images, or cannot be halved so often.
    """
    channels, height, width = require_images(settings, inputs)
    require_depth(settings, height, width)
    return UNet(settings, channels, outputs)


class FullResolutionUnit(nn.Module):
    """A unit of two streams: the pooled one, y, reads the full residual one, z, and adds to it what it finds.

    y' = F(y, pool(z)), F being two convolutions; z' = z + unpool(1 x 1 convolution(y')).

    Args:
        settings: Those of the network.
        inputs: Channels of y.
        outputs: Channels of y'.
        full: Channels of z.
        scale: What z is pooled by.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int, full: int, scale: int) -> None:
        super().__init__()
        self.layers = two_convolutions(settings, inputs + full, outputs)
        self.back, self.pooling = nn.Conv2d(outputs, full, 1), nn.MaxPool2d(scale)

    def forward(self, pooled: Tensor, full: Tensor) -> tuple[Tensor, Tensor]:
        """`[B, C, h, w]` and `[B, full, H, W]` to the same."""
        pooled = self.layers(joined(pooled, self.pooling(full)))
        return pooled, full + upsampled(self.back(pooled), full.shape[-2:], "nearest")


class FRRN(nn.Module):
    """What `frrn` makes.

    Args:
        settings: Those of the network.
        inputs: Channels of images.
        outputs: Channels of maps.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        channels, full = settings.channels, max(1, settings.channels * 2 // 3)
        made = convolution(settings, inputs, channels, settings.kernel)
        plain = settings.model_copy(update={"shortcuts": True})
        self.first = nn.Sequential(*hidden(settings, made, channels), Unit(plain, channels, channels, 1, 0.0))
        self.split, units, before = nn.Conv2d(channels, full, 1), [], channels
        levels = [*range(1, settings.depth + 1), *range(settings.depth - 1, 0, -1)]
        for level in levels:
            after = channels * 2 ** min(level, 3)
            units.append(FullResolutionUnit(settings, before, after, full, 2**level))
            before = after
        self.units, self.pooling = nn.ModuleList(units), nn.MaxPool2d(2)
        merged = hidden(settings, convolution(settings, before + full, channels, 1), channels)
        self.last = in_sequence(
            [
                *merged,
                SpatialDropout(settings.spatial_dropout),
                Unit(plain, channels, channels, 1, 0.0),
                nn.Conv2d(channels, outputs, 1),
            ]
        )
        self.depth = settings.depth

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H, W]`."""
        pooled = self.first(inputs)
        full = self.split(pooled)
        sizes: list[Sequence[int]] = []
        for number, unit in enumerate(self.units):
            if number < self.depth:
                sizes.append(pooled.shape[-2:])
                pooled = self.pooling(pooled)
            else:
                pooled = upsampled(pooled, sizes[2 * self.depth - 1 - number], "nearest")
            pooled, full = unit(pooled, full)
        outputs: Tensor = self.last(joined(upsampled(pooled, full.shape[-2:], "nearest"), full))
        return outputs


def frrn(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The full-resolution residual network, in a small size: one stream keeps the resolution, another one is pooled.

    The pooled stream goes `depth` times down and up again, with a unit at each level; its channels start at `channels`
    and double three times at most. The residual stream has two thirds of `channels`, as in the paper (48 and 32). A
    residual unit comes before the streams part, and one after they have met. Source: Pohlen et al., "Full-resolution
    residual networks for semantic segmentation in street scenes", 2016, arXiv:1611.08323.

    Raises:
        SpecError: for inputs that are no images, or cannot be halved so often.
    """
    channels, height, width = require_images(settings, inputs)
    require_depth(settings, height, width)
    return FRRN(settings, channels, outputs)

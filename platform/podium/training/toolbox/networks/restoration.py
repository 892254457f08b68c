"""Training, the toolbox: networks from images to better images of the same size."""

from torch import Tensor, nn

from podium.spec.networks import NetworkSettings
from podium.training.toolbox.activations import ACTIVATIONS
from podium.training.toolbox.networks.blocks import convolution, hidden, require_images
from podium.training.toolbox.norms import make_norm


def srcnn(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """SRCNN: convolutions of 9, `kernel` and 5, with `channels`, half as many, and the outputs.

    Images come in at the size that they are to have, by bicubic interpolation. The paper's have 64 channels, and
    kernels 9-1-5 or 9-5-5. Source: Dong et al., "Image super-resolution using deep convolutional networks", 2014,
    arXiv:1501.00092.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    channels, _, _ = require_images(settings, inputs)
    made, half = settings.channels, max(1, settings.channels // 2)
    return nn.Sequential(
        *hidden(settings, convolution(settings, channels, made, 9), made),
        *hidden(settings, convolution(settings, made, half, settings.kernel), half),
        nn.Conv2d(half, outputs, 5, padding=2),
    )


class REDNet(nn.Module):
    """What `rednet` makes.

    Args:
        settings: Those of the network.
        inputs: Channels of images.
        outputs: Channels of maps.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int) -> None:
        super().__init__()
        made, kernel, depth = settings.channels, settings.kernel, settings.depth
        self.encoder = nn.ModuleList(
            nn.Sequential(*hidden(settings, convolution(settings, inputs if number == 0 else made, made, kernel), made))
            for number in range(depth)
        )
        self.decoder = nn.ModuleList(_with_norm(settings, made, kernel) for _ in range(depth - 1))
        self.last = nn.Conv2d(made, outputs, kernel, padding=kernel // 2)
        self.activation = ACTIVATIONS[settings.activation]()

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, H, W]`."""
        encoded, maps = [], inputs
        for layer in self.encoder:
            maps = layer(maps)
            encoded.append(maps)
        for number, layer in enumerate(self.decoder, start=1):
            maps = layer(maps)
            if number % 2 == 0:
                maps = maps + encoded[-1 - number]
            maps = self.activation(maps)
        outputs: Tensor = self.last(maps)
        return outputs


def rednet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """RED-Net: `depth` convolutions, as many transposed ones, and skips between every second pair of them.

    All have `channels` and kernels of `kernel`; the paper's have 64 and 3, and depths of 5, 10 and 15. What comes out
    of every second transposed convolution is added to what went into its mirror image, and then activated; the last
    such skip, from image to image, is `network.residual`. A transposed convolution that keeps the size is a convolution
    with its kernel turned round, so that both halves are made of convolutions. Source: Mao, Shen and Yang, "Image
    restoration using convolutional auto-encoders with symmetric skip connections", 2016, arXiv:1606.08921.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    channels, _, _ = require_images(settings, inputs)
    return REDNet(settings, channels, outputs)


def _with_norm(settings: NetworkSettings, channels: int, kernel: int) -> nn.Sequential:
    layers: list[nn.Module] = [convolution(settings, channels, channels, kernel)]
    if settings.norm != "none":
        layers.append(make_norm(settings.norm, channels))
    return nn.Sequential(*layers)

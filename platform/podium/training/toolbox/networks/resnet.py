"""Training, the toolbox: the residual network."""

from torch import Tensor, nn
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.training.toolbox.activations import ACTIVATIONS
from podium.training.toolbox.chance import SpatialDropout, StochasticDepth
from podium.training.toolbox.networks.blocks import convolution, hidden, in_sequence, require_images
from podium.training.toolbox.norms import make_norm


class Unit(nn.Module):
    """A residual unit: activation(x + F(x)), F being two convolutions with an activation between them.

    Where F halves the size, x is every second pixel, and channels that it lacks are zero (the paper's option A), so
    that shortcuts have no weights. Without shortcuts: activation(F(x)).

    Args:
        settings: Those of the network.
        inputs: Channels of x.
        outputs: Channels that come out.
        stride: What F divides the size by.
        rate: How often F is dropped for a sample in training.
    """

    def __init__(self, settings: NetworkSettings, inputs: int, outputs: int, stride: int, rate: float) -> None:
        super().__init__()
        first = hidden(settings, convolution(settings, inputs, outputs, settings.kernel, stride), outputs)
        layers = [*first, SpatialDropout(settings.spatial_dropout)]
        layers.append(convolution(settings, outputs, outputs, settings.kernel))
        if settings.norm != "none":
            layers.append(make_norm(settings.norm, outputs))
        self.branch, self.depth = in_sequence(layers), StochasticDepth(rate)
        self.activation = ACTIVATIONS[settings.activation]()
        self.has_shortcut, self.stride, self.missing = settings.shortcuts, stride, outputs - inputs

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]`."""
        branch = self.depth(self.branch(inputs))
        if self.has_shortcut:
            kept = inputs[..., :: self.stride, :: self.stride]
            branch = branch + (functional.pad(kept, (0, 0, 0, 0, 0, self.missing)) if self.missing else kept)
        outputs: Tensor = self.activation(branch)
        return outputs


class GlobalAverage(nn.Module):
    """The mean of each channel: `[B, C, H, W]` to `[B, C]`."""

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C]`."""
        return inputs.mean(dim=(-2, -1))


def resnet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The residual network for small images: a convolution, `stages` of `depth` units, the mean of each channel.

    Each stage after the first halves the size and doubles the channels, which begin with `channels`. With kernels of
    3, channels of 16 and three stages it is the paper's ResNet of 6 `depth` + 2 layers for CIFAR-10. `shortcuts: false`
    gives the plain network with the same weights. Of L units, the l-th is dropped for a sample with probability
    l / L * `stochastic_depth`.

    Sources: He et al., "Deep residual learning for image recognition", 2015, arXiv:1512.03385; Huang et al., "Deep
    networks with stochastic depth", 2016, arXiv:1603.09382.

    Raises:
        SpecError: unless `inputs` is (channels, height, width), and for stochastic depth without shortcuts.
    """
    channels, _, _ = require_images(settings, inputs)
    if settings.stochastic_depth and not settings.shortcuts:
        raise SpecError(
            f"is {settings.stochastic_depth}, and nothing would be left of a unit that is dropped without a shortcut; "
            "leave it out, or write `network.shortcuts: true`",
            key="network.stochastic_depth",
        )
    made, count = settings.channels, settings.stages * settings.depth
    layers = [*hidden(settings, convolution(settings, channels, made, settings.kernel), made)]
    channels = made
    for number in range(count):
        is_smaller = number > 0 and number % settings.depth == 0
        made = 2 * channels if is_smaller else channels
        rate = settings.stochastic_depth * (number + 1) / count
        layers.append(Unit(settings, channels, made, 2 if is_smaller else 1, rate))
        channels = made
    return nn.Sequential(*layers, GlobalAverage(), nn.Linear(channels, outputs))

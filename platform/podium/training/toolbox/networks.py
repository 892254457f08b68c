"""Training, the toolbox: the built-in networks, from flat parameters and a data schema."""

import math
from collections.abc import Iterator, Mapping

from torch import nn

from podium.errors import SpecError
from podium.spec.space import Value
from podium.spec.sweep import NetworkSettings
from podium.training.toolbox.activations import ACTIVATIONS, MONOTONE
from podium.training.toolbox.dropout import Dropout
from podium.training.toolbox.norms import make_norm


def make_network(parameters: Mapping[str, Value], inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """The network that `network.*` among a trial's parameters describes.

    Args:
        parameters: Fixed and searched parameters by dotted key; absent ones have their defaults.
        inputs: Shape of a sample.
        outputs: Numbers that come out for each sample.

    Returns:
        A module from `[B, *inputs]` to `[B, outputs]`.

    Raises:
        SpecError: if this network cannot take such inputs.
    """
    section = "network."
    settings = NetworkSettings.model_validate(
        {key.removeprefix(section): value for key, value in parameters.items() if key.startswith(section)}
    )
    make = {"mlp": mlp, "convnet": convnet}[settings.kind]
    return make(settings, inputs, outputs)


def mlp(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """`depth` fully connected layers of `width` units over the flattened inputs, then a linear layer."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(inputs)
    for _ in range(settings.depth):
        layers += _hidden(settings, nn.Linear(size, settings.width, bias=settings.norm == "none"), settings.width)
        layers.append(Dropout(settings.dropout))
        size = settings.width
    return nn.Sequential(*layers, nn.Linear(size, outputs))


def convnet(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """LeNet's family: `depth` blocks of convolution and 2 x 2 max pooling, a hidden layer, a linear layer.

    Convolutions keep the size; channels start at `channels` and double; pooling ends where a side would vanish.
    Dropout acts on the hidden layer. Source: LeCun et al., "Gradient-based learning applied to document
    recognition", 1998, with max pooling and free activations.

    Raises:
        SpecError: unless `inputs` is (channels, height, width).
    """
    if len(inputs) != 3:
        raise SpecError(
            f"a convnet takes samples of shape (channels, height, width), and these are {inputs}; use `kind: mlp`",
            key="network.kind",
        )
    channels, height, width = inputs
    bias, made = settings.norm == "none", settings.channels
    layers: list[nn.Module] = []
    for _ in range(settings.depth):
        convolution = nn.Conv2d(channels, made, settings.kernel, padding=settings.kernel // 2, bias=bias)
        *before, activation = _hidden(settings, convolution, made)
        if min(height, width) >= 2:
            pooling = nn.MaxPool2d(2)
            # a maximum may be taken before what keeps the order, which then has a quarter to do
            last = [pooling, activation] if settings.activation in MONOTONE else [activation, pooling]
            height, width = height // 2, width // 2
        else:
            last = [activation]
        layers += [*before, *last]
        channels, made = made, 2 * made
    hidden = nn.Linear(channels * height * width, settings.width, bias=bias)
    layers += [nn.Flatten(), *_hidden(settings, hidden, settings.width), Dropout(settings.dropout)]
    return nn.Sequential(*layers, nn.Linear(settings.width, outputs))


def _hidden(settings: NetworkSettings, layer: nn.Module, channels: int) -> Iterator[nn.Module]:
    yield layer
    if settings.norm != "none":
        yield make_norm(settings.norm, channels)
    yield ACTIVATIONS[settings.activation]()

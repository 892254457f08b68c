"""Training, the toolbox: the fully connected network."""

import math

from torch import nn

from podium.spec.networks import NetworkSettings
from podium.training.toolbox.chance import Dropout
from podium.training.toolbox.networks.blocks import hidden


def mlp(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """`depth` fully connected layers of `width` units over the flattened inputs, then a linear layer."""
    layers: list[nn.Module] = [nn.Flatten()]
    size = math.prod(inputs)
    for _ in range(settings.depth):
        layers += hidden(settings, nn.Linear(size, settings.width, bias=settings.norm == "none"), settings.width)
        layers.append(Dropout(settings.dropout))
        size = settings.width
    return nn.Sequential(*layers, nn.Linear(size, outputs))

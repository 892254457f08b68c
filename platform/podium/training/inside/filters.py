"""Training, seeing inside: what the first layer weighs."""

import math

from torch import Tensor, nn


def first_filters(module: nn.Module, inputs: tuple[int, ...]) -> Tensor | None:
    """The weights of the first layer as pictures.

    Args:
        module: A network of samples of the shape `inputs`.
        inputs: `(channels, height, width)`.

    Returns:
        `[K, channels, height, width]`: the kernels of a convolution, or the weights of a fully connected layer in the
        shape of a sample; None if the first layer that has weights is neither.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            return layer.weight.detach()
        if isinstance(layer, nn.Linear):
            fits = len(inputs) == 3 and layer.in_features == math.prod(inputs)
            return layer.weight.detach().reshape(-1, *inputs) if fits else None
    return None

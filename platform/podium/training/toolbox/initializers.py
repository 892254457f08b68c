"""Training, the toolbox: initial weights, drawn by (seed, parameter name, element) in float64 and then cast.

A weight is `[out, in, *kernel]`; with r the product of the kernel's sides, fan_in = in * r and fan_out = out * r.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from podium.spec.sweep import InitializerSettings
from podium.training import draws
from podium.training.flat import is_weight

Shape = tuple[int, ...]


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of that shape."""
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def small_normal(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with standard deviation `scale` (0.01 if absent), whatever the fans; float64."""
    return draws.normal(shape, key) * (0.01 if settings.scale is None else settings.scale)


def xavier_uniform(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Uniform on ±sqrt(6 / (fan_in + fan_out)); float64.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", AISTATS 2010.
    """
    return _uniform(shape, key, 2 / sum(fans(shape)))


def xavier_normal(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with variance 2 / (fan_in + fan_out); float64. Source: as `xavier_uniform`."""
    return draws.normal(shape, key) * math.sqrt(2 / sum(fans(shape)))


def variance_scaling(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Normal, not truncated, with variance `scale` (1 if absent) over the fan `in`, `out` or their `average`; float64.

    Source: the family that Keras names so, after LeCun et al., "Efficient BackProp", 1998 (scale 1, fan in).
    """
    fan_in, fan_out = fans(shape)
    fan = {"in": fan_in, "out": fan_out, "average": (fan_in + fan_out) / 2}[settings.fan]
    return draws.normal(shape, key) * math.sqrt((1.0 if settings.scale is None else settings.scale) / fan)


def he_uniform(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Uniform on ±sqrt(6 / fan_in); float64. Source: as `he_normal`."""
    return _uniform(shape, key, 2 / fans(shape)[0])


def he_normal(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with variance 2 / fan_in; float64.

    Source: He et al., "Delving deep into rectifiers", 2015, arXiv:1502.01852.
    """
    return draws.normal(shape, key) * math.sqrt(2 / fans(shape)[0])


def orthogonal(shape: Shape, key: int, settings: InitializerSettings) -> Tensor:
    """Orthonormal rows or columns (whichever are fewer) of the weight as an `[out, in * r]` matrix; float64.

    The Q of a QR decomposition of normal numbers, its signs fixed by R's diagonal, so that it is uniform.
    Source: Saxe, McClelland and Ganguli, 2013, arXiv:1312.6120; Mezzadri, 2006, arXiv:math-ph/0609050.
    """
    rows, columns = shape[0], math.prod(shape[1:])
    tall, r = torch.linalg.qr(draws.normal((max(rows, columns), min(rows, columns)), key))
    tall = tall * r.diagonal().sign()
    drawn: Tensor = tall if rows >= columns else tall.T
    return drawn.reshape(shape)


def _uniform(shape: Shape, key: int, variance: float) -> Tensor:
    return (draws.uniform(shape, key) * 2 - 1) * math.sqrt(3 * variance)


SCHEMES: Mapping[str, Callable[[Shape, int, InitializerSettings], Tensor]] = {
    scheme.__name__: scheme
    for scheme in (
        small_normal,
        xavier_uniform,
        xavier_normal,
        variance_scaling,
        he_uniform,
        he_normal,
        orthogonal,
    )
}


def initialize(network: nn.Module, settings: InitializerSettings, seed: int) -> None:
    """Draws the trainable weights of `network` in place and sets biases to zero; norms stay as they are.

    Args:
        network: Its parameters' names enter the draw, their order does not.
        settings: The scheme and its numbers.
        seed: The trial seed.
    """
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if not parameter.requires_grad:
                continue
            if is_weight(parameter):
                key = draws.fold(seed, "initializer", name)
                parameter.copy_(SCHEMES[settings.scheme](tuple(parameter.shape), key, settings))
            elif name.rpartition(".")[2].startswith("bias"):
                parameter.zero_()

"""Training, the toolbox: initial weights, drawn by (seed, parameter name, element) in float64 and then cast.

A weight is `[out, in, *kernel]`; with r the product of the kernel's sides, fan_in = in * r and fan_out = out * r. That
of a transposed convolution is stored as `[in, out, *kernel]`; with s the product of its strides, r / s of its positions
reach each output, so that fan_in = in * r / s.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from podium.spec.sweep import InitializerSettings
from podium.training import draws
from podium.training.flat import is_weight

Shape = tuple[int, ...]
Fans = tuple[float, float]
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def fans(shape: Shape, strides: int = 1) -> Fans:
    """(fan_in, fan_out) of a weight `[out, in, *kernel]`.

    Args:
        shape: Its shape.
        strides: The product of the strides, where it is that of a transposed convolution.
    """
    field = math.prod(shape[2:])
    return shape[1] * field / strides, shape[0] * field


def small_normal(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with standard deviation `scale` (0.01 if absent), whatever the fans; float64."""
    return draws.normal(shape, key) * (0.01 if settings.scale is None else settings.scale)


def xavier_uniform(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Uniform on ±sqrt(6 / (fan_in + fan_out)); float64.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", AISTATS 2010.
    """
    return _uniform(shape, key, 2 / sum(fans))


def xavier_normal(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with variance 2 / (fan_in + fan_out); float64. Source: as `xavier_uniform`."""
    return draws.normal(shape, key) * math.sqrt(2 / sum(fans))


def variance_scaling(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Normal or uniform, with variance `scale` (1 if absent) over the fan `in`, `out` or their `average`; float64.

    The normal distribution is not truncated. Source: the family that Keras names so, after LeCun et al., "Efficient
    BackProp", 1998 (scale 1, fan in).
    """
    fan = {"in": fans[0], "out": fans[1], "average": sum(fans) / 2}[settings.fan]
    variance = (1.0 if settings.scale is None else settings.scale) / fan
    if settings.distribution == "uniform":
        return _uniform(shape, key, variance)
    return draws.normal(shape, key) * math.sqrt(variance)


def he_uniform(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Uniform on ±sqrt(6 / fan_in); float64. Source: as `he_normal`."""
    return _uniform(shape, key, 2 / fans[0])


def he_normal(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with variance 2 / fan_in; float64.

    Source: He et al., "Delving deep into rectifiers", 2015, arXiv:1502.01852.
    """
    return draws.normal(shape, key) * math.sqrt(2 / fans[0])


def lecun_uniform(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Uniform on ±sqrt(3 / fan_in); float64. Source: as `lecun_normal`."""
    return _uniform(shape, key, 1 / fans[0])


def lecun_normal(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
    """Normal with variance 1 / fan_in; float64.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998; for selu, Klambauer et al., 2017,
    arXiv:1706.02515.
    """
    return draws.normal(shape, key) * math.sqrt(1 / fans[0])


def orthogonal(shape: Shape, fans: Fans, key: int, settings: InitializerSettings) -> Tensor:
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


SCHEMES: Mapping[str, Callable[[Shape, Fans, int, InitializerSettings], Tensor]] = {
    scheme.__name__: scheme
    for scheme in (
        small_normal,
        xavier_uniform,
        xavier_normal,
        variance_scaling,
        he_uniform,
        he_normal,
        lecun_uniform,
        lecun_normal,
        orthogonal,
    )
} | {"lsuv": orthogonal}
"""By their `initializer.scheme`; what `lsuv` does once there are data is `unit_variance`."""


def initialize(network: nn.Module, settings: InitializerSettings, seed: int) -> None:
    """Draws the trainable weights of `network` in place and sets biases; norms stay as they are.

    Args:
        network: Its parameters' names enter the draw, their order does not.
        settings: The scheme and its numbers.
        seed: The trial seed.
    """
    owners = {id(value): module for module in network.modules() for value in module.parameters(recurse=False)}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            own = name.rpartition(".")[2]
            if not parameter.requires_grad:
                continue
            if is_weight(parameter):
                key = draws.fold(seed, "initializer", name)
                is_recurrent = own.startswith("weight_hh") and settings.recurrent != "same"
                drawn = _recurrent(parameter, key, settings) if is_recurrent else None
                parameter.copy_(_drawn(parameter, owners[id(parameter)], key, settings) if drawn is None else drawn)
            elif own.startswith("bias"):
                parameter.fill_(settings.bias)


def unit_variance(network: nn.Module, *inputs: Tensor) -> None:
    """Scales the weights of each linear and convolution layer until its outputs have variance 1 on a batch.

    Layers come in the order in which the batch passes through them, in evaluation mode. Outputs are linear in weights,
    so that each is scaled once. A layer whose outputs do not vary stays as it is.
    Source: LSUV, Mishkin and Matas, 2015, "All you need is a good init", arXiv:1511.06422.

    Args:
        network: With orthogonal weights.
        inputs: What it is called with.
    """
    seen = set[nn.Module]()

    def scale(layer: Any, given: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
        if layer in seen or not layer.weight.requires_grad:
            return outputs
        seen.add(layer)
        spread = outputs.double().std()
        if bool(spread > 0):
            layer.weight.div_(spread)
        scaled: Tensor = layer.forward(*given)
        return scaled

    layers = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
    hooks = [layer.register_forward_hook(scale) for layer in network.modules() if isinstance(layer, layers)]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(*inputs)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()


def _drawn(parameter: Tensor, owner: nn.Module, key: int, settings: InitializerSettings) -> Tensor:
    """A weight by its scheme, in the shape that it is stored in."""
    shape, scheme = tuple(parameter.shape), SCHEMES[settings.scheme]
    if not isinstance(owner, TRANSPOSED):
        return scheme(shape, fans(shape), key, settings)
    turned = (shape[1], shape[0], *shape[2:])
    return scheme(turned, fans(turned, math.prod(owner.stride)), key, settings).transpose(0, 1)


def _recurrent(parameter: Tensor, key: int, settings: InitializerSettings) -> Tensor:
    """The weights `[gates * state, state]` from a state to itself; float64."""
    size = parameter.shape[1]
    count = len(parameter) // size
    if settings.recurrent == "identity":
        return torch.eye(size, dtype=torch.float64).repeat(count, 1)
    square = (size, size)
    gates = [orthogonal(square, fans(square), draws.fold(key, gate), settings) for gate in range(count)]
    return torch.cat(gates)

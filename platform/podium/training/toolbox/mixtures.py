"""Training, the toolbox: mixtures of two-dimensional normal distributions, which a network gives the numbers of."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

NARROWEST = 0.01
"""The smallest standard deviation: offsets are whole pixels, so that a narrower one would only fit their rounding."""


class Mixture(NamedTuple):
    """M normal distributions of points in the plane, and what each is taken with; all `[..., M]`.

    Attributes:
        weights: Logarithms of probabilities.
        mean_x: Of the first number.
        mean_y: Of the second one.
        log_x: Logarithm of the standard deviation of the first number.
        log_y: Likewise of the second one.
        slant: The inverse hyperbolic tangent of the correlation of the two.
    """

    weights: Tensor
    mean_x: Tensor
    mean_y: Tensor
    log_x: Tensor
    log_y: Tensor
    slant: Tensor


def mixture(outputs: Tensor) -> Mixture:
    """The mixture that `[..., 6 M]` numbers of a network stand for: M logits, then M each as `Mixture` has them."""
    weights, mean_x, mean_y, log_x, log_y, slant = outputs.chunk(6, dim=-1)
    floor = math.log(NARROWEST)
    return Mixture(
        functional.log_softmax(weights, dim=-1), mean_x, mean_y, log_x.clamp_min(floor), log_y.clamp_min(floor), slant
    )


def log_density(outputs: Tensor, points: Tensor) -> Tensor:
    """Logarithm of the density of points under the mixtures that a network gave, in nats.

    With z = (dx / sx)^2 + (dy / sy)^2 - 2 rho dx dy / (sx sy), a component's density is
    exp(-z / (2 (1 - rho^2))) / (2 pi sx sy sqrt(1 - rho^2)).
    Source: Graves, "Generating sequences with recurrent neural networks", 2013, arXiv:1308.0850, equations 23 to 25.

    Args:
        outputs: `[..., 6 M]`.
        points: `[..., 2]`.

    Returns:
        `[...]`.
    """
    parts = mixture(outputs)
    x = (points[..., :1] - parts.mean_x) * torch.exp(-parts.log_x)
    y = (points[..., 1:] - parts.mean_y) * torch.exp(-parts.log_y)
    # log(1 - tanh(s)^2), which does not vanish where the tangent is rounded to 1
    log_rest = 2 * (math.log(2) - parts.slant - functional.softplus(-2 * parts.slant))
    z = x * x + y * y - 2 * torch.tanh(parts.slant) * x * y
    each = -0.5 * z * torch.exp(-log_rest) - math.log(2 * math.pi) - parts.log_x - parts.log_y - 0.5 * log_rest
    return torch.logsumexp(parts.weights + each, dim=-1)


def drawn(outputs: Tensor, chances: Tensor, normals: Tensor, temperature: float = 1.0) -> Tensor:
    """Points from the mixtures that a network gave.

    The logits of the weights are divided by the temperature, and variances multiplied by it.

    Args:
        outputs: `[B, 6 M]`.
        chances: `[B]` in (0, 1), which say the component.
        normals: `[B, 2]` from the standard normal distribution.
        temperature: Above 0; below 1, what is likely becomes more so.

    Returns:
        `[B, 2]`.
    """
    parts = mixture(outputs)
    chosen = choice(parts.weights, chances, temperature).unsqueeze(1)
    mean_x, mean_y, log_x, log_y, slant = (each.gather(1, chosen).squeeze(1) for each in parts[1:])
    rho, spread = torch.tanh(slant), math.sqrt(temperature)
    first, second = normals.unbind(1)
    x = mean_x + spread * torch.exp(log_x) * first
    y = mean_y + spread * torch.exp(log_y) * (rho * first + torch.sqrt(1 - rho * rho) * second)
    return torch.stack([x, y], dim=1)


def choice(logits: Tensor, chances: Tensor, temperature: float = 1.0) -> Tensor:
    """`[B]` int64: one of each row of `[B, C]` logits, divided by the temperature, by chances `[B]` in (0, 1)."""
    ends = torch.softmax(logits / temperature, dim=1).cumsum(dim=1)
    return (chances.unsqueeze(1) > ends[:, :-1]).sum(dim=1)

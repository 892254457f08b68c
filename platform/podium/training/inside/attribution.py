"""Training, seeing inside: which pixels speak for a class."""

import torch
from torch import Tensor, nn

from podium.training.answers import Link, linked

SHARE = 7
"""The covered square's side is the image's by this."""

PATH_STEPS = 32


def occlusion(module: nn.Module, link: Link, inputs: Tensor, classes: Tensor) -> Tensor:
    """What the probability of a class loses when a square of the image is covered by the mean, `[B, height, width]`.

    The squares overlap by half; a pixel has the mean over the squares that cover it. Source: Zeiler and Fergus, 2013,
    arXiv:1311.2901.

    Args:
        module: From `[B, channels, height, width]` to outputs `[B, classes]`.
        link: What makes probabilities of these.
        inputs: Normalized, so that the mean is 0.
        classes: `[B]` int64.
    """
    from captum.attr import Occlusion

    channels, height, width = inputs.shape[1:]
    side = max(2, min(height, width) // SHARE)
    step = max(1, side // 2)
    with torch.no_grad():
        found = Occlusion(lambda images: linked(module(images), link)).attribute(
            inputs, sliding_window_shapes=(channels, side, side), strides=(channels, step, step), target=classes
        )
    means: Tensor = found.mean(dim=1)
    return means


def integrated_gradients(module: nn.Module, inputs: Tensor, classes: Tensor) -> Tensor:
    """What each pixel adds to the output of a class on the way from the mean image, `[B, height, width]`.

    (x - 0) times the mean of the gradients along the straight line from 0 to x; the pixels add up to the difference
    of the outputs. Source: Sundararajan et al., 2017, arXiv:1703.01365.
    """
    from captum.attr import IntegratedGradients

    found: Tensor = IntegratedGradients(module).attribute(inputs, target=classes, n_steps=PATH_STEPS)
    return found.detach().sum(dim=1)

"""Training, the toolbox: how alike two images are."""

import math

import torch
from torch import Tensor

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def psnr(outputs: Tensor, targets: Tensor, span: float) -> Tensor:
    """The peak signal-to-noise ratio in dB, 10 log10(span^2 / mean square error).

    Args:
        outputs: `[B, ...]`.
        targets: `[B, ...]`, of as many elements.
        span: From black to white.

    Returns:
        `[B]`; infinite where images are equal.
    """
    errors = (outputs.reshape(targets.shape) - targets).flatten(1).square().mean(dim=1)
    return 10 * (math.log10(span**2) - errors.log10())


def ssim(outputs: Tensor, targets: Tensor, span: float) -> Tensor:
    """The structural similarity, at most 1: the mean over all windows of 11 x 11 pixels, Gaussian with sigma 1.5.

    With means m, variances v and the covariance c within a window, C1 = (0.01 span)^2 and C2 = (0.03 span)^2:
    (2 m1 m2 + C1) (2 c + C2) / ((m1^2 + m2^2 + C1) (v1 + v2 + C2)). Smaller images have smaller windows. Source: Wang,
    Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity", 2004.

    Args:
        outputs: `[B, ...]`.
        targets: `[B, ..., height, width]`, of as many elements.
        span: From black to white.

    Returns:
        `[B]`, means over the channels.
    """
    sides = targets.shape[-2:]
    one, two = (images.reshape(len(targets), -1, *sides).to(targets.dtype) for images in (outputs, targets))
    everything = torch.cat([one, two, one * one + two * two, one * two], dim=1)
    first, second, squares, products = _blurred(everything).chunk(4, dim=1)
    variances = squares - first * first - second * second
    covariance = products - first * second
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    above = (2 * first * second + c1) * (2 * covariance + c2)
    below = (first * first + second * second + c1) * (variances + c2)
    return (above / below).flatten(1).mean(dim=1)


def _blurred(images: Tensor) -> Tensor:
    """The means of all windows that lie within images `[B, C, H, W]`, down and then across."""
    for axis in (2, 3):
        length = min(WINDOW, images.shape[axis])
        count = images.shape[axis] - length + 1
        weights = [math.exp(-((place - (length - 1) / 2) ** 2) / (2 * SIGMA**2)) for place in range(length)]
        # a sum of shifted images, since a convolution would be computed in bfloat16 where the network is
        total = images.narrow(axis, 0, count) * (weights[0] / sum(weights))
        for place in range(1, length):
            total = torch.add(total, images.narrow(axis, place, count), alpha=weights[place] / sum(weights))
        images = total
    return images

"""Training, seeing inside: the inputs that excite an output most."""

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 96
RATE = 0.15
"""What a step moves an image by, on average over its pixels; in units of normalized inputs."""

DECAY = 0.02
"""What an image loses of itself in each step."""

BLUR_EVERY = 4
"""Steps after which an image is blurred by the kernel (1, 2, 1) / 4 along both sides."""


def maximize(module: nn.Module, shape: tuple[int, ...], units: Tensor, limits: tuple[Tensor, Tensor]) -> Tensor:
    """Activation maximization: for each unit of the output an input found by gradient ascent.

    From the mean image x = 0: x <- (1 - decay) x + rate * g / rms(g), where g is the gradient of the output; now and
    then blurred, and kept within what inputs can be. Without decay and blur, what is found looks like noise.
    Sources: Erhan et al., 2009; Simonyan et al., 2013, arXiv:1312.6034; Yosinski et al., 2015, arXiv:1506.06579.

    Args:
        module: From `[B, *shape]` to `[B, units]`, before any softmax.
        shape: `(channels, height, width)`.
        units: `[K]` int64, which output each image is for.
        limits: The least and the largest value of each channel, `[channels, 1, 1]`.

    Returns:
        `[K, *shape]`.
    """
    images = torch.zeros(len(units), *shape)
    for step in range(1, STEPS + 1):
        images.requires_grad_(True)
        outputs = module(images).gather(1, units.unsqueeze(1))
        (gradient,) = torch.autograd.grad(outputs.sum(), images)
        scale = gradient.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=1e-12)
        images = (1 - DECAY) * images.detach() + RATE * gradient / scale
        if step % BLUR_EVERY == 0:
            images = _blurred(images)
        images = torch.minimum(torch.maximum(images, limits[0]), limits[1])
    return images


def _blurred(images: Tensor) -> Tensor:
    channels = images.shape[1]
    line = torch.tensor([1.0, 2.0, 1.0]) / 4
    kernel = torch.outer(line, line).expand(channels, 1, 3, 3)
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    return functional.conv2d(padded, kernel, groups=channels)

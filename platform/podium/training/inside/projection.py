"""Training, seeing inside: what in an image excites a channel of a convolution."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from podium.training.toolbox.activations import ACTIVATIONS


def convolutions(module: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions of a network by name, in its own order."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d)}


def channel_peaks(module: nn.Module, layer: nn.Conv2d, inputs: Tensor) -> Tensor:
    """`[B, channels]`: the largest value of each channel of a layer's output, for each input."""
    with _watched(layer) as seen, torch.no_grad():
        module(inputs)
    return seen[-1].amax(dim=(2, 3))


def project(module: nn.Module, layer: nn.Conv2d, inputs: Tensor, channels: Tensor) -> Tensor:
    """Deconvolution: the strongest activation of a channel, carried back to the pixels that it comes from.

    Back through a convolution it goes by the transposed kernels, through max pooling to where the maximum was, and
    through each activation as its positive part, whatever had come through forwards.
    Source: Zeiler and Fergus, 2013, arXiv:1311.2901.

    Args:
        module: A network.
        layer: One of its convolutions.
        inputs: `[B, channels, height, width]`.
        channels: `[B]` int64, the channel of the layer's output that each input is looked at for.

    Returns:
        Like the inputs.
    """
    inputs = inputs.detach().clone().requires_grad_(True)
    with ExitStack() as stack:
        seen = stack.enter_context(_watched(layer))
        for each in module.modules():
            if type(each) in ACTIVATIONS.values():
                stack.callback(each.register_full_backward_hook(_positive).remove)
        module(inputs)
        own = seen[-1][torch.arange(len(inputs)), channels].flatten(1)
        peaks, places = own.max(dim=1)
        seeds = torch.zeros_like(own).scatter_(1, places.unsqueeze(1), peaks.detach().unsqueeze(1))
        (carried,) = torch.autograd.grad(own, inputs, seeds)
    return carried


@contextmanager
def _watched(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What a layer puts out while the block lasts."""
    seen: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        seen.append(output)

    handle = layer.register_forward_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()


def _positive(_module: nn.Module, _gradients: Any, outer: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outer[0].clamp(min=0),)

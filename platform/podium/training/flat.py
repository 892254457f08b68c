"""Training: all trainable parameters of a network as views into one tensor, so that a step is a few operations.

Rows are lanes (one for now), so `[K, P]`: optimizers, penalties and clipping work on whole stacks, with
hyperparameters as numbers or as `[K, 1]` tensors.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from podium.errors import TaskError

ALIGNMENT = 16
"""Each parameter starts at a multiple of so many elements: what a kernel computes may depend on alignment."""


@dataclass(frozen=True)
class FlatWeights:
    """The trainable parameters of a network.

    Attributes:
        weights: `[K, P]`; the network's parameters are views of it. Gaps between parameters are zero, and stay so.
        gradients: `[K, P]`; `backward` adds to it in place.
        penalized: `[P]`, 1 for weights, 0 for biases, norms and gaps.
        count: Number of trainable parameters, gaps left out.
    """

    weights: Tensor
    gradients: Tensor
    penalized: Tensor
    count: int


def flatten(network: nn.Module) -> FlatWeights:
    """Moves the trainable parameters of `network` into one tensor and leaves views in their place.

    Raises:
        TaskError: if there is none, or they differ in dtype or device.
    """
    parameters = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    if not parameters:
        raise TaskError(f"the network {type(network).__name__} has no trainable parameters")
    kinds = {(value.dtype, value.device) for _, value in parameters}
    if len(kinds) > 1:
        raise TaskError(
            f"the network's parameters differ in dtype or device ({', '.join(sorted(str(kind) for kind in kinds))}); "
            "convert it with `network.float()` before returning it"
        )
    dtype, device = kinds.pop()
    starts = [0]
    for _, value in parameters:
        starts.append(-(-(starts[-1] + value.numel()) // ALIGNMENT) * ALIGNMENT)
    weights, gradients = (torch.zeros(1, starts[-1], dtype=dtype, device=device) for _ in range(2))
    penalized = torch.zeros(starts[-1], dtype=dtype, device=device)
    for (_, value), start in zip(parameters, starts, strict=False):
        span = slice(start, start + value.numel())
        weights[0, span].copy_(value.detach().reshape(-1))
        value.data = weights[0, span].view(value.shape)
        value.grad = gradients[0, span].view(value.shape)
        penalized[span] = float(is_weight(value))
    return FlatWeights(weights, gradients, penalized, sum(value.numel() for _, value in parameters))


def is_weight(parameter: Tensor) -> bool:
    """Whether a parameter is a weight: it has two or more dimensions. Biases and norms have one."""
    return parameter.dim() >= 2


def fixed_state(network: nn.Module) -> dict[str, Tensor]:
    """What else belongs to the network's state: buffers that are kept, and parameters that are not trained."""
    everything = network.state_dict(keep_vars=True)
    return {name: value.detach() for name, value in everything.items() if not value.requires_grad}

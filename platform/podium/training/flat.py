"""Training: all trainable parameters of a network as views into one tensor, so that a step is a few operations.

Rows are lanes, so `[K, P]`: optimizers, penalties and clipping work on whole stacks, with hyperparameters as numbers
or as `[K, 1]` tensors.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from podium.errors import TaskError

ALIGNMENT = 16
"""Each parameter starts at a multiple of so many elements: what a kernel computes may depend on alignment."""


@dataclass(frozen=True)
class FlatWeights:
    """The trainable parameters of a network, or of the networks of K lanes.

    Attributes:
        weights: `[K, P]`; the network's parameters are views of it. Gaps between parameters are zero, and stay so.
        gradients: `[K, P]`; `backward` adds to it in place.
        penalized: `[P]`, 1 for weights, 0 for biases, norms and gaps.
        places: By name, where a parameter begins in a row, and its shape.
    """

    weights: Tensor
    gradients: Tensor
    penalized: Tensor
    places: Mapping[str, tuple[int, torch.Size]]

    @property
    def count(self) -> int:
        """Number of trainable parameters of a lane, gaps left out."""
        return sum(shape.numel() for _, shape in self.places.values())

    def row(self, lane: int) -> "FlatWeights":
        """One lane of a stack, as views."""
        span = slice(lane, lane + 1)
        return replace(self, weights=self.weights[span], gradients=self.gradients[span])

    def views(self, rows: Tensor) -> dict[str, Tensor]:
        """Of `[K, P]` such as `weights`, each parameter's part by name, `[K, *shape]`."""
        return {
            name: rows[:, start : start + math.prod(shape)].view(len(rows), *shape)
            for name, (start, shape) in self.places.items()
        }

    def bind(self, network: nn.Module) -> None:
        """Makes the parameters and gradients of `network` views of this, its only row."""
        weights, gradients = self.views(self.weights), self.views(self.gradients)
        for name, parameter in network.named_parameters():
            if name in self.places:
                parameter.data, parameter.grad = weights[name][0], gradients[name][0]


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
    flat = lay_out({name: value.detach() for name, value in parameters})
    flat.bind(network)
    return flat


def lay_out(parameters: Mapping[str, Tensor]) -> FlatWeights:
    """A copy of parameters of one dtype and device in one tensor, the gradients zero."""
    first = next(iter(parameters.values()))
    places, end = {}, 0
    for name, value in parameters.items():
        places[name] = end, value.shape
        end = -(-(end + value.numel()) // ALIGNMENT) * ALIGNMENT
    rows = (torch.zeros(1, end, dtype=first.dtype, device=first.device) for _ in range(3))
    flat = FlatWeights(next(rows), next(rows), next(rows)[0], places)
    weights, penalized = flat.views(flat.weights), flat.views(flat.penalized.view(1, -1))
    for name, value in parameters.items():
        weights[name][0].copy_(value)
        penalized[name].fill_(float(is_weight(value)))
    return flat


def stack(flats: Sequence[FlatWeights]) -> FlatWeights:
    """A copy of several lanes of equal places in one, the gradients zero."""
    weights = torch.cat([flat.weights for flat in flats])
    return replace(flats[0], weights=weights, gradients=torch.zeros_like(weights))


def is_weight(parameter: Tensor) -> bool:
    """Whether a parameter is a weight: it has two or more dimensions. Biases and norms have one."""
    return parameter.dim() >= 2


def fixed_state(network: nn.Module) -> dict[str, Tensor]:
    """What else belongs to the network's state: buffers that are kept, and parameters that are not trained."""
    everything = network.state_dict(keep_vars=True)
    return {name: value.detach() for name, value in everything.items() if not value.requires_grad}

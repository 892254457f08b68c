"""Training, the toolbox: penalties and clipping, on flat gradients of `[K, P]`."""

import torch
from torch import Tensor

from podium.training.flat import FlatWeights
from podium.training.toolbox.hyperparameters import Number, like


def add_penalties(flat: FlatWeights, l1: Number, l2: Number) -> None:
    """Adds the gradient of `l1 * sum |w| + l2 * sum w^2` over weights (not biases or norms), in place.

    The penalty is added to the mean loss of a batch: it is divided neither by the number of weights nor by that of
    samples, and l2 has no factor 1/2, so its gradient is 2 * l2 * w. At w = 0 the gradient of |w| is taken as 0.

    Args:
        flat: Weights and their gradients.
        l1: A number, or `[K, 1]`.
        l2: A number, or `[K, 1]`.
    """
    if _is_zero(l1) and _is_zero(l2):
        return
    masked = flat.weights * flat.penalized
    if not _is_zero(l1):
        flat.gradients.add_(masked.sign().mul_(like(masked, l1)))
    if not _is_zero(l2):
        flat.gradients.add_(masked.mul_(like(masked, 2 * l2)))


def norms_of(gradients: Tensor) -> Tensor:
    """`[K, 1]`, the Euclidean norm of each lane's gradients."""
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    return norms


def clip(gradients: Tensor, largest: Number, norms: Tensor) -> None:
    """Scales each lane's gradients in place so that their global Euclidean norm, now `norms`, is at most `largest`.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2012,
    arXiv:1211.5063.
    """
    gradients.mul_(torch.clamp(like(norms, largest) / (norms + 1e-6), max=1.0))


def _is_zero(number: Number) -> bool:
    return isinstance(number, float | int) and number == 0

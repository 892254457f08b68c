"""Training, the toolbox: hyperparameters as values, one for all lanes or one for each."""

from collections.abc import Sequence

import torch
from torch import Tensor

Number = float | Tensor
"""A hyperparameter: a number, or a tensor that broadcasts (one value for each lane)."""


def for_lanes(numbers: Sequence[float], device: torch.device) -> Number:
    """One number where all lanes have the same, else float64 `[K, 1]`."""
    if len(set(numbers)) == 1:
        return numbers[0]
    return torch.tensor(numbers, dtype=torch.float64, device=device).view(-1, 1)


def like(tensor: Tensor, number: Number) -> Number:
    """The number in the dtype of `tensor`, so that arithmetic with both keeps it."""
    return number.to(tensor.dtype) if isinstance(number, Tensor) else number

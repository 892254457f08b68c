"""Training: metrics as sums that add up over batches, so that ranks merge them and checkpoints hold them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from podium.training.task import Batch


class Metric(ABC):
    """A number over all samples of an epoch.

    Attributes:
        state: All that the metric has gathered, as named tensors of fixed shapes. It is what a checkpoint of a
            half-trained epoch keeps; nothing else may be remembered between updates.
    """

    state: dict[str, Tensor]

    @abstractmethod
    def update(self, outputs: Any, batch: "Batch") -> None:
        """Takes in one batch; `outputs` is what the network gave for it. Gradients are off."""

    @abstractmethod
    def merge(self, other: "Metric") -> None:
        """Takes in what another metric of the same kind has gathered."""

    @abstractmethod
    def compute(self) -> float:
        """The metric over all that was taken in."""


class Mean(Metric):
    """The mean of a number that each sample has.

    Args:
        values: (outputs, batch) to `[B]`, of any number type or bool.
        finish: What is made of the mean in the end.
    """

    def __init__(
        self, values: Callable[[Any, "Batch"], Tensor], finish: Callable[[float], float] = lambda mean: mean
    ) -> None:
        self._values, self._finish = values, finish
        self.state = {"total": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.float64)}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds the batch's values."""
        values = self._values(outputs, batch)
        self.state["total"] += values.sum()
        self.state["count"] += len(values)

    def merge(self, other: Metric) -> None:
        """Adds the other's sums."""
        for name, value in self.state.items():
            value.add_(other.state[name])

    def compute(self) -> float:
        """The mean, finished; not a number if there were no samples."""
        return self._finish(float(self.state["total"] / self.state["count"]))

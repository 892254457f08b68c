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
        values: (outputs, batch) to `[B]`, of any number type or bool; or to (values, weights), both `[B]`.
        finish: What is made of the mean in the end.
    """

    def __init__(
        self,
        values: Callable[[Any, "Batch"], Tensor | tuple[Tensor, Tensor]],
        finish: Callable[[float], float] = lambda mean: mean,
    ) -> None:
        self._values, self._finish = values, finish
        self.state = {"total": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.float64)}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds the batch's values."""
        found = self._values(outputs, batch)
        if isinstance(found, tuple):
            values, weights = found
            self.state["total"] += (values * weights).sum()
            self.state["count"] += weights.sum()
        else:
            self.state["total"] += found.sum()
            self.state["count"] += len(found)

    def merge(self, other: Metric) -> None:
        """Adds the other's sums."""
        for name, value in self.state.items():
            value.add_(other.state[name])

    def compute(self) -> float:
        """The mean, finished; not a number if there were no samples."""
        return self._finish(float(self.state["total"] / self.state["count"]))


class Skill(Metric):
    """How much better forecasts are than the mean of all targets: 1 - mse / variance; 1 is perfect, 0 the mean."""

    NAMES = ("error", "total", "squares", "count")

    def __init__(self) -> None:
        self.state = {name: torch.zeros((), dtype=torch.float64) for name in self.NAMES}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds the batch's squares."""
        targets = batch.targets.double()
        self.state["error"] += (outputs.reshape(targets.shape).double() - targets).square().sum()
        self.state["total"] += targets.sum()
        self.state["squares"] += targets.square().sum()
        self.state["count"] += targets.numel()

    def merge(self, other: Metric) -> None:
        """Adds the other's sums."""
        for name, value in self.state.items():
            value.add_(other.state[name])

    def compute(self) -> float:
        """The skill; not a number if all targets are equal."""
        error, total, squares, count = (float(self.state[name]) for name in self.NAMES)
        spread = squares - total * total / count if count else 0.0
        return 1 - error / spread if spread > 0 else float("nan")

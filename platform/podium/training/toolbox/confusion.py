"""Training, the toolbox: which class was taken for which, as a metric that adds up."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from podium.training.metrics import Metric

if TYPE_CHECKING:
    from podium.training.task import Batch


class Confusion(Metric):
    """A number of the confusion matrix over all pixels that count.

    Its state is `[C, C]` float64: the pixels of each class (rows) that were taken for each class (columns).

    Args:
        classes: C.
    """

    def __init__(self, classes: int) -> None:
        self.state = {"confusion": torch.zeros(classes, classes, dtype=torch.float64)}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds a batch: outputs `[B, C, ...]`, targets `[B, ...]`."""
        before = self.state["confusion"]
        self.state["confusion"] = before + confusion(outputs, batch)

    def merge(self, other: Metric) -> None:
        """Adds the other's counts."""
        self.state["confusion"] = self.state["confusion"] + other.state["confusion"]

    def compute(self) -> float:
        """The number."""
        return float(self.number(self.state["confusion"]))

    @abstractmethod
    def number(self, matrix: Tensor) -> Tensor:
        """What is made of the matrix, `[C, C]` float64."""


class Accuracy(Confusion):
    """The share of pixels whose class has the highest score."""

    def number(self, matrix: Tensor) -> Tensor:
        """The diagonal over all."""
        return matrix.diagonal().sum() / matrix.sum()


class MeanIoU(Confusion):
    """Intersection over union, tp / (tp + fp + fn), the mean over the classes that stand anywhere."""

    def number(self, matrix: Tensor) -> Tensor:
        """The mean; classes that neither targets nor answers have are left out."""
        own = matrix.diagonal()
        union = matrix.sum(dim=0) + matrix.sum(dim=1) - own
        return (own / union)[union > 0].mean()


class Dice(Confusion):
    """The Dice coefficient 2 tp / (2 tp + fp + fn), over all pixels together.

    Of two classes that of the second one, since the first is the background; of more the mean over those that stand
    anywhere. Source: Dice, "Measures of the amount of ecologic association between species", 1945.
    """

    def number(self, matrix: Tensor) -> Tensor:
        """The coefficient; 0 where it would be 0 / 0."""
        own, both = matrix.diagonal(), matrix.sum(dim=0) + matrix.sum(dim=1)
        found = 2 * own / both
        return found[1].nan_to_num() if len(matrix) == 2 else found[both > 0].mean()


def confusion(outputs: Tensor, batch: "Batch") -> Tensor:
    """`[C, C]` float64 of one batch; pixels of a class that weighs nothing do not count, nor is it ever an answer."""
    classes, targets = outputs.shape[1], batch.targets.long()
    counts = torch.ones_like(targets, dtype=torch.float64)
    if batch.class_weights is not None:
        is_counted = batch.class_weights > 0
        counts = is_counted[targets].double()
        outputs = outputs.masked_fill(~is_counted.view(-1, *(1,) * (outputs.dim() - 2)), -torch.inf)
    # `max` gives the same indices as `argmax`, in a stack in a tenth of the time
    places = targets * classes + outputs.max(dim=1).indices
    found = torch.zeros(classes * classes, dtype=torch.float64, device=places.device)
    return found.scatter_add(0, places.flatten(), counts.flatten()).view(classes, classes)

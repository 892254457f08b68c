"""Training, the toolbox: metrics of several labels a sample, as sums that add up."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from podium.training.metrics import Metric

if TYPE_CHECKING:
    from podium.training.task import Batch

BINS = 1024
LARGEST = 16.0
"""Scores are counted in equal bins from minus to plus this, 1/32 wide; what lies beyond is in the last one."""


class MeanAveragePrecision(Metric):
    """Average precision, the mean over the labels: how early a label's samples come if all are sorted by its score.

    Over the thresholds n between scores, sum (R_n - R_(n-1)) P_n, with recall R and precision P of the samples above.
    Its state counts the scores in 1,024 bins, `[labels, bins]` float64; scores of one bin are equal to it. Labels that
    no sample has are left out. Source: Manning et al., "Introduction to information retrieval", 2008, without
    interpolation.

    Args:
        labels: How many there are.
    """

    def __init__(self, labels: int) -> None:
        self.state = {name: torch.zeros(labels, BINS, dtype=torch.float64) for name in ("present", "absent")}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds a batch: outputs `[B, labels]`, scores; targets `[B, labels]` of 0 and 1."""
        places = (outputs.detach().double() + LARGEST) * (BINS / (2 * LARGEST))
        bins = places.clamp(0, BINS - 1).nan_to_num().long().T
        targets = batch.targets.double().T
        for name, counts in (("present", targets), ("absent", 1 - targets)):
            self.state[name] = self.state[name].scatter_add(1, bins, counts)

    def merge(self, other: Metric) -> None:
        """Adds the other's counts."""
        for name, value in self.state.items():
            value.add_(other.state[name])

    def compute(self) -> float:
        """The mean; not a number if no sample has any label."""
        present, absent = (self.state[name].flip(1) for name in ("present", "absent"))
        found, taken = present.cumsum(dim=1), (present + absent).cumsum(dim=1)
        total = found[:, -1:]
        precisions = torch.where(taken > 0, found / taken, 0)
        return float((present / total * precisions).sum(dim=1)[total[:, 0] > 0].mean())


class F1(Metric):
    """2 tp / (2 tp + fp + fn) over all labels of all samples, of scores above 0; 0 where nothing is right."""

    def __init__(self) -> None:
        self.state = {name: torch.zeros((), dtype=torch.float64) for name in ("right", "taken", "wanted")}

    def update(self, outputs: Any, batch: "Batch") -> None:
        """Adds a batch: outputs `[B, labels]`, scores; targets `[B, labels]` of 0 and 1."""
        taken, wanted = outputs > 0, batch.targets > 0.5
        self._add(right=taken & wanted, taken=taken, wanted=wanted)

    def _add(self, **found: Tensor) -> None:
        for name, value in found.items():
            self.state[name] = self.state[name] + value.sum()

    def merge(self, other: Metric) -> None:
        """Adds the other's counts."""
        for name, value in self.state.items():
            value.add_(other.state[name])

    def compute(self) -> float:
        """The number; not a number if nothing was taken and nothing wanted."""
        return float(2 * self.state["right"] / (self.state["taken"] + self.state["wanted"]))

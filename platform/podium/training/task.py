"""Training: the Task, which is what a user writes where Podium owns the loop."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.space import Value
from podium.training.artifacts import Log
from podium.training.metrics import Metric
from podium.training.toolbox.hyperparameters import Number
from podium.training.toolbox.networks import make_network


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples, on the device of the network.

    Attributes:
        inputs: `[B, ...]` float32, normalized.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        values: Hyperparameters that a loss may use, by dotted key, such as `loss.label_smoothing`.
        lengths: `[B]` int64, the steps of inputs that are series, `[B, longest, features]` with zeros at their ends;
            None if they are none.
        mixed_in: The targets of the samples that were mixed into these; None if none were. The loop sees to them.
        share: `[B]` float32, what is left of each sample where others were mixed in.
    """

    inputs: Tensor
    targets: Tensor
    values: Mapping[str, Number]
    lengths: Tensor | None = None
    mixed_in: Tensor | None = None
    share: Tensor | None = None


class Task(ABC):
    """What is learned: a network, a loss for each sample, metrics.

    Attributes:
        batch_loss: Whether `losses` returns one number for the batch, because the loss does not add up over
            samples. Such a task is neither split over ranks nor accumulated.
    """

    batch_loss = False

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The network to train; without one of its own, a task has the built-in ones.

        Args:
            parameters: The trial's parameters, fixed and searched, by dotted key.
            schema: What a sample looks like.

        Returns:
            A module that is called with `Batch.inputs`. Its own random numbers come from torch's generator, which
            is seeded by the trial. `nn.Dropout` inside it is replaced by Podium's.
        """
        if schema.series:
            raise SpecError(
                "is on, and the built-in networks take samples of one shape; give a task of your own, whose network "
                "takes [batch, steps, features]",
                key="data.series",
            )
        return make_network(parameters, schema.inputs, schema.classes or math.prod(schema.targets))

    @abstractmethod
    def losses(self, outputs: Any, batch: Batch) -> Tensor | tuple[Tensor, Tensor]:
        """The loss of each sample, `[B]`, or (losses, weights), both `[B]`.

        The loop minimizes the sum of weighted losses over the batch by the sum of its weights.
        """

    def metrics(self) -> dict[str, Metric]:
        """Metrics beside the loss, by name, before their first batch."""
        return {}

    def log(self, log: Log, outputs: Any, batch: Batch) -> None:
        """May log figures, files and metrics, with the first validation batch of each epoch."""
        return

    def metric_names(self) -> tuple[str, ...]:
        """All metrics of an epoch that are known beforehand."""
        names = ("loss", *self.metrics())
        return (*(f"{split}/{name}" for split in ("train", "validation") for name in names), "train/samples_per_s")

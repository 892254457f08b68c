"""Training: the Task, which is what a user writes where Podium owns the loop."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from numpy.typing import NDArray
from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.components import LossSettings
from podium.spec.networks import CODERS, DENSE, SERIES, VECTORS
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.training.artifacts import Log
from podium.training.metrics import Metric
from podium.training.toolbox.hyperparameters import Number
from podium.training.toolbox.networks import make_network, network_settings

DEFAULT_LOSS = LossSettings()


@dataclass(frozen=True, slots=True)
class Batch:
    """Some samples, on the device of the network.

    Attributes:
        inputs: `[B, ...]` float32, normalized.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        values: Hyperparameters that a loss may use, by dotted key, such as `loss.label_smoothing`: the trial's, as
            numbers, or as tensors where a stack is trained.
        lengths: `[B]` int64, the steps of inputs that are series, `[B, longest, features]` with zeros at their ends;
            None if they are none.
        mixed_in: The targets of the samples that were mixed into these; None if none were. The loop sees to them.
        share: `[B]` float32, what is left of each sample where others were mixed in.
        loss: Which loss the trial has; its numbers are in `values`.
        class_weights: `[C]` float32, what a sample of each class counts; None where all count alike.
    """

    inputs: Tensor
    targets: Tensor
    values: Mapping[str, Number]
    lengths: Tensor | None = None
    mixed_in: Tensor | None = None
    share: Tensor | None = None
    loss: LossSettings = DEFAULT_LOSS
    class_weights: Tensor | None = None

    def arguments(self, network: nn.Module) -> tuple[Tensor, ...]:
        """What a network is called with: inputs, and lengths if it says `takes_lengths` and there are any."""
        if self.lengths is None or not takes_lengths(network):
            return (self.inputs,)
        return self.inputs, self.lengths


def takes_lengths(network: nn.Module) -> bool:
    """Whether a network is called with (inputs, lengths) where inputs are series: its class says so."""
    return bool(getattr(network, "takes_lengths", False))


OwnNetwork = Callable[[Mapping[str, Value], tuple[int, ...], int], nn.Module]
"""A function of the user's from (parameters, shape of a sample, outputs) to a network."""


class Task(ABC):
    """What is learned: a network, a loss for each sample, metrics.

    Attributes:
        own_network: What makes networks, if the sweep file names a function of the user's.
        batch_loss: Whether `losses` returns one number for the batch, because the loss does not add up over
            samples. Such a task is neither split over ranks nor accumulated.
        link: What makes answers of the network's outputs `[B, classes or labels, ...]`: `softmax` over classes,
            `sigmoid` of each label, or `identity` for numbers; `auto` is softmax where the data have classes, and
            else identity. A network that answers no samples, `none`, is not registered.
    """

    batch_loss = False
    own_network: OwnNetwork | None = None
    link: Literal["auto", "softmax", "sigmoid", "identity", "none"] = "auto"

    def build(self, parameters: Mapping[str, Value], inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """The network that `network` in the sweep file asks for, a built-in one or the user's own.

        Args:
            parameters: The trial's parameters, fixed and searched, by dotted key.
            inputs: Shape of a sample.
            outputs: Numbers that come out for each sample, or for each of its pixels.

        Raises:
            SpecError: if a built-in network cannot take such inputs.
            TaskError: if the user's own function fails, naming file and line.
        """
        return (self.own_network or make_network)(parameters, inputs, outputs)

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The network to train; without one of its own, a task has the built-in ones.

        Args:
            parameters: The trial's parameters, fixed and searched, by dotted key.
            schema: What a sample looks like.

        Returns:
            A module that is called with `Batch.inputs`; where these are series, and it has the class attribute
            `takes_lengths = True`, with `Batch.lengths` too. Its own random numbers come from torch's generator,
            which is seeded by the trial. `nn.Dropout` inside it is replaced by Podium's.

        Raises:
            SpecError: for series, if a built-in network takes samples of one shape, and for one that gives maps.
        """
        kind = network_settings(parameters).kind
        if kind in CODERS:
            raise SpecError(
                f"is {kind}, which gives its inputs again: sketch_rnn is for the task sequence_generation, and "
                "sparse_autoencoder for reconstruction",
                key="network.kind",
            )
        if kind in DENSE:
            raise SpecError(
                f"is {kind}, which gives a map for each sample; segmentation and image_to_image take those, and other "
                f"tasks {', '.join(VECTORS)}",
                key="network.kind",
            )
        network = self.build(parameters, schema.inputs, schema.classes or math.prod(schema.targets))
        if self.own_network is None and schema.series and not takes_lengths(network):
            raise SpecError(
                f"is on, and `network.kind: {kind}` takes samples of one shape; use {', '.join(SERIES)}, or give "
                "a task of your own, whose network takes [batch, steps, features]",
                key="data.series",
            )
        return network

    def answer(self, outputs: Any) -> Tensor:
        """What of a network's outputs is the answer, `[B, ...]`, before its link: all of it, if they are one tensor."""
        answer: Tensor = outputs
        return answer

    def heads(self) -> tuple[tuple[str, Literal["softmax", "sigmoid", "identity"], int, int], ...]:
        """Where a network has several: name and link of each, and where among the answer it begins, and ends before."""
        return ()

    @classmethod
    def made_for(cls, spec: SweepSpec) -> Self:
        """The task of a sweep."""
        return cls()

    def check_targets(self, targets: NDArray[Any]) -> None:
        """May refuse targets as they are stored, `[N, ...]`, before a sweep starts: called for each shard.

        Raises:
            SpecError: for targets that the task cannot have.
        """
        return

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

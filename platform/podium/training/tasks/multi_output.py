"""Training, the built-in tasks: several outputs for each sample, each with a loss and metrics of its own."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.heads import HeadSettings, head_weight
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.tasks.classification import Classification
from podium.training.tasks.multi_label import label_metrics, require_labels
from podium.training.tasks.regression import Regression
from podium.training.toolbox.losses import class_losses, class_weights, label_losses, number_losses

LOSSES = {"classification": class_losses, "multi_label": label_losses, "regression": number_losses}


LINKS: Mapping[str, Literal["softmax", "sigmoid", "identity"]] = {
    "classification": "softmax",
    "multi_label": "sigmoid",
    "regression": "identity",
}


class MultiOutput(Task):
    """Several outputs, the heads: linear layers on one trunk, the built-in network up to its last layer.

    The heads lie side by side in that layer, so that the network gives one vector `[B, outputs]`, in the order of the
    sweep file: a score for each class of a classification and each label, a number for each target of a regression.

    Args:
        heads: Their settings, by name.
    """

    link = "identity"

    def __init__(self, heads: Mapping[str, HeadSettings]) -> None:
        self._heads = dict(heads)
        ends = np.cumsum([0, *(head.outputs for head in heads.values())]).tolist()
        self._places = {name: slice(*ends[number : number + 2]) for number, name in enumerate(heads)}

    @classmethod
    def made_for(cls, spec: SweepSpec) -> "MultiOutput":
        """The task with the heads of a sweep."""
        return cls(spec.heads)

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with the outputs of all heads.

        Raises:
            SpecError: if the targets are no vectors of numbers, or have fewer columns than the heads take.
        """
        if schema.classes or len(schema.targets) != 1:
            what = f"{schema.classes} classes" if schema.classes else f"numbers of the shape {schema.targets}"
            raise SpecError(
                f"is multi_output, which takes a vector of numbers for each sample, and the data's targets are {what}",
                key="task",
            )
        for name, head in self._heads.items():
            if max(head.columns) >= schema.targets[0]:
                raise SpecError(
                    f"names column {max(head.columns)}, and the targets have {schema.targets[0]}, counted from 0",
                    key=f"heads.{name}.targets",
                )
        return super().network(parameters, replace(schema, targets=(sum(h.outputs for h in self._heads.values()),)))

    def heads(self) -> tuple[tuple[str, Literal["softmax", "sigmoid", "identity"], int, int], ...]:
        """Name, link and place of each head."""
        places = self._places
        return tuple(
            (name, LINKS[head.kind], places[name].start, places[name].stop) for name, head in self._heads.items()
        )

    def check_targets(self, targets: NDArray[Any]) -> None:
        """Refuses targets that are no classes of a head's, or no labels.

        Raises:
            SpecError: with the first of them.
        """
        for name, head in self._heads.items():
            own = targets[:, list(head.columns)]
            if head.kind == "multi_label":
                require_labels(own, "multi_label", f"heads.{name}.kind")
            if head.kind == "classification":
                _require_classes(own[:, 0], head, name)

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The sum of the heads' losses, each times its weight and, where classes weigh differently, its class's.

        Raises:
            SpecError: for a loss that does not fit its head.
        """
        found = [batch.values[head_weight(name)] * self._losses(name, outputs, batch) for name in self._heads]
        return torch.stack(found).sum(dim=0)

    def metrics(self) -> dict[str, Metric]:
        """`NAME/loss`, and what a task of the head's kind has as `NAME/…`."""
        return dict(self._metrics())

    def _metrics(self) -> Iterator[tuple[str, Metric]]:
        for name, head in self._heads.items():
            yield f"{name}/loss", Mean(functools.partial(self._losses, name))
            for metric, own in _metrics_of(head).items():
                yield f"{name}/{metric}", _OfHead(own, self, name)

    def _losses(self, name: str, outputs: Tensor, batch: Batch) -> Tensor:
        try:
            losses = LOSSES[self._heads[name].kind](*self.seen_by(name, outputs, batch))
        except SpecError as error:
            raise SpecError(error.problem, key=f"heads.{name}.{error.key}") from None
        return losses[0] * losses[1] if isinstance(losses, tuple) else losses

    def seen_by(self, name: str, outputs: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
        """A head's own outputs, and a batch with its own targets, loss and class weights."""
        head, loss = self._heads[name], self._heads[name].loss
        targets = batch.targets[:, list(head.columns)]
        values = {f"loss.{key}": getattr(loss, key) for key in ("label_smoothing", "delta", "gamma")}
        weights = class_weights(loss, head.outputs, ())
        own = replace(
            batch,
            targets=targets[:, 0].long() if head.kind == "classification" else targets,
            values=values,
            loss=loss,
            class_weights=None if weights is None else weights.to(outputs.device),
        )
        return outputs[:, self._places[name]], own


class _OfHead(Metric):
    """A metric of one head."""

    def __init__(self, metric: Metric, task: MultiOutput, name: str) -> None:
        self._metric, self._task, self._name = metric, task, name
        self.state = metric.state

    def update(self, outputs: Any, batch: Batch) -> None:
        self._metric.state = self.state
        self._metric.update(*self._task.seen_by(self._name, outputs, batch))
        self.state = self._metric.state

    def merge(self, other: Metric) -> None:
        self._metric.state = self.state
        self._metric.merge(other)
        self.state = self._metric.state

    def compute(self) -> float:
        self._metric.state = self.state
        return self._metric.compute()


def _metrics_of(head: HeadSettings) -> dict[str, Metric]:
    if head.kind == "multi_label":
        return label_metrics(head.outputs)
    return (Classification() if head.kind == "classification" else Regression()).metrics()


def _require_classes(targets: NDArray[Any], head: HeadSettings, name: str) -> None:
    assert head.classes is not None
    is_other = (targets < 0) | (targets >= head.classes) | (targets != np.floor(targets))
    if is_other.any():
        raise SpecError(
            f"is {head.classes}, and a target is {targets[is_other][0]:g}; classes are whole numbers from 0 to "
            f"{head.classes - 1}",
            key=f"heads.{name}.classes",
        )

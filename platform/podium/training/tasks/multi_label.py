"""Training, the built-in tasks: several labels for each sample, or none."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.space import Value
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.labels import F1, MeanAveragePrecision
from podium.training.toolbox.losses import label_losses


class MultiLabel(Task):
    """Several labels for each sample: targets are 1 for each label that it has, and 0 for the others."""

    link = "sigmoid"
    _labels = 0
    """Known once a network was made, which comes before any metric."""

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with one output for each label.

        Raises:
            SpecError: if the targets are no vectors of numbers.
        """
        if schema.classes or len(schema.targets) != 1:
            what = f"{schema.classes} classes" if schema.classes else f"numbers of the shape {schema.targets}"
            raise SpecError(
                f"is multi_label, which takes a vector of 0 and 1 for each sample, and the data's targets are {what}",
                key="task",
            )
        (self._labels,) = schema.targets
        return super().network(parameters, schema)

    def check_targets(self, targets: NDArray[Any]) -> None:
        """Refuses targets other than 0 and 1.

        Raises:
            SpecError: with the first of them.
        """
        require_labels(targets, "multi_label", "task")

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """Binary cross-entropy in nats, the mean over the labels, or what `loss.kind` says."""
        return label_losses(outputs, batch)

    def metrics(self) -> dict[str, Metric]:
        """Those of `label_metrics`."""
        return label_metrics(self._labels)


def label_metrics(labels: int) -> dict[str, Metric]:
    """`mean_average_precision`; `subset_accuracy`, the share of samples of which every label is right; and `f1`.

    The latter two take labels of a probability above 1/2.
    """
    return {
        "mean_average_precision": MeanAveragePrecision(labels),
        "subset_accuracy": Mean(lambda outputs, batch: ((outputs > 0) == (batch.targets > 0.5)).all(dim=1)),
        "f1": F1(),
    }


def require_labels(targets: NDArray[Any], what: str, key: str) -> None:
    """Refuses targets other than 0 and 1.

    Raises:
        SpecError: with the first of them.
    """
    is_other = (targets != 0) & (targets != 1)
    if is_other.any():
        row, column = np.argwhere(is_other)[0]
        raise SpecError(
            f"is {what}, whose targets are 0 and 1, and one holds {targets[row, column]:g} in column {column}; make 0 "
            "and 1 of them, or use regression",
            key=key,
        )

"""Training, the built-in tasks: numbers for each sample."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.space import Value
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.losses import absolute_error, number_losses, square_error


class Regression(Task):
    """Numbers for each sample: mean square error and two errors in the unit of the targets."""

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with one output for each number of a target.

        Raises:
            SpecError: if the targets are classes.
        """
        if schema.classes:
            raise SpecError(
                f"is regression, and the data's targets are {schema.classes} classes; use classification", key="task"
            )
        return super().network(parameters, schema)

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The square error of each sample, or what `loss.kind` says."""
        return number_losses(outputs, batch)

    def metrics(self) -> dict[str, Metric]:
        """`mean_absolute_error` and `rmse`."""
        return {
            "mean_absolute_error": Mean(lambda outputs, batch: absolute_error(outputs, batch.targets)),
            "rmse": Mean(lambda outputs, batch: square_error(outputs, batch.targets), math.sqrt),
        }

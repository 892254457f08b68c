"""Training, the built-in tasks: what comes next in a series."""

from collections.abc import Mapping

from torch import nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.space import Value
from podium.training.metrics import Metric, Skill
from podium.training.tasks.regression import Regression


class Forecasting(Regression):
    """The next steps of a series, `[horizon]` or `[horizon, ...]`: regression, and how much better it is than the mean.

    Inputs are the steps before, `[steps, features]`.
    """

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with one output for each number of a target; a seq2seq writes the target's steps.

        Raises:
            SpecError: if the targets are classes.
        """
        if schema.classes:
            raise SpecError(
                f"is forecasting, and the data's targets are {schema.classes} classes; use classification", key="task"
            )
        horizon = schema.targets[0] if schema.targets else 1
        return super().network({"network.horizon": horizon, **parameters}, schema)

    def metrics(self) -> dict[str, Metric]:
        """`mean_absolute_error`, `rmse`, and `skill` over the mean of all targets."""
        return {**super().metrics(), "skill": Skill()}

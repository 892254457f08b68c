"""Training, the built-in tasks: the inputs again."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.networks import DENSE
from podium.spec.space import Value
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.hyperparameters import like
from podium.training.toolbox.losses import square_error
from podium.training.toolbox.networks import network_settings
from podium.training.toolbox.networks.sparse_autoencoder import Coded


class Reconstruction(Task):
    """Auto-encoders: the targets are the inputs, as the network is given them; the data's own are not read.

    A source without targets may give 0.0.
    """

    link = "identity"

    def answer(self, outputs: Any) -> Tensor:
        """The inputs again, without what a coder gives beside them."""
        return _decoded(outputs)

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with one output for each number of an input.

        Raises:
            SpecError: for series, which differ in length.
        """
        if schema.series:
            raise SpecError("is on, and reconstruction takes samples of one shape", key="data.series")
        gives_maps = network_settings(parameters).kind in DENSE
        return self.build(parameters, schema.inputs, schema.inputs[0] if gives_maps else math.prod(schema.inputs))

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The square error of each sample, and `loss.sparsity` times the mean response of pooled features."""
        if not isinstance(outputs, Coded):
            return square_error(outputs, batch.inputs)
        pooled = outputs.pooled.mean(dim=-1)
        return square_error(outputs.decoded, batch.inputs) + like(pooled, batch.values["loss.sparsity"]) * pooled

    def metrics(self) -> dict[str, Metric]:
        """`mse`, and `sparsity`: the mean pooled response, 0 for networks that do not pool."""
        return {
            "mse": Mean(lambda outputs, batch: square_error(_decoded(outputs), batch.inputs)),
            "sparsity": Mean(_responses),
        }


def _decoded(outputs: Any) -> Tensor:
    decoded: Tensor = outputs.decoded if isinstance(outputs, Coded) else outputs
    return decoded


def _responses(outputs: Any, batch: Batch) -> Tensor:
    if isinstance(outputs, Coded):
        return outputs.pooled.mean(dim=-1)
    return batch.inputs.new_zeros(len(batch.inputs))

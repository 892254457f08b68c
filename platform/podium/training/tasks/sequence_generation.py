"""Training, the built-in tasks: drawings that a network learns to make up."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.spec.space import Value
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.hyperparameters import Number, like
from podium.training.toolbox.mixtures import log_density
from podium.training.toolbox.networks import make_network
from podium.training.toolbox.networks.sketch_rnn import PENS, Sketched


class SequenceGeneration(Task):
    """Drawings `[steps, 5]`, as `data.steps: strokes` makes them, by a variational auto-encoder.

    Targets are not read; a source without any may give 0.0.
    """

    link = "none"

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in `sketch_rnn`.

        Raises:
            SpecError: for data that are no drawings, or another network.
        """
        if not schema.series or schema.inputs[1:] != (5,):
            raise SpecError(
                f"is sequence_generation, which takes drawings, and samples have the shape {schema.inputs}; set "
                "data.series: true and data.steps: [{kind: strokes}]",
                key="task",
            )
        if schema.normalize:
            raise SpecError(
                "is on, and the states of the pen are not to be standardized; set it to false, and divide offsets by "
                "the `scale` of the step `strokes`",
                key="data.normalize",
            )
        kind = parameters.get("network.kind", NetworkSettings().kind)
        if kind != "sketch_rnn":
            raise SpecError(f"is {kind}, and sequence_generation has sketch_rnn", key="network.kind")
        return make_network(parameters, schema.inputs, 0)

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """Nll + `loss.kl_weight` * max(kl, `loss.kl_floor`), of each drawing by itself.

        Source: Ha and Eck, 2017, arXiv:1704.03477, equations 9 to 12; there, the first part is divided by the longest
        drawing's steps instead of the own ones, and the floor acts on the batch.
        """
        kl = divergence(outputs)
        weight, floor = (like(kl, batch.values[f"loss.{name}"]) for name in ("kl_weight", "kl_floor"))
        return negative_log_likelihood(outputs, batch) + weight * _at_least(kl, floor)

    def metrics(self) -> dict[str, Metric]:
        """`nll` in nats a step, and `kl` in nats a number of the code."""
        return {
            "nll": Mean(negative_log_likelihood),
            "kl": Mean(lambda outputs, batch: divergence(outputs)),
        }


def negative_log_likelihood(outputs: Sketched, batch: Batch) -> Tensor:
    """`[B]`, the mean over a drawing's steps of -log p(offset) - log p(pen), in nats.

    The last step, at which the drawing ends, has no offset.
    """
    steps, drawing = outputs.steps, batch.inputs
    pen = -(functional.log_softmax(steps[..., -PENS:], dim=-1) * drawing[..., 2:]).sum(dim=-1)
    is_drawn = drawing[..., 2] + drawing[..., 3]
    offset = -log_density(steps[..., :-PENS], drawing[..., :2]) * is_drawn
    lengths = drawing[..., 2:].sum(dim=(-2, -1))  # a step has one state of the pen, what fills up has none
    return (offset + pen).sum(dim=-1) / lengths


def divergence(outputs: Sketched) -> Tensor:
    """`[B]`, the mean over the code's numbers of the Kullback-Leibler divergence from the standard normal, in nats.

    -(1 + log s^2 - m^2 - s^2) / 2. Source: Kingma and Welling, 2013, arXiv:1312.6114, appendix B.
    """
    mean, log_variance = outputs.mean, outputs.log_variance
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean(dim=-1)


def _at_least(values: Tensor, floor: Number) -> Tensor:
    return torch.maximum(values, torch.as_tensor(floor, dtype=values.dtype, device=values.device))

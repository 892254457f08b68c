"""Training, the built-in tasks: an image for each image."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.networks import DENSE
from podium.spec.space import Value
from podium.training.metrics import Mean, Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.losses import absolute_error, number_losses
from podium.training.toolbox.networks import network_settings
from podium.training.toolbox.similarity import psnr, ssim


class ImageToImage(Task):
    """Numbers for each pixel: mean square error.

    Targets have the height and width of inputs, or whole multiples of them, to which the inputs are brought by bicubic
    interpolation before they come to the network. In `psnr` and `ssim` images span 255 from black to white where inputs
    are stored as bytes, and else 1: targets have to be in that unit.
    """

    _span = 1.0
    """Known once a network was made, which comes before any metric."""

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network for maps, with one output for each channel of a target.

        Raises:
            SpecError: if targets are no images that fit the inputs, or the network gives no maps.
        """
        factor = _factor(schema)
        self._span = 255.0 if schema.input_dtype == "uint8" else 1.0
        settings = network_settings(parameters)
        if self.own_network is None and settings.kind not in DENSE:
            raise SpecError(
                f"is {settings.kind}, which gives no images; image_to_image takes {', '.join(DENSE)}",
                key="network.kind",
            )
        channels, height, width = schema.inputs
        outputs = schema.targets[0] if len(schema.targets) == 3 else 1
        network = self.build(parameters, (channels, height * factor, width * factor), outputs)
        if settings.residual:
            network = PlusInput(network, schema, outputs)
        return network if factor == 1 else Enlarged(network, factor)

    def losses(self, outputs: Any, batch: Batch) -> Tensor:
        """The mean square error of each sample, or what `loss.kind` says."""
        return number_losses(outputs, batch)

    def metrics(self) -> dict[str, Metric]:
        """`psnr` (dB) and `ssim`, means over the images, and `mean_absolute_error`."""
        span = self._span
        return {
            "psnr": Mean(lambda outputs, batch: psnr(outputs, batch.targets, span)),
            "ssim": Mean(lambda outputs, batch: ssim(outputs, batch.targets, span)),
            "mean_absolute_error": Mean(lambda outputs, batch: absolute_error(outputs, batch.targets)),
        }


class PlusInput(nn.Module):
    """A network to whose outputs its inputs are added as they are stored, so that it learns the difference.

    Args:
        network: From `[B, C, H, W]`, normalized, to the same.
        schema: What a sample looks like.
        outputs: C of targets.

    Raises:
        SpecError: if inputs have other channels than targets.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, schema: Schema, outputs: int) -> None:
        super().__init__()
        channels = schema.inputs[0]
        if channels != outputs:
            raise SpecError(
                f"is on, and inputs with {channels} channels cannot be added to targets with {outputs}; leave it out",
                key="network.residual",
            )
        self.network = network
        mean = schema.mean if schema.normalize else (0.0,) * channels
        std = schema.std if schema.normalize else (1.0,) * channels
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]`."""
        outputs: Tensor = self.network(inputs) + (inputs * self.std + self.mean)
        return outputs


class Enlarged(nn.Module):
    """A network that is given its inputs enlarged, by bicubic interpolation.

    Args:
        network: From `[B, C, factor * H, factor * W]`.
        factor: How many times as high and wide.
    """

    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, H, W]` to `[B, outputs, factor * H, factor * W]`."""
        size = [side * self.factor for side in inputs.shape[-2:]]
        outputs: Tensor = self.network(functional.interpolate(inputs, size=size, mode="bicubic", align_corners=False))
        return outputs


def _factor(schema: Schema) -> int:
    """How many times as high and wide as inputs targets are.

    Raises:
        SpecError: unless both are images, and targets the same multiple of inputs either way.
    """
    if schema.classes:
        raise SpecError(
            "is image_to_image, and targets are integers, which are taken for classes; save them as floats, or use "
            "segmentation",
            key="task",
        )
    inputs, targets = schema.inputs, schema.targets
    if len(inputs) == 3 and len(targets) in (2, 3):
        factor = targets[-1] // inputs[-1]
        if factor and targets[-2:] == (inputs[-2] * factor, inputs[-1] * factor):
            return factor
    raise SpecError(
        "is image_to_image, which takes images (channels, height, width) and targets of their height and width or a "
        f"whole multiple of both, and inputs have the shape {inputs}, targets {targets}",
        key="task",
    )

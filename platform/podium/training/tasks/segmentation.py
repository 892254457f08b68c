"""Training, the built-in tasks: a class for each pixel."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.networks import DENSE
from podium.spec.space import Value
from podium.training.metrics import Metric
from podium.training.task import Batch, Task
from podium.training.toolbox.confusion import Accuracy, Confusion, Dice, MeanIoU
from podium.training.toolbox.losses import Losses, class_losses
from podium.training.toolbox.networks import network_settings
from podium.training.toolbox.networks.patches import Slid

METRICS: Mapping[str, type[Confusion]] = {"mean_iou": MeanIoU, "dice": Dice, "accuracy": Accuracy}


class Segmentation(Task):
    """A class for each pixel: cross-entropy, the mean over the pixels of a sample that count."""

    _classes = 0
    """Known once a network was made, which comes before any metric."""

    def network(self, parameters: Mapping[str, Value], schema: Schema) -> nn.Module:
        """The built-in network with one output for each class.

        One that gives no maps classifies a patch around each pixel: it is slid over the image.

        Raises:
            SpecError: if the targets are no masks of the inputs' height and width.
        """
        if not schema.classes or len(schema.inputs) != 3 or schema.targets != schema.inputs[1:]:
            what = f"{schema.classes} classes" if schema.classes else f"{schema.target_dtype} numbers"
            raise SpecError(
                "is segmentation, which takes images (channels, height, width) and masks of their height and width, "
                f"and inputs have the shape {schema.inputs}, targets {schema.targets} ({what})",
                key="task",
            )
        self._classes = schema.classes
        settings = network_settings(parameters)
        if self.own_network is not None or settings.kind in DENSE:
            return self.build(parameters, schema.inputs, schema.classes)
        patch = (schema.inputs[0], settings.patch, settings.patch)
        return Slid(self.build(parameters, patch, schema.classes), settings, schema.inputs)

    def losses(self, outputs: Any, batch: Batch) -> Losses:
        """Cross-entropy in nats, or what `loss.kind` says."""
        return class_losses(outputs, batch)

    def metrics(self) -> dict[str, Metric]:
        """`mean_iou`, `dice` and `accuracy`, over all pixels of an epoch that count."""
        return {name: kind(self._classes) for name, kind in METRICS.items()}

"""Training: the samples of a batch on the device, which all trials of an advance share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from podium.data import reader as data
from podium.spec.components import LossSettings
from podium.training.task import DEFAULT_LOSS, Batch
from podium.training.toolbox.hyperparameters import Number

TENSORS = ("inputs", "targets", "positions", "lengths", "share")


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch on the device, which all trials of an advance share.

    Attributes:
        inputs: `[B, ...]` float32.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        positions: `[B]` int64, where each sample stands in the epoch's order.
        lengths: `[B]` int64, the steps of inputs that are series; None if they are none.
        partner: Other samples, one for each of these, that may be mixed in; None if there are none.
        share: `[B]` float32, what is left of each sample once its partner is mixed in; None before, and without.
        stands_in: Whether it is one sample in the place of none, which does not count.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor
    lengths: Tensor | None = None
    partner: "Samples | None" = None
    share: Tensor | None = None
    stands_in: bool = False

    def batch(
        self,
        values: Mapping[str, Number],
        loss: LossSettings = DEFAULT_LOSS,
        class_weights: Tensor | None = None,
    ) -> Batch:
        """What a task is shown."""
        mixed_in = None if self.partner is None or self.share is None else self.partner.targets
        return Batch(self.inputs, self.targets, values, self.lengths, mixed_in, self.share, loss, class_weights)

    def parts(self, size: int | None) -> "Sequence[Samples]":
        """The same in parts of at most `size` samples."""
        if size is None or len(self.positions) <= size:
            return (self,)
        names = [name for name in TENSORS if getattr(self, name) is not None]
        cut = zip(*(torch.split(getattr(self, name), size) for name in names), strict=True)
        parts = [replace(self, **dict(zip(names, part, strict=True))) for part in cut]
        if self.partner is None:
            return parts
        return [replace(one, partner=other) for one, other in zip(parts, self.partner.parts(size), strict=True)]

    def first_alone(self) -> "Samples":
        """The first sample, in the place of none."""
        return replace(self.parts(1)[0], stands_in=True)


def to_device(samples: data.Batch, device: torch.device) -> Samples:
    """The batch as tensors; on a CPU, images have their channels last in memory: it convolves and pools faster so."""
    arrays = samples.inputs, samples.targets, samples.positions
    inputs, targets, positions = (_moved(torch.from_numpy(array), device) for array in arrays)
    if device.type == "cpu" and inputs.dim() == 4:
        inputs = torch.empty(inputs.shape, dtype=inputs.dtype, memory_format=torch.channels_last).copy_(inputs)
    lengths = None if samples.lengths is None else _moved(torch.from_numpy(samples.lengths), device)
    partner = None if samples.partner is None else to_device(samples.partner, device)
    return Samples(inputs, targets, positions, lengths, partner, stands_in=samples.stands_in)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The same on the device; a GPU copies it while the CPU goes on, for which it has to be in pinned memory."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

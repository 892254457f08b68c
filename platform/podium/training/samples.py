"""Training: the samples of a batch on the device, which all trials of an advance share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from podium.data import reader as data
from podium.training.task import Batch
from podium.training.toolbox.hyperparameters import Number


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch on the device, which all trials of an advance share.

    Attributes:
        inputs: `[B, ...]` float32.
        targets: `[B]` int64 classes, or `[B, ...]` float32.
        positions: `[B]` int64, where each sample stands in the epoch's order.
        stands_in: Whether it is one sample in the place of none, which does not count.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor
    stands_in: bool = False

    def batch(self, values: Mapping[str, Number]) -> Batch:
        """What a task is shown."""
        return Batch(self.inputs, self.targets, values)

    def parts(self, size: int | None) -> "Sequence[Samples]":
        """The same in parts of at most `size` samples."""
        if size is None or len(self.positions) <= size:
            return (self,)
        cut = (torch.split(tensor, size) for tensor in (self.inputs, self.targets, self.positions))
        return [replace(self, inputs=x, targets=y, positions=at) for x, y, at in zip(*cut, strict=True)]

    def first_alone(self) -> "Samples":
        """The first sample, in the place of none."""
        return replace(self.parts(1)[0], stands_in=True)


def to_device(samples: data.Batch, device: torch.device) -> Samples:
    """The batch as tensors; on a CPU, images have their channels last in memory: it convolves and pools faster so."""
    arrays = samples.inputs, samples.targets, samples.positions
    inputs, targets, positions = (_moved(torch.from_numpy(array), device) for array in arrays)
    if device.type == "cpu" and inputs.dim() == 4:
        inputs = torch.empty(inputs.shape, dtype=inputs.dtype, memory_format=torch.channels_last).copy_(inputs)
    return Samples(inputs, targets, positions, samples.stands_in)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The same on the device; a GPU copies it while the CPU goes on, for which it has to be in pinned memory."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

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
        lengths: `[B]` int64, the steps of inputs that are series; None if they are none.
        stands_in: Whether it is one sample in the place of none, which does not count.
    """

    inputs: Tensor
    targets: Tensor
    positions: Tensor
    lengths: Tensor | None = None
    stands_in: bool = False

    def batch(self, values: Mapping[str, Number]) -> Batch:
        """What a task is shown."""
        return Batch(self.inputs, self.targets, values, self.lengths)

    def parts(self, size: int | None) -> "Sequence[Samples]":
        """The same in parts of at most `size` samples."""
        if size is None or len(self.positions) <= size:
            return (self,)
        tensors = {"inputs": self.inputs, "targets": self.targets, "positions": self.positions}
        if self.lengths is not None:
            tensors["lengths"] = self.lengths
        cut = (torch.split(tensor, size) for tensor in tensors.values())
        return [replace(self, **dict(zip(tensors, part, strict=True))) for part in zip(*cut, strict=True)]

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
    return Samples(inputs, targets, positions, lengths, samples.stands_in)


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The same on the device; a GPU copies it while the CPU goes on, for which it has to be in pinned memory."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)

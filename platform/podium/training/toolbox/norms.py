"""Training, the toolbox: normalization layers. No layer before one has a bias, which the norm would take out."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from podium.errors import TaskError

MOMENTUM, EPSILON = 0.1, 1e-5

TORCHS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Norms that know only the samples of their own process."""


class _Total(torch.autograd.Function):
    """The sum of a tensor over the ranks; so is the gradient, since every rank's loss depends on every rank's share."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class BatchNorm(nn.Module):
    """Batch normalization of `[B, C, ...]` (Ioffe and Szegedy, 2015, arXiv:1502.03167), momentum 0.1, epsilon 1e-5.

    A training batch that has one value for each channel is normalized by the running statistics, as in evaluation,
    so that the last batch of an epoch may hold a single sample. Where ranks share a batch, the statistics are those of
    the whole batch, from sums in float64 of which each rank gives its own.

    Args:
        channels: C.

    Attributes:
        is_shared: Whether other ranks have other samples of the same batch.
        counts: Whether this rank's samples do, where the batch is shared.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.is_shared, self.counts = False, True
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, ...]` to the same."""
        if self.training and self.is_shared:
            return self._forward_shared(inputs)
        training = self.training and inputs.numel() > inputs.shape[1]
        # within vmap, torch has no batch norm of halves with weights of another type
        normed = functional.batch_norm(
            inputs.to(self.weight.dtype),
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training,
            momentum=MOMENTUM,
            eps=EPSILON,
        )
        return normed.to(inputs.dtype)

    def _forward_shared(self, inputs: Tensor) -> Tensor:
        dims = [dim for dim in range(inputs.dim()) if dim != 1]
        wide = inputs.double()
        size = torch.full((1,), inputs.numel() / inputs.shape[1], dtype=wide.dtype, device=wide.device)
        own = torch.cat([wide.sum(dims), (wide * wide).sum(dims), size]) * float(self.counts)
        sums: Tensor = _Total.apply(own)  # type: ignore[no-untyped-call]
        count = float(sums[-1].detach())
        mean, square = (sums[:-1] / count).chunk(2)
        variance = (square - mean * mean).clamp_min(0)
        if count > 1:
            with torch.no_grad():
                for running, new in ((self.running_mean, mean), (self.running_var, variance * (count / (count - 1)))):
                    running.lerp_(new.to(running.dtype), MOMENTUM)
        else:
            mean, variance = self.running_mean.double(), self.running_var.double()
        shape = (1, -1) + (1,) * (inputs.dim() - 2)
        scale = (variance + EPSILON).rsqrt().to(inputs.dtype) * self.weight
        return (inputs - mean.to(inputs.dtype).view(shape)) * scale.view(shape) + self.bias.view(shape)


def share(network: nn.Module, ranks: int) -> list[BatchNorm]:
    """Tells the norms of a network how many ranks share its batches; gives those that so depend on each other.

    Raises:
        TaskError: for batch norms of torch's, which would know only a rank's own samples.
    """
    shared = []
    for name, module in network.named_modules():
        if isinstance(module, BatchNorm):
            module.is_shared, module.counts = ranks > 1, True
            shared += [module] if ranks > 1 else []
        elif ranks > 1 and isinstance(module, TORCHS):
            raise TaskError(
                f"{name or 'the network'} is torch's {type(module).__name__}, which sees a rank's own samples alone, "
                "so that a trial's curve would depend on its ranks; use podium.training.toolbox.norms.BatchNorm, or "
                "`resources.ranks: 1`"
            )
    return shared


def require_whole_batches(network: nn.Module) -> None:
    """Refuses batch norms in a network through which batches go in parts.

    Raises:
        TaskError: naming the first one.
    """
    for name, module in network.named_modules():
        if isinstance(module, (BatchNorm, *TORCHS)):
            raise TaskError(
                f"{name or 'the network'} is a batch norm, and compute.microbatch has batches go through it in parts: "
                "leave that out, take `network.norm: layer`, or write `compute.norm: microbatch`, which lets a trial's "
                "curve depend on its microbatches and ranks"
            )


def make_norm(kind: str, channels: int) -> nn.Module:
    """The norm over `channels` channels or features.

    `batch` is `BatchNorm`; `layer` (Ba et al., 2016, arXiv:1607.06450) takes the mean over all but the batch and has
    a weight and a bias for each channel.
    """
    return BatchNorm(channels) if kind == "batch" else nn.GroupNorm(1, channels)

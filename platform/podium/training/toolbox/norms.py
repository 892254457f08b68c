"""Training, the toolbox: normalization layers. No layer before one has a bias, which the norm would take out."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class BatchNorm(nn.Module):
    """Batch normalization of `[B, C, ...]` (Ioffe and Szegedy, 2015, arXiv:1502.03167), momentum 0.1, epsilon 1e-5.

    A training batch that has one value for each channel is normalized by the running statistics, as in evaluation,
    so that the last batch of an epoch may hold a single sample.

    Args:
        channels: C.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, C, ...]` to the same."""
        training = self.training and inputs.numel() > inputs.shape[1]
        return functional.batch_norm(
            inputs, self.running_mean, self.running_var, self.weight, self.bias, training, momentum=0.1, eps=1e-5
        )


def make_norm(kind: str, channels: int) -> nn.Module:
    """The norm over `channels` channels or features.

    `batch` is `BatchNorm`; `layer` (Ba et al., 2016, arXiv:1607.06450) takes the mean over all but the batch and has
    a weight and a bias for each channel.
    """
    return BatchNorm(channels) if kind == "batch" else nn.GroupNorm(1, channels)

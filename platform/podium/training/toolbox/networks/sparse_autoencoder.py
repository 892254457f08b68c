"""Training, the toolbox: the sparse auto-encoder, which learns features without labels."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.networks import NetworkSettings

SMALLEST = 1e-6
"""What is added to sums of squares, so that their square roots have a slope."""


class Coded(NamedTuple):
    """What a sparse auto-encoder gives.

    Attributes:
        decoded: `[B, *inputs]`, the inputs again.
        pooled: `[B, width / pool]`, not negative.
    """

    decoded: Tensor
    pooled: Tensor


class SparseAutoencoder(nn.Module):
    """Linear features W x whose transpose gives the input back, pooled in groups.

    The rows of W have length 1, decoded = (size / width) W^T W x, and the pooled response of a group g is
    sqrt(1e-6 + sum over g of (W x)_i^2); the task minimizes the square error plus `loss.sparsity` times the mean pooled
    response. Inputs should be white: what hardly varies would be the sparsest feature.
    It is one layer of Le et al., "Building high-level features using large scale unsupervised learning", 2012,
    arXiv:1112.6209, with the encoder's weights shared by the decoder, as in Le et al., "ICA with reconstruction cost
    for efficient overcomplete feature learning", NIPS 2011. There is no receptive field smaller than the input: it is
    trained on patches, and features of an image are those of its patches.

    Args:
        size: Numbers of an input.
        width: Features.
        pool: Features of a group.
    """

    def __init__(self, size: int, width: int, pool: int) -> None:
        super().__init__()
        self.pool = pool
        self.weight = nn.Parameter(torch.randn(width, size) / math.sqrt(size))

    def forward(self, inputs: Tensor) -> Coded:
        """`[B, *inputs]`."""
        rows = functional.normalize(self.weight, dim=1)
        features = functional.linear(inputs.flatten(1), rows)
        width, size = rows.shape
        decoded = functional.linear(features, rows.T) * (size / width)
        return Coded(decoded.view(inputs.shape), self._pooled(features))

    def encode(self, inputs: Tensor) -> Tensor:
        """`[B, *inputs]` to pooled responses `[B, width / pool]`."""
        return self._pooled(functional.linear(inputs.flatten(1), functional.normalize(self.weight, dim=1)))

    def _pooled(self, features: Tensor) -> Tensor:
        groups = features.view(features.shape[0], -1, self.pool)
        return (groups.square().sum(dim=2) + SMALLEST).sqrt()


def sparse_autoencoder(settings: NetworkSettings, inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """`SparseAutoencoder` of `width` features in groups of `pool`; it gives its inputs, whatever `outputs` is.

    Raises:
        SpecError: unless `width` is a multiple of `pool`.
    """
    if settings.width % settings.pool:
        raise SpecError(
            f"is {settings.pool}, and network.width, {settings.width}, is no multiple of it", key="network.pool"
        )
    return SparseAutoencoder(math.prod(inputs), settings.width, settings.pool)

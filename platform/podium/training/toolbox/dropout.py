"""Training, the toolbox: dropout whose masks are a hash of (seed, site, epoch, position, element)."""

import math

import torch
from torch import Tensor, nn

from podium.training import draws


class Dropout(nn.Module):
    """Sets each element to zero with probability `rate` while training, and divides the rest by 1 - rate.

    A sample's mask depends on its position in the epoch's order, not on the batch it comes in. The loop calls
    `begin` before each step. Source: Srivastava et al., "Dropout", JMLR 15(56), 2014.

    Args:
        rate: In [0, 1).
    """

    threshold: Tensor
    scale: Tensor
    key: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.drops = rate, rate > 0
        self.positions = torch.zeros(0, dtype=torch.int64)
        lowest = math.floor((rate - 0.5) * 2**32)
        self.register_buffer("threshold", torch.tensor(lowest, dtype=torch.int32), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - rate)), persistent=False)
        self.register_buffer("key", torch.tensor(0), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """`[B, ...]` to the same; the identity in evaluation and at rate 0.

        Raises:
            RuntimeError: if `begin` was not called for this batch.
        """
        if not self.training or not self.drops:
            return inputs
        if len(self.positions) != len(inputs):
            raise RuntimeError(f"dropout knows {len(self.positions)} positions and got a batch of {len(inputs)}")
        kept = draws.words(self.key, self.positions, inputs.shape[1:].numel()) >= self.threshold
        return inputs * (kept.view(inputs.shape) * self.scale.to(inputs.dtype))

    def extra_repr(self) -> str:
        """Shows the rate."""
        return f"rate={self.rate}"


def sites(network: nn.Module) -> list[tuple[str, Dropout]]:
    """The modules of a network that drop anything, each with its path in it as site."""
    modules = network.named_modules()
    return [(name, module) for name, module in modules if isinstance(module, Dropout) and module.drops]


def replace_torch_dropout(network: nn.Module) -> None:
    """Puts `Dropout` in the place of every `nn.Dropout` inside a network, so that its masks can be drawn again."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))


def begin_epoch(modules: list[tuple[str, Dropout]], seed: int, epoch: int) -> None:
    """Tells every site that an epoch of a trial begins."""
    for site, module in modules:
        module.key.fill_(draws.fold(seed, "dropout", site, epoch))


def begin_step(modules: list[tuple[str, Dropout]], positions: Tensor) -> None:
    """Tells every site which positions (`[B]` int64) the next batch holds."""
    for _, module in modules:
        module.positions = positions

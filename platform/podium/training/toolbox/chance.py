"""Training, the toolbox: layers with random numbers, each a hash of (seed, site, epoch, position, element)."""

import math

import torch
from torch import Tensor, nn

from podium.training import draws


class Chance(nn.Module):
    """A layer that draws while it is trained, for each sample by its position in the epoch's order.

    A sample's numbers do not depend on the batch it comes in. The loop calls `begin_epoch` and `begin_step`.

    Attributes:
        key: int64, from the trial's seed, the layer's path in the network and the epoch.
        positions: `[B]` int64, those of the batch.
        is_active: Whether there is anything to draw.
    """

    key: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.positions = torch.zeros(0, dtype=torch.int64)
        self.is_active = True
        self.register_buffer("key", torch.tensor(0), persistent=False)

    def is_idle(self, inputs: Tensor) -> bool:
        """Whether nothing is to be drawn for this batch.

        Raises:
            RuntimeError: if `begin_step` was not called for it.
        """
        if not self.training or not self.is_active:
            return True
        if len(self.positions) != len(inputs):
            name = type(self).__name__
            raise RuntimeError(f"{name} knows {len(self.positions)} positions and got a batch of {len(inputs)}")
        return False


class _Dropping(Chance):
    """Sets parts of a sample to zero with probability `rate`, and divides the rest by 1 - rate."""

    threshold: Tensor
    scale: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate, self.is_active = rate, rate > 0
        lowest = math.floor((rate - 0.5) * 2**32)
        self.register_buffer("threshold", torch.tensor(lowest, dtype=torch.int32), persistent=False)
        self.register_buffer("scale", torch.tensor(1 / (1 - rate)), persistent=False)

    def drop(self, inputs: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Drops parts of samples, of which each has `shape`."""
        kept = draws.words(self.key, self.positions, math.prod(shape)) >= self.threshold
        return inputs * (kept.view(-1, *shape) * self.scale.to(inputs.dtype))

    def extra_repr(self) -> str:
        """Shows the rate."""
        return f"rate={self.rate}"


class Dropout(_Dropping):
    """Drops each element by itself: `[B, ...]` to the same; the identity in evaluation and at rate 0.

    Source: Srivastava et al., "Dropout", JMLR 15(56), 2014.

    Args:
        rate: In [0, 1).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """The batch with some elements dropped."""
        return inputs if self.is_idle(inputs) else self.drop(inputs, tuple(inputs.shape[1:]))


class SpatialDropout(_Dropping):
    """Drops whole channels: `[B, C, H, W]` to the same; the identity in evaluation and at rate 0.

    Neighbouring pixels say nearly the same, so that what is dropped of a channel would be known from what is left.
    Source: Tompson et al., 2015, arXiv:1411.4280.

    Args:
        rate: In [0, 1).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """The batch with some channels dropped."""
        if self.is_idle(inputs):
            return inputs
        return self.drop(inputs, (inputs.shape[1], *(1,) * (inputs.dim() - 2)))


class StochasticDepth(_Dropping):
    """Drops a sample's whole residual branch: `[B, ...]` to the same; the identity in evaluation and at rate 0.

    What is kept is divided by 1 - rate while training, so that nothing is to be scaled in evaluation.
    Source: Huang et al., "Deep networks with stochastic depth", 2016, arXiv:1603.09382.

    Args:
        rate: In [0, 1).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """The branches, some of them dropped."""
        return inputs if self.is_idle(inputs) else self.drop(inputs, (1,) * (inputs.dim() - 1))


class Noise(Chance):
    """Standard normal noise, such as a variational auto-encoder needs; zero in evaluation."""

    def forward(self, like: Tensor) -> Tensor:
        """Noise of the shape and dtype of `like`, `[B, ...]`."""
        if self.is_idle(like):
            return torch.zeros_like(like)
        size = math.prod(like.shape[1:])
        return draws.normal_at(self.key, self.positions, size).view(like.shape).to(like.dtype)


def sites(network: nn.Module) -> list[tuple[str, Chance]]:
    """The modules of a network that draw anything, each with its path in it as site."""
    modules = network.named_modules()
    return [(name, module) for name, module in modules if isinstance(module, Chance) and module.is_active]


def replace_torch_dropout(network: nn.Module) -> None:
    """Puts ours in the place of every `nn.Dropout` and `nn.Dropout2d` inside a network."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p))
            elif type(child) is nn.Dropout2d:
                setattr(module, name, SpatialDropout(child.p))


def begin_epoch(modules: list[tuple[str, Chance]], seed: int, epoch: int) -> None:
    """Tells every site that an epoch of a trial begins."""
    for site, module in modules:
        module.key.fill_(draws.fold(seed, "dropout", site, epoch))


def begin_step(modules: list[tuple[str, Chance]], positions: Tensor) -> None:
    """Tells every site which positions (`[B]` int64) the next batch holds."""
    for _, module in modules:
        module.positions = positions

"""Training: the probe, which sees the outputs of a network's layers, and what follows from them and from gradients."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from podium.training.flat import FlatWeights
from podium.training.toolbox.activations import ACTIVATIONS
from podium.training.toolbox.chance import Chance
from podium.training.toolbox.norms import BatchNorm
from podium.training.verdict import Layer, Moment

NEAR = 0.01
"""How close to its limits, 0 and 1 or -1 and 1, an output of sigmoid or tanh is saturated."""

Seen = dict[str, Tensor]
"""By a layer's name, `[3]` (of a stack `[K, 3]`): `activation`, `dead` and `saturated`, as in `Layer`."""


class Probe:
    """Sees the outputs of a network's layers: of all modules with weights (parameters of two axes at least).

    Args:
        network: The network of a trial, or what computes the lanes of a stack.
        flat: Its weights.

    Attributes:
        weights: By layer the names of its weights.
    """

    def __init__(self, network: nn.Module, flat: FlatWeights) -> None:
        self._network = network
        self.weights: dict[str, list[str]] = {}
        for name, (_, shape) in flat.places.items():
            if len(shape) >= 2:
                self.weights.setdefault(name.rpartition(".")[0], []).append(name)
        self._seen: Seen = {}
        self._latest = ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the block lasts, passes through the network are seen: as in training, but nothing is drawn."""
        modules = list(self._network.modules())
        modes = [module.training for module in modules]
        shared = [module for module in modules if isinstance(module, BatchNorm) and module.is_shared]
        handles = [self._network.get_submodule(name).register_forward_hook(self._noting(name)) for name in self.weights]
        activations = [module for module in modules if isinstance(module, _KINDS)]
        handles += [module.register_forward_hook(self._note_activation) for module in activations]
        try:
            for module in modules:
                module.training = not isinstance(module, Chance)
            for norm in shared:
                norm.is_shared = False
            with torch.random.fork_rng(devices=[]):
                yield
        finally:
            for handle in handles:
                handle.remove()
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            for norm in shared:
                norm.is_shared = True

    def take(self) -> Seen:
        """What was seen since the last call, in the order in which samples last went through the layers."""
        seen, self._seen = self._seen, {}
        return seen

    def _noting(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, inputs: Any, outputs: Any) -> None:
            tensor = next((leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)), None)
            if tensor is not None:
                self._latest = name
                self._seen.pop(name, None)
                self._seen[name] = _statistics(module, tensor)

        return note

    def _note_activation(self, module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        if self._latest in self._seen:
            self._seen[self._latest] = _statistics(module, outputs)


@dataclass(frozen=True)
class Inspection:
    """What was measured of K lanes at a step that has still to be made.

    Attributes:
        flat: Their weights.
        before: `[K, P]`, a copy of them.
        weights: By layer the names of its weights, in the order in which samples go through the layers.
        losses: `[K]`, mean losses.
        seen: `[K, L, 3]`, what the probe saw.
        gradients: `[K, L]`, norms.
        shown: The only lane whose moment is told; None for all.
    """

    flat: FlatWeights
    before: Tensor
    weights: Mapping[str, Sequence[str]]
    losses: Tensor
    seen: Tensor
    gradients: Tensor
    shown: int | None = None

    def moments(self, epoch: int) -> list[Moment]:
        """Each lane's, once the step is made."""
        updates = _norms(self.flat.views(self.flat.weights - self.before), self.weights)
        sizes = _norms(self.flat.views(self.before), self.weights)
        table = torch.stack([self.gradients, sizes, updates], dim=2)
        lanes = torch.cat([table, self.seen], dim=2).tolist()
        found = [
            Moment(
                epoch,
                finite(loss),
                tuple(Layer(name, *map(finite, row)) for name, row in zip(self.weights, lane, strict=True)),
            )
            for loss, lane in zip(self.losses.tolist(), lanes, strict=True)
        ]
        return found if self.shown is None else [found[self.shown]]


def inspection(
    probe: Probe, flat: FlatWeights, losses: Tensor, seen: Mapping[str, Tensor], gradients: Sequence[Tensor | None]
) -> Inspection:
    """Brings together what was measured.

    Args:
        probe: Which layers there are.
        flat: The weights of K lanes.
        losses: `[K]`, mean losses.
        seen: By layer `[K, 3]`.
        gradients: Of each parameter in `flat`, `[K, *shape]`; None for zero.
    """
    with torch.no_grad():
        named = {
            name: torch.zeros_like(view) if gradient is None else gradient
            for (name, view), gradient in zip(flat.views(flat.weights).items(), gradients, strict=True)
        }
        weights = {name: probe.weights[name] for name in seen}
        table = torch.stack([seen[name] for name in weights], dim=1).to(flat.weights.dtype)
        return Inspection(flat, flat.weights.clone(), weights, losses.detach(), table, _norms(named, weights))


_KINDS = tuple(kind for kind in ACTIVATIONS.values() if isinstance(kind, type))


def _statistics(module: nn.Module, outputs: Tensor) -> Tensor:
    with torch.no_grad():
        values = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
        dead = saturated = torch.full_like(values.sum(), math.nan)
        if isinstance(module, nn.ReLU):
            units = 1 if values.dim() > 3 else values.dim() - 1
            dims = [dim for dim in range(values.dim()) if dim != units]
            dead = (values.amax(dims) == 0).to(values.dtype).mean()
        elif isinstance(module, nn.Sigmoid | nn.Tanh):
            from_limit = 0.5 - (values - 0.5).abs() if isinstance(module, nn.Sigmoid) else 1 - values.abs()
            saturated = (from_limit < NEAR).to(values.dtype).mean()
        return torch.stack([values.square().mean().sqrt(), dead, saturated])


def _norms(named: Mapping[str, Tensor], weights: Mapping[str, Sequence[str]]) -> Tensor:
    """`[K, L]`, the Euclidean norms of what belongs to the weights of each layer."""
    squares = [
        torch.stack([torch.linalg.vector_norm(named[name].flatten(1), dim=1) for name in names])
        for names in weights.values()
    ]
    return torch.stack([torch.linalg.vector_norm(each, dim=0) for each in squares], dim=1)


def finite(number: float) -> float | None:
    """The number; None if it is not finite."""
    return number if math.isfinite(number) else None

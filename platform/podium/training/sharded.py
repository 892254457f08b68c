"""Training: trials whose weights, gradients and optimizer state are shared out over ranks, for networks too large.

Source: Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel", 2023, arXiv:2304.11277; here
in its second form, torch's `fully_shard`. Checkpoints hold whole tensors, as those of any other trial.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from podium.data.manifest import Schema
from podium.errors import SpecError
from podium.spec.sweep import Components, SweepSpec
from podium.sweep.messages import Lane
from podium.training.flat import lay_out
from podium.training.live import Gathered, LiveTrial
from podium.training.ranks import Ranks
from podium.training.samples import Samples
from podium.training.task import Task
from podium.training.toolbox.optimizers import make_optimizer

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class ShardedTrial(LiveTrial):
    """A trial of which each rank holds a part of every parameter: its share of the rows.

    Args:
        spec: The sweep.
        task: The task.
        schema: What a sample looks like.
        lane: The trial's number, parameters and seed; it starts from the beginning.
        device: Where it is trained; the whole network has room in the host's memory.
        ranks: Those that train it together.
        class_counts: Samples or pixels of each class in the train split; empty for numbers.
    """

    is_sharded = True

    def __init__(
        self,
        spec: SweepSpec,
        task: Task,
        schema: Schema,
        lane: Lane,
        device: torch.device,
        ranks: Ranks,
        class_counts: Sequence[int] = (),
    ) -> None:
        super().__init__(spec, task, schema, lane, torch.device("cpu"), class_counts)
        _refuse_whole(self.settings)
        self.device, self._ranks = device, ranks
        self.gathered = Gathered(task, device)
        nothing, self._length = self.flat.weights.new_zeros(1, 0), self.flat.weights.shape[1]
        self._whole = replace(self.flat, weights=nothing, gradients=nothing, penalized=nothing[0])
        self._by_name = self._shard()
        self.flat = lay_out({name: _local(value) for name, value in self._by_name.items()})
        self.optimizer = make_optimizer(self.settings.optimizer, self.flat)

    @property
    def count(self) -> int:
        """Number of trainable parameters, of all ranks together."""
        return self._whole.count

    def parts(self, samples: Samples) -> Sequence[Samples]:
        """As many parts of a batch on each rank, since all have to push theirs through together."""
        parts = list(super().parts(samples))
        if self.compute.microbatch is not None:
            stands_in = samples.first_alone()
            parts += [stands_in] * (round(self._ranks.largest(len(parts))) - len(parts))
        return parts

    def collect_gradients(self) -> None:
        """Brings what backward left, the means over ranks of the gradients of their sums, to `flat`, as sums."""
        for name, view in self.flat.views(self.flat.gradients).items():
            parameter = self._by_name[name]
            if parameter.grad is not None:
                view[0].copy_(_local(parameter.grad)).mul_(self._ranks.count)
                parameter.grad = None

    def gradient_norms(self) -> Tensor:
        """`[1, 1]`, the Euclidean norm of all gradients."""
        squares = super().gradient_norms().square()
        self._ranks.total([squares])
        return squares.sqrt()

    def spread_weights(self) -> None:
        """Brings the weights of `flat` to the network."""
        for name, view in self.flat.views(self.flat.weights).items():
            _local(self._by_name[name]).copy_(view[0])

    def is_finite(self) -> bool:
        """Whether all weights of all ranks are finite."""
        return self._ranks.largest(0.0 if super().is_finite() else 1.0) == 0.0

    def tensors(self) -> dict[str, Tensor]:
        """Everything in whole tensors, by name, in the host's memory; all ranks have to ask."""
        return {name: self._gather(value) if _is_flat(name) else value.cpu() for name, value in self._tensors().items()}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Takes over this rank's part of what `tensors` and `state` gave."""
        own = {name: self._part(value) if _is_flat(name) else value for name, value in tensors.items()}
        super().restore(own, state)
        self.spread_weights()

    def _shard(self) -> dict[str, Any]:
        """Leaves each rank its rows of every parameter; gives the parameters by name."""
        for parameter in self.network.parameters():
            parameter.data, parameter.grad = parameter.data.clone(), None
        frozen = {value for value in self.network.parameters() if not value.requires_grad}
        mesh = init_device_mesh(self.device.type, (self._ranks.count,))
        for block in _blocks(self.network):
            fully_shard(block, mesh=mesh, ignored_params=frozen)
        fully_shard(self.network, mesh=mesh, ignored_params=frozen)
        self.network.to(self.device)
        return {name: value for name, value in self.network.named_parameters() if value.requires_grad}

    def _gather(self, flat: Tensor) -> Tensor:
        """`[1, P]` of the whole network, from every rank's own."""
        whole = torch.zeros(1, self._length, dtype=flat.dtype)
        targets = self._whole.views(whole)
        for name, view in self.flat.views(flat).items():
            target = targets[name][0]
            rows = -(-len(target) // self._ranks.count)
            own = flat.new_zeros(rows, *target.shape[1:])
            own[: len(view[0])] = view[0]
            found = [torch.empty_like(own) for _ in range(self._ranks.count)]
            dist.all_gather(found, own)
            target.copy_(torch.cat(found)[: len(target)])
        return whole

    def _part(self, whole: Tensor) -> Tensor:
        """This rank's own, from `[1, P]` of the whole network."""
        flat = torch.zeros_like(self.flat.weights, dtype=whole.dtype)
        sources = self._whole.views(whole)
        for name, view in self.flat.views(flat).items():
            source = sources[name][0]
            first = min(self._ranks.rank * -(-len(source) // self._ranks.count), len(source))
            view[0].copy_(source[first : first + len(view[0])])
        return flat


def _refuse_whole(settings: Components) -> None:
    """Refuses what needs whole parameters, of which each rank has a part.

    Raises:
        SpecError: naming the setting.
    """
    if settings.optimizer.kind == "lamb":
        raise SpecError(
            "is lamb, which needs the norm of each whole parameter, and each rank has a part of it; take adamw or "
            "lion, or resources.strategy: replicated",
            key="optimizer.kind",
        )
    if settings.initializer.scheme == "lsuv":
        raise SpecError(
            "is lsuv, which pushes a batch through the whole network, and each rank has a part of it; take orthogonal, "
            "or resources.strategy: replicated",
            key="initializer.scheme",
        )


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The parts of a network that are gathered one after the other."""
    for child in module.children():
        if isinstance(child, CONTAINERS):
            yield from _blocks(child)
        elif any(True for _ in child.parameters()):
            yield child


def _local(value: Any) -> Tensor:
    local: Tensor = value.to_local() if isinstance(value, DTensor) else value
    return local.detach()


def _is_flat(name: str) -> bool:
    return name in ("weights", "best.weights") or name.startswith("optimizer.")

"""Training: whether trials can be trained as one stack, found out before they are."""

import itertools
import linecache
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from podium.training.lanes import Stack
from podium.training.live import LiveTrial
from podium.training.plain import products_in, weighted_sum
from podium.training.samples import Samples
from podium.training.toolbox.chance import Chance, begin_epoch, begin_step

OURS = ("/torch/", "/podium/")
"""Parts of paths whose frames say nothing to a user about the user's own code."""

LIKE = {"float32": 1e-3, "float64": 1e-8, "bfloat16": 3e-2}
"""How far losses of the two ways may lie apart, by what they are computed in."""


@dataclass(frozen=True)
class Stackable:
    """What a trial step has found.

    Attributes:
        reason: Why the trials have to be trained plainly; empty if they can be stacked.
        metrics: Whether the task's metrics can be gathered for all lanes at once.
    """

    reason: str = ""
    metrics: bool = True


def examine(lives: Sequence[LiveTrial], samples: Samples, in_epoch: int, steps: int) -> Stackable:
    """Makes a step of a stack without taking it, on a real batch, and compares it with each trial's own."""
    places = lives[0].flat.places
    for live in lives[1:]:
        reason = difference(lives[0].network, live.network)
        if reason or live.flat.places != places:
            return Stackable(reason or "the networks differ in the shapes of their parameters")
    problem: Exception | None = None
    for stacks_metrics in (True, False):
        try:
            found = _rehearse(lives, samples, in_epoch, steps, stacks_metrics=stacks_metrics)
            return Stackable(_compare(lives, samples, *found), stacks_metrics)
        except Exception as error:  # a user's own code may raise anything
            problem = error
    assert problem is not None
    return Stackable(_told(problem))


def difference(one: nn.Module, other: nn.Module) -> str:
    """What two networks differ in beside their tensors and dropout rates, in words; empty if in nothing."""
    modules = itertools.zip_longest(one.named_modules(), other.named_modules(), fillvalue=("", None))
    for (name, mine), (other_name, theirs) in modules:
        if name != other_name or type(mine) is not type(theirs):
            return f"the networks differ in their modules, from {name or other_name!r} on"
        own, others = _attributes(mine), _attributes(theirs)
        for key in own.keys() | others.keys():
            if key not in own or key not in others or not _equal(own[key], others[key]):
                return f"the networks differ in {name + '.' if name else ''}{key}, which is no tensor of theirs"
    return ""


def _rehearse(
    lives: Sequence[LiveTrial], samples: Samples, in_epoch: int, steps: int, *, stacks_metrics: bool
) -> tuple[Tensor, dict[str, Tensor]]:
    stack = Stack(lives, stacks_metrics)
    stack.begin_epoch(in_epoch, steps)
    return stack.rehearse(samples)


def _compare(lives: Sequence[LiveTrial], samples: Samples, losses: Tensor, fixed: Mapping[str, Tensor]) -> str:
    for lane, live in enumerate(lives):
        buffers = {name: value.clone() for name, value in live.network.named_buffers()}
        live.network.train()
        begin_epoch(live.chance, live.seed, live.epoch)
        buffers |= {f"{site}.key": module.key for site, module in live.chance}
        begin_step(live.chance, samples.positions)
        batch = live.batch(samples)
        with torch.no_grad(), products_in(live.compute, live.device):
            total, _ = weighted_sum(
                live.task, functional_call(live.network, buffers, batch.arguments(live.network)), batch
            )
        near = LIKE[live.compute.precision if total.dtype is not torch.float64 else "float64"]
        if not torch.isclose(total.double(), losses[lane], rtol=near, atol=near, equal_nan=True):
            return f"a trial step gave a loss of {float(losses[lane]):g} in a stack, and {float(total):g} alone"
        for name, value in buffers.items():
            if not name.endswith(".key") and not _near(value, fixed[name][lane], near):
                return f"a trial step left {name} different in a stack than alone"
    return ""


def _near(one: Tensor, other: Tensor, near: float) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=near, atol=near, equal_nan=True)


def _attributes(module: nn.Module | None) -> dict[str, Any]:
    """What a module holds beside tensors and modules."""
    left_out = {*vars(nn.Module()), *(("rate", "is_active", "positions") if isinstance(module, Chance) else ())}
    is_torchs = type(module).__module__.startswith("torch.")
    return {
        name: value
        for name, value in vars(module).items()
        if name not in left_out and not (is_torchs and name.startswith("_"))
    }


def _equal(one: Any, other: Any) -> bool:
    """Whether two attributes are surely the same; what cannot be told is not."""
    if one is other:
        return True
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    if isinstance(one, FunctionType) and isinstance(other, FunctionType):
        cells = [[cell.cell_contents for cell in each.__closure__ or ()] for each in (one, other)]
        return one.__code__ == other.__code__ and bool(cells[0] == cells[1])
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # a user's own comparison may raise anything
        return False


def _told(error: Exception) -> str:
    """What cannot be stacked, where the user's code does it, and what torch says."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not any(o in frame.filename for o in OURS)
    ]
    where = ""
    if frames:
        last = frames[-1]
        line = linecache.getline(last.filename, last.lineno or 0).strip()
        where = f"{last.filename.rpartition('/')[2]}:{last.lineno}, `{line}`: "
    return f"{where}{str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}"

"""Training: the plain case, one trial trained by itself; and what a step of it and of a stack have in common."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from podium.errors import TaskError
from podium.spec.sweep import ComputeSettings
from podium.training.artifacts import Log
from podium.training.live import Gathered, LiveTrial
from podium.training.probe import Inspection, Probe, inspection
from podium.training.ranks import ALONE, Ranks
from podium.training.samples import Samples
from podium.training.task import Batch, Task
from podium.training.toolbox.chance import begin_epoch, begin_step
from podium.training.toolbox.penalties import add_penalties, clip
from podium.training.toolbox.schedules import factor

VARIANTS = 1024
"""How many structures a worker compiles at most, each for training and for evaluation, whole and last batches."""


class Plain:
    """Trains one trial without a stack.

    Args:
        live: The trial.
        ranks: Those that train it together.

    Attributes:
        lives: The one trial.
    """

    def __init__(self, live: LiveTrial, ranks: Ranks = ALONE) -> None:
        self.lives = (live,)
        self._live, self._ranks = live, ranks
        self._network = _compiled(live.network) if live.compute.compile else live.network
        self._validation = Gathered(live.task, live.device)

    def begin_epoch(self, in_epoch: int, steps: int) -> None:
        """An epoch of `in_epoch` steps begins or goes on; `epochs.max` epochs have `steps`."""
        self._steps, self._before = steps, self._live.epoch * in_epoch
        self._live.network.train()
        begin_epoch(self._live.chance, self._live.seed, self._live.epoch)

    def step(self, samples: Samples) -> None:
        """One step: forward, backward, penalties, clipping, the optimizer."""
        live, settings, flat = self._live, self._live.settings, self._live.flat
        parts, step = live.parts(samples), self._before + live.step
        is_whole = len(parts) == self._ranks.count == 1
        flat.gradients.zero_()
        weights = [self._backward(part, is_whole=is_whole) for part in parts]
        with torch.no_grad():
            live.collect_gradients()
            if not is_whole:
                over_all = torch.as_tensor(sum(weights), device=live.device).view(1)
                self._ranks.average(flat.gradients, over_all, are_summed=live.is_sharded)
            add_penalties(flat, settings.penalty.l1, settings.penalty.l2)
            if settings.optimizer.clip is not None:
                clip(flat.gradients, settings.optimizer.clip, live.gradient_norms())
            rate = settings.optimizer.learning_rate * factor(settings.schedule, step, self._steps, live.record.drops)
            live.optimizer.step(flat.weights, flat.gradients, rate, step + 1)
            live.spread_weights()

    def _backward(self, samples: Samples, *, is_whole: bool) -> Tensor | int:
        """Adds the gradients of the mean loss to those there are, or of its sum; gives the sum of weights."""
        live = self._live
        begin_step(live.chance, samples.positions)
        for norm in live.shared_norms:
            norm.counts = not samples.stands_in
        batch = live.batch(samples)
        with products_in(live.compute, live.device):
            outputs = self._network(*batch.arguments(live.network))
            total, weight = weighted_sum(live.task, outputs, batch)
        if samples.stands_in:
            (total * 0.0).backward()  # type: ignore[no-untyped-call]
            return 0
        (mean_of(total, weight) if is_whole else total).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            live.gathered.add(total, weight, outputs, batch)
        return weight

    def inspect(self, samples: Samples) -> Inspection:
        """Looks inside the network, layer by layer, and changes nothing of the trial."""
        live = self._live
        probe, batch = Probe(live.network, live.flat), live.batch(samples)
        weights = dict(live.network.named_parameters())
        buffers = {name: value.clone() for name, value in live.network.named_buffers()}
        with probe.watching(), products_in(live.compute, live.device):
            outputs = functional_call(live.network, buffers, batch.arguments(live.network))
            total, weight = weighted_sum(live.task, outputs, batch)
        loss = mean_of(total, weight).view(1)
        gradients = torch.autograd.grad(loss, [weights[name] for name in live.flat.places], allow_unused=True)
        seen = {name: each.unsqueeze(0) for name, each in probe.take().items()}
        return inspection(probe, live.flat, loss, seen, [None if each is None else each[None] for each in gradients])

    def collect(self) -> None:
        """Nothing is kept outside of the trial."""

    def settle(self) -> None:
        """Nothing is kept outside of the trial."""

    def begin_validation(self) -> None:
        """Validation begins."""
        self._live.network.eval()
        self._validation = Gathered(self._live.task, self._live.device)

    def validate(self, samples: Samples, logs: Sequence[Log]) -> None:
        """Takes in one batch; the task may log with it, one log a trial, if there are any. Gradients have to be off."""
        live = self._live
        for number, part in enumerate(live.parts(samples)):
            if live.is_sharded or not part.stands_in:
                self._validate(part, logs if number == 0 else ())

    def _validate(self, samples: Samples, logs: Sequence[Log]) -> None:
        live, batch = self._live, self._live.batch(samples)
        with products_in(live.compute, live.device):
            outputs = self._network(*batch.arguments(live.network))
            total, weight = weighted_sum(live.task, outputs, batch)
        if samples.stands_in:
            return
        self._validation.add(total, weight, outputs, batch)
        for log in logs:
            live.task.log(log, outputs, batch)

    def end_validation(self) -> list[Gathered]:
        """What was gathered for each trial."""
        return [self._validation]

    def are_finite(self) -> list[bool]:
        """Whether each trial's weights are all finite."""
        return [self._live.is_finite()]


def _compiled(network: nn.Module) -> Callable[..., Any]:
    # beyond its limit, which 8 structures reach, torch would quietly compile no more
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = VARIANTS
    compiled: Callable[..., Any] = torch.compile(network)
    return compiled


def products_in(compute: ComputeSettings, device: torch.device) -> AbstractContextManager[Any]:
    """What a network and its losses are computed in while the block lasts."""
    if compute.precision == "float32":
        return nullcontext()
    # within vmap there is nothing to keep between two layers
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


def weighted_sum(task: Task, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor | int]:
    """The sum of weighted losses over a batch, and the sum of weights: the loop owns the reduction.

    Where other samples were mixed in, the losses for both targets are, too, by the same shares.

    Raises:
        TaskError: if the losses have another shape than the task promises.
    """
    if batch.mixed_in is None or batch.share is None:
        return _summed(task, outputs, batch)
    own = _summed(task, outputs, batch, batch.share.double())
    other = _summed(task, outputs, replace(batch, targets=batch.mixed_in), 1 - batch.share.double())
    return own[0] + other[0], own[1] + other[1]


def mean_of(total: Tensor, weight: Tensor | int) -> Tensor:
    """A sum by the sum of weights; 0 where nothing counts, such as in a batch of classes that are ignored."""
    return total / weight if isinstance(weight, int) else total / torch.where(weight == 0, 1, weight)


def _summed(task: Task, outputs: Any, batch: Batch, share: Tensor | None = None) -> tuple[Tensor, Tensor | int]:
    """With the weights multiplied by a share, `[B]` float64, if there is one."""
    losses = task.losses(outputs, batch)
    size = len(batch.inputs)
    if task.batch_loss:
        if not isinstance(losses, Tensor) or losses.dim() != 0:
            raise TaskError(
                f"{type(task).__name__} says batch_loss, so `losses` has to return one number: {_shape(losses)}"
            )
        return losses * size, size
    losses, weights = losses if isinstance(losses, tuple) else (losses, None)
    for given in (losses, weights):
        if given is not None and (not isinstance(given, Tensor) or given.shape != (size,)):
            raise TaskError(
                f"{type(task).__name__}.losses has to return one loss a sample, shape ({size},): {_shape(given)}. "
                "A loss that does not add up over samples says `batch_loss = True`"
            )
    if share is not None:
        share = share.to(losses.dtype)
        weights = share if weights is None else weights * share
    if weights is None:
        return losses.sum(), size
    return (losses * weights).sum(), weights.sum()


def _shape(given: object) -> str:
    return (
        f"it returned shape {tuple(given.shape)}"
        if isinstance(given, Tensor)
        else f"it returned {type(given).__name__}"
    )

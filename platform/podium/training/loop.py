"""Training: the loop. Epochs, batches, steps, validation, early stopping, in the order they happen."""

import math
import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch import Tensor

from podium.data import reader as data
from podium.data.reader import Reader
from podium.errors import TaskError
from podium.spec.sweep import SweepSpec
from podium.training.artifacts import Log
from podium.training.live import Gathered, LiveTrial
from podium.training.task import Batch, Task
from podium.training.toolbox.dropout import begin_epoch, begin_step
from podium.training.toolbox.penalties import add_penalties, clip
from podium.training.toolbox.schedules import factor

Ending = Literal["until", "patience", "diverged", "halted"]

VALIDATION_BATCH = 256
"""Samples of a validation batch at least; the trial's own batch size if that is larger."""


def train(
    live: LiveTrial,
    spec: SweepSpec,
    reader: Reader,
    until: int,
    log: Log,
    after_step: Callable[[LiveTrial], bool],
    after_epoch: Callable[[LiveTrial], None],
) -> tuple[Ending, str]:
    """Trains until an absolute epoch, or until the trial ends by itself.

    Args:
        live: The trial; changed in place.
        spec: The sweep.
        reader: The data.
        until: Whole epochs to reach.
        log: What the task logs with.
        after_step: Told after every step but the last of the advance; true halts.
        after_epoch: Told after every epoch, with `live.metrics` made.

    Returns:
        How it ended, and the reason in words where that says more.
    """
    while True:
        if live.record.is_out_of(live.settings.stopping.patience):
            return "patience", f"no improvement in {live.record.stale} epochs"
        if live.epoch >= until:
            return "until", ""
        if not _train_epoch(live, spec, reader, after_step):
            return "halted", ""
        problem = _finish_epoch(live, spec, reader, log)
        after_epoch(live)
        if problem:
            return "diverged", problem
        if live.epoch < until and not live.record.is_out_of(live.settings.stopping.patience) and after_step(live):
            return "halted", ""


def train_step(live: LiveTrial, samples: data.Batch, steps: int, step: int) -> None:
    """One step: forward, backward, penalties, clipping, the optimizer.

    Args:
        live: The trial; changed in place.
        samples: The batch.
        steps: Steps in `epochs.max` epochs.
        step: The absolute step, from 0.
    """
    batch = to_device(samples, live)
    if live.dropout:
        begin_step(live.dropout, torch.from_numpy(samples.positions).to(live.device, non_blocking=True))
    outputs = live.network(batch.inputs)
    total, weight = weighted_sum(live.task, outputs, batch)
    live.flat.gradients.zero_()
    (total / weight).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        gather(live.gathered, total, weight, outputs, batch)
        settings, flat = live.settings, live.flat
        if settings.penalty.l1 or settings.penalty.l2:
            add_penalties(flat, settings.penalty.l1, settings.penalty.l2)
        if settings.optimizer.clip is not None:
            clip(flat.gradients, settings.optimizer.clip)
        rate = settings.optimizer.learning_rate * factor(settings.schedule, step, steps)
        live.optimizer.step(flat.weights, flat.gradients, rate, step + 1)


def weighted_sum(task: Task, outputs: Any, batch: Batch) -> tuple[Tensor, Tensor | int]:
    """The sum of weighted losses over a batch, and the sum of weights: the loop owns the reduction.

    Raises:
        TaskError: if the losses have another shape than the task promises.
    """
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
    if weights is None:
        return losses.sum(), size
    return (losses * weights).sum(), weights.sum()


def gather(gathered: Gathered, total: Tensor, weight: Tensor | int, outputs: Any, batch: Batch) -> None:
    """Adds a batch to the sums of a pass; gradients have to be off."""
    gathered.loss += total
    gathered.weight += weight
    for metric in gathered.metrics.values():
        metric.update(outputs, batch)


def to_device(samples: data.Batch, live: LiveTrial) -> Batch:
    """The batch as tensors, where the network is."""
    inputs = torch.from_numpy(samples.inputs).to(live.device, non_blocking=True)
    return Batch(inputs, torch.from_numpy(samples.targets).to(live.device, non_blocking=True), live.values)


def _train_epoch(live: LiveTrial, spec: SweepSpec, reader: Reader, after_step: Callable[[LiveTrial], bool]) -> bool:
    """Trains to the end of the epoch; False if halted before."""
    assert spec.data is not None
    in_epoch = reader.steps("train", live.batch_size)
    steps = in_epoch * spec.budget.epochs.max
    batches: Iterable[data.Batch] = reader.epoch(
        "train", batch_size=live.batch_size, seed=spec.data.seed, epoch=live.epoch, start_step=live.step
    )
    live.network.train()
    begin_epoch(live.dropout, live.seed, live.epoch)
    began, seen = time.perf_counter(), 0
    for samples in batches:
        train_step(live, samples, steps, live.epoch * in_epoch + live.step)
        live.step, live.folder = live.step + 1, ""
        seen += len(samples.positions)
        if live.step < in_epoch and after_step(live):
            return False
    live.samples_per_s = seen / (time.perf_counter() - began)
    return True


def _finish_epoch(live: LiveTrial, spec: SweepSpec, reader: Reader, log: Log) -> str:
    """Validates, and decides whether the epoch is the best; returns why the trial diverged, if it did."""
    live.epoch, live.step = live.epoch + 1, 0
    live.metrics = live.gathered.compute("train") | {"train/samples_per_s": live.samples_per_s}
    live.metrics |= _validate(live, reader, log)
    live.metrics |= log.take_metrics()
    live.gathered = Gathered(live.task, live.device)
    objectives = spec.search.objectives
    values = tuple(live.metrics[objective.metric] for objective in objectives)
    if not (bool(torch.isfinite(live.flat.weights).all()) and math.isfinite(live.metrics["train/loss"])):
        return f"the train loss or a weight is not finite in epoch {live.epoch}"
    if not all(math.isfinite(value) for value in values):
        return f"the objective is not finite in epoch {live.epoch}"
    counts = live.record.note(live.epoch, values, objectives[0], live.settings.stopping.min_delta)
    if counts and objectives[0].at == "best":
        live.keep_best()
    return ""


def _validate(live: LiveTrial, reader: Reader, log: Log) -> dict[str, float]:
    gathered = Gathered(live.task, live.device)
    live.network.eval()
    with torch.no_grad():
        for number, samples in enumerate(reader.sequential("validation", max(VALIDATION_BATCH, live.batch_size))):
            batch = to_device(samples, live)
            outputs = live.network(batch.inputs)
            gather(gathered, *weighted_sum(live.task, outputs, batch), outputs, batch)
            if number == 0:
                live.task.log(log, outputs, batch)
    return gathered.compute("validation")


def _shape(given: object) -> str:
    return (
        f"it returned shape {tuple(given.shape)}"
        if isinstance(given, Tensor)
        else f"it returned {type(given).__name__}"
    )

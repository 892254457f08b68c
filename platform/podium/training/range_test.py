"""Training: the learning-rate range test, which trains a trial for some steps at rates that rise exponentially.

Source: Smith, "Cyclical learning rates for training neural networks", 2015, arXiv:1506.01186, with exponential instead
of linear steps.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from podium.data.reader import Batch, Reader
from podium.errors import SpecError, TaskError
from podium.spec.components import ScheduleSettings
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane
from podium.training.live import Gathered, LiveTrial
from podium.training.plain import Plain
from podium.training.task import Task
from podium.training.task_trainer import training_device
from podium.training.trainer import load_task

SMOOTHING = 0.9
"""What is left of the mean of the losses before, at each step."""

DIVERGED = 4.0
"""The test ends once the smoothed loss is so many times the smallest one."""

BELOW_DIVERGENCE = 10.0
"""A rate is suggested that is smaller by this factor at least than the one at which the loss had left its minimum."""

SKIPPED = 20
"""First steps whose slope is not looked at: there is too little to smooth yet."""

REACH = 3
"""A slope is taken over so many steps either way."""


@dataclass(frozen=True)
class RangeTest:
    """How the loss went as the learning rate rose.

    Attributes:
        rates: The learning rate of each step.
        losses: The mean loss of each step's batch, before the step; none after one that is not finite.
        smoothed: Their exponential means, corrected for their beginning.
        steepest: The rate at which the smoothed loss fell fastest by the logarithm of the rate; None if it never fell.
        diverged: The rate from which on the smoothed loss was beyond all bounds; None if it never was.
        suggestion: `steepest`, but at most a tenth of `diverged`; None if there is nothing to go by.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float | None
    diverged: float | None
    suggestion: float | None


def range_test(
    spec: SweepSpec,
    *,
    code: Path | None,
    data: Path | None,
    parameters: Mapping[str, Value],
    rates: Sequence[float],
) -> RangeTest:
    """Trains one point of the space for a step at each rate, without a schedule, until its loss diverges.

    Args:
        spec: The sweep.
        code: The folder with the user's code; None for a built-in task.
        data: The folder with the prepared shards.
        parameters: The point.
        rates: Learning rates, rising.

    Raises:
        TaskError: for a training function, which has its own loop.
        SpecError: for a sweep without data, or parameters that make no network for them.
    """
    task = load_task(spec, code)
    if not isinstance(task, Task):
        raise TaskError(f"{spec.task} is a training function, which makes its steps itself; a range test needs a task")
    if data is None or spec.data is None:
        raise SpecError("is missing; a task needs data to train on", key="data")
    sampling, seed = spec.data.sampling, spec.data.seed
    spec = spec.model_copy(update={"compute": spec.compute.model_copy(update={"compile": False})})
    torch.set_num_threads(spec.resources.cpus)
    reader = Reader(data, sampling=sampling)
    lane = Lane(trial=0, parameters=dict(parameters), seed=0 if spec.seed is None else spec.seed)
    live = LiveTrial(spec, task, reader.schema, lane, training_device(spec))
    losses: list[float] = []
    for loss in _losses(live, reader, seed, rates):
        losses.append(loss)
        if not math.isfinite(loss) or _has_diverged(losses):
            break
    return judged(rates, losses)


def judged(rates: Sequence[float], losses: Sequence[float]) -> RangeTest:
    """What follows from the losses of a test; those after one that is not finite are left out."""
    finite = list(itertools.takewhile(math.isfinite, losses))
    smoothed, tried = _smoothed(finite), list(rates[: len(finite)])
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    diverged = None
    if len(finite) < len(losses):
        diverged = rates[len(finite)]
    elif _has_diverged(finite):
        diverged = tried[-1]
    slopes = {
        step: (smoothed[step + REACH] - smoothed[step - REACH]) / math.log(tried[step + REACH] / tried[step - REACH])
        for step in range(SKIPPED, min(lowest + 1, len(tried) - REACH))
    }
    best = min(slopes, key=slopes.__getitem__, default=None)
    steepest = None if best is None or slopes[best] >= 0 else tried[best]
    bounds = [steepest, None if diverged is None else diverged / BELOW_DIVERGENCE]
    suggestion = None if steepest is None else min(bound for bound in bounds if bound is not None)
    return RangeTest(tuple(tried), tuple(finite), tuple(smoothed), steepest, diverged, suggestion)


def _losses(live: LiveTrial, reader: Reader, seed: int, rates: Sequence[float]) -> Iterator[float]:
    """The mean loss of each step's batch, before the step."""
    plain, in_epoch = Plain(live), reader.steps("train", live.batch_size)
    optimizer = live.settings.optimizer
    for rate, batch in zip(rates, _batches(live, plain, reader, seed, in_epoch, len(rates)), strict=False):
        own = {"optimizer": optimizer.model_copy(update={"learning_rate": rate}), "schedule": ScheduleSettings()}
        live.settings = live.settings.model_copy(update=own)
        live.gathered = Gathered(live.task, live.device)
        plain.step(live.train_samples(batch))
        live.step += 1
        yield float(live.gathered.loss / live.gathered.weight)


def _batches(live: LiveTrial, plain: Plain, reader: Reader, seed: int, in_epoch: int, steps: int) -> Iterator[Batch]:
    """Batch after batch, epoch after epoch, of which the trial is told."""
    has_partners = live.settings.augmentation.mixup > 0
    for epoch in itertools.count():
        live.epoch, live.step = epoch, 0
        plain.begin_epoch(in_epoch, steps)
        yield from reader.epoch("train", batch_size=live.batch_size, seed=seed, epoch=epoch, has_partners=has_partners)


def _smoothed(losses: Sequence[float]) -> list[float]:
    mean, smoothed = 0.0, list[float]()
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        smoothed.append(mean / (1 - SMOOTHING**step))
    return smoothed


def _has_diverged(losses: Sequence[float]) -> bool:
    smoothed = _smoothed(losses)
    return bool(smoothed) and smoothed[-1] > DIVERGED * min(smoothed)

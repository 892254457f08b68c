"""Training: what can be known before a sweep starts, by pushing one real batch through a network."""

import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from podium.data.reader import Batch, Reader
from podium.errors import SpecError, TaskError, UserError
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane
from podium.training.answers import require_answer
from podium.training.live import LiveTrial
from podium.training.plain import Plain
from podium.training.stackable import examine
from podium.training.task import Task
from podium.training.task_trainer import training_device
from podium.training.trainer import load_task

TIMED_STEPS = 3

CXX = "clang++" if sys.platform == "darwin" else "g++"
"""The compiler that torch takes unless the environment names another one."""


@dataclass(frozen=True)
class Measured:
    """One structure's cost.

    Attributes:
        parameters_count: Trainable parameters.
        step_s: Seconds of one training step, the reading of its batch left out.
        epoch_s: Seconds of an epoch of such steps, over all folds; validation comes on top.
        memory_bytes: Weights, gradients, optimizer state and the best epoch's copy of all folds, and what a step keeps
            for `backward`.
        obstacle: Why its trials have to be trained one by one; empty if they can be trained as a stack.
    """

    parameters_count: int
    step_s: float
    epoch_s: float
    memory_bytes: int
    obstacle: str = ""


def measure(
    spec: SweepSpec,
    *,
    code: Path | None,
    data: Path | None,
    parameters: Mapping[str, Value],
    mate: Mapping[str, Value] | None = None,
) -> Measured:
    """Builds the network of one point and trains it for some steps on the first batch, with the sweep's threads.

    Args:
        spec: The sweep.
        code: The folder with the user's code; None for a built-in task.
        data: The folder with the prepared shards.
        parameters: The point.
        mate: Another point of its signature, to find out whether the two can be trained as a stack.

    Raises:
        TaskError: if the user's code fails, with what it raised, or is a training function, which has no network.
        SpecError: if these parameters make no network for these data.
    """
    task = load_task(spec, code)
    if not isinstance(task, Task):
        raise TaskError(f"{spec.task} is a training function; only a task has a network to measure")
    if data is None or spec.data is None:
        raise SpecError("is missing; a task needs data to train on", key="data")
    reader, seed = Reader(data, sampling=spec.data.sampling, trained_on=spec.data.train_on), spec.data.seed
    require_answer(spec.postprocessing, task, reader.schema)
    lane = Lane(trial=0, parameters=dict(parameters), seed=0)
    is_compiled = spec.compute.compile
    if is_compiled and training_device(spec).type == "cpu" and shutil.which(os.environ.get("CXX", CXX)) is None:
        raise SpecError(
            f"is on, and torch.compile needs a C++ compiler for CPUs, which is not on the PATH as {CXX}; install one, "
            "name it in CXX, or leave it out",
            key="compute.compile",
        )
    spec = spec.model_copy(update={"compute": spec.compute.model_copy(update={"compile": False})})
    torch.set_num_threads(spec.resources.cpus)
    try:
        live = LiveTrial(spec, task, reader.schema, lane, training_device(spec), reader.class_counts)
        for split in ("train", "validation"):
            for _, targets in reader.stored(split):
                task.check_targets(targets)
        reader = reader.subset(live.data_share, seed)
        samples = next(iter(reader.epoch("train", batch_size=live.batch_size, seed=seed, epoch=0)))
        steps = reader.steps("train", live.batch_size)
        kept = _Kept(live.flat.weights)
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
            plain = Plain(live)
            plain.begin_epoch(steps, steps * spec.budget.epochs.max)
            plain.step(live.train_samples(samples).parts(spec.compute.microbatch)[0])
        step_s = statistics.median(_timed(plain, samples))
        obstacle = "compute.compile is on, and compiled networks are not stacked" if is_compiled else ""
        if mate is not None and not is_compiled:
            other = Lane(trial=1, parameters=dict(mate), seed=1)
            pair = [
                LiveTrial(spec, task, reader.schema, each, live.device, reader.class_counts) for each in (lane, other)
            ]
            on_device = live.train_samples(samples).parts(spec.compute.microbatch)[0]
            obstacle = examine(pair, on_device, steps, steps * spec.budget.epochs.max).reason
        live.prepare_norms(spec.resources.most_ranks)
    except UserError:
        raise
    except Exception as error:
        shown = ", ".join(f"{key}={value}" for key, value in parameters.items()) or "the fixed settings"
        raise TaskError(
            f"{spec.task} failed on its first batch with {shown}: {type(error).__name__}: {error}"
        ) from error
    held = {**live.tensors(), "gradients": live.flat.gradients}
    copies = sum(value.numel() * value.element_size() for value in held.values())
    best = live.flat.weights.numel() * live.flat.weights.element_size()
    folds = [reader.fold(fold).subset(live.data_share, seed) for fold in range(reader.num_folds)]
    epoch_s = step_s * sum(fold.steps("train", live.batch_size) for fold in folds)
    return Measured(live.count, step_s, epoch_s, (copies + best) * len(folds) + kept.bytes, obstacle)


def _timed(plain: Plain, samples: Batch) -> Iterator[float]:
    """Seconds of each of a few steps; the one before them, not timed here, has paid for what is done once."""
    (live,) = plain.lives
    for _ in range(TIMED_STEPS):
        live.step += 1
        began = time.perf_counter()
        plain.step(live.train_samples(samples))
        if live.device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - began


class _Kept:
    """Adds up the memory that a forward pass keeps for `backward`; a storage counts once, the weights' not at all."""

    def __init__(self, weights: Tensor) -> None:
        self._weights = weights.untyped_storage().data_ptr()
        self._sizes: dict[int, int] = {}

    @property
    def bytes(self) -> int:
        return sum(size for place, size in self._sizes.items() if place != self._weights)

    def pack(self, tensor: Tensor) -> Any:
        storage = tensor.untyped_storage()
        self._sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

"""Training: advances of a task, with the checkpoints before and after."""

import time
from collections import OrderedDict
from collections.abc import Callable

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from podium.data.manifest import Schema
from podium.data.reader import Reader
from podium.errors import CheckpointError
from podium.spec import constraints
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Event, Lane, LaneProgress, Progress, Report, Saved
from podium.training.artifacts import Log, artifact_folder
from podium.training.checkpoint import Checkpoints, Opened, reading
from podium.training.live import LiveTrial
from podium.training.loop import train
from podium.training.task import Task

CACHED = 4
"""Trials whose state stays in memory after their advance, in case they go on here."""

TENSORS = "state.safetensors"


class TaskTrainer:
    """Trains trials of a task, one advance after the other.

    Args:
        spec: The sweep.
        task: The task.
        reader: The data.
        store: Where checkpoints and artifacts go.
        holder: The driver's holder epoch.
        emit: Takes `Progress` after every epoch, and `Saved`.
        halted: Asked after every step.
    """

    def __init__(
        self,
        spec: SweepSpec,
        task: Task,
        reader: Reader,
        store: str,
        holder: int,
        emit: Callable[[Event], None],
        halted: Callable[[], bool],
    ) -> None:
        self._spec, self._task, self._reader = spec, task, reader
        self._store, self._holder = store, holder
        self._emit, self._halted = emit, halted
        self._device = training_device(spec)
        self._cache: OrderedDict[int, LiveTrial] = OrderedDict()
        self._limits = [each for each in map(constraints.parse, spec.search.constraints) if each.name == "parameters"]
        self._saved_at = 0.0

    def advance(self, command: Advance) -> tuple[Report, ...]:
        """Trains the one lane of `command`.

        Raises:
            TaskError: if the task does not keep its contract.
        """
        (lane,) = command.lanes
        began = self._saved_at = time.monotonic()
        live = self._cache.pop(lane.trial, None)
        if live is None or not _stands_at(live, lane):
            live = self._load(lane)
        size = {"parameters": float(live.flat.count)}
        nothing = (None,) * len(self._spec.search.objectives)
        for limit in self._limits:
            if limit.violation(size) > 0:
                reason = f"the network has {live.flat.count} parameters; the constraint is {limit}"
                return (
                    Report(trial=lane.trial, epoch=0, values=nothing, metrics=size, ending="infeasible", reason=reason),
                )
        ending, reason = train(
            live,
            self._spec,
            self._reader,
            command.until,
            Log(self._store, artifact_folder(self._spec.sweep, lane.trial)),
            self._after_step,
            lambda live: self._emit(_progress(command.gang, live)),
        )
        if ending in ("until", "patience"):
            self._save(live)
        if ending in ("until", "halted") and live.epoch < self._spec.budget.epochs.max:
            self._cache[lane.trial] = live
            while len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return (
            Report(
                trial=lane.trial,
                epoch=live.epoch,
                values=live.record.values or nothing,
                best_epoch=live.record.epoch,
                metrics={**live.metrics, **size},
                ending=ending,
                reason=reason,
                device_s=time.monotonic() - began,
            ),
        )

    def close(self) -> None:
        """Forgets what is in memory."""
        self._cache.clear()

    def _after_step(self, live: LiveTrial) -> bool:
        halted = self._halted()
        if halted or time.monotonic() - self._saved_at >= self._spec.checkpoints.every_s:
            self._save(live)
        return halted

    def _save(self, live: LiveTrial) -> None:
        self._saved_at = time.monotonic()
        if live.folder:
            return
        saved = save(self._checkpoints(live.trial), live)
        live.folder = saved.folder
        self._emit(saved)

    def _load(self, lane: Lane) -> LiveTrial:
        live = LiveTrial(self._spec, self._task, self._reader.schema, lane, self._device)
        with self._checkpoints(lane.trial).opening(lane.folder) as found:
            if found is not None:
                restore(live, found)
                live.folder = found.folder if found.folder == lane.folder else ""
        return live

    def _checkpoints(self, trial: int) -> Checkpoints:
        return Checkpoints(self._store, self._spec.sweep, trial, self._holder)


def save(checkpoints: Checkpoints, live: LiveTrial) -> Saved:
    """Writes a trial's state as a checkpoint.

    Raises:
        StorageFault: if the store cannot be written.
    """
    draft = checkpoints.draft()
    with draft.writing() as path:
        save_file({name: value.contiguous() for name, value in live.tensors().items()}, path / TENSORS)
    return draft.place(live.epoch, live.step, live.state())


def restore(live: LiveTrial, checkpoint: Opened) -> None:
    """Brings a trial to the state of a checkpoint.

    Raises:
        CheckpointError: if it is the checkpoint of another network.
    """
    tensors = load_file(checkpoint.path / TENSORS)
    for name, value in live.tensors().items():
        found = tuple(tensors[name].shape) if name in tensors else "no shape, as it is missing"
        if found != tuple(value.shape):
            raise CheckpointError(
                f"the checkpoint {checkpoint.folder} does not fit its network: {name!r} has {found} "
                f"there, and {tuple(value.shape)} here, so the code has changed. Launch under another name, or bring "
                "the code back"
            )
    with torch.no_grad():
        live.restore(tensors, checkpoint.state)


def load_best_network(spec: SweepSpec, task: Task, schema: Schema, store: str, lane: Lane) -> nn.Module:
    """The network of `lane.folder` with the weights of the trial's best epoch, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: if the checkpoint is damaged.
    """
    live = LiveTrial(spec, task, schema, lane, torch.device("cpu"))
    with reading(store, lane.folder) as found:
        restore(live, found)
    with torch.no_grad():
        return live.best_network()


def training_device(spec: SweepSpec) -> torch.device:
    """The GPU if the trial has one, else the CPU."""
    return torch.device("cuda" if spec.resources.gpus > 0 and torch.cuda.is_available() else "cpu")


def _progress(gang: str, live: LiveTrial) -> Progress:
    return Progress(gang=gang, lanes=(LaneProgress(trial=live.trial, epoch=live.epoch, metrics=live.metrics),))


def _stands_at(live: LiveTrial, lane: Lane) -> bool:
    """Whether the state in memory is exactly where the lane starts."""
    return (live.seed, live.parameters, live.epoch, live.step, live.folder) == (
        lane.seed,
        lane.parameters,
        lane.epoch,
        lane.step,
        lane.folder,
    )

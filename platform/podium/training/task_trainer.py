"""Training: advances of a task, with the checkpoints before and after."""

import gc
import sys
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Generic, Protocol, TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from podium.data.manifest import Schema
from podium.data.reader import Reader
from podium.errors import CheckpointError
from podium.spec import constraints
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.store import at_once
from podium.sweep.messages import Advance, Lane, LaneProgress, Progress, Report, Saved
from podium.sweep.trial import SCREENED
from podium.training.artifacts import Log, artifact_folder, keep_moments
from podium.training.checkpoint import Checkpoints, Opened, Storage, reading
from podium.training.diagnosis import screened
from podium.training.faults import is_out_of_memory
from podium.training.fusing import Fusing
from podium.training.live import Gathered, LiveTrial, is_too_large
from podium.training.loop import Ending, Loop, Outcome
from podium.training.pauses import Pauses
from podium.training.ranks import Ranks
from podium.training.repeating import RepeatingLoop
from podium.training.samples import to_device
from podium.training.seats import Seat
from podium.training.task import Task
from podium.training.toolbox.initializers import unit_variance
from podium.training.verdict import verdict
from podium.training.widths import Notes

CACHED = 4
"""Trials whose state stays in memory after their advance, in case they go on here; or as many as were in it."""

SAVING = 8
"""Checkpoints that are written at the same time."""

TENSORS = "state.safetensors"


class Kept(Protocol):
    """What of a trial is kept in memory and in checkpoints: `LiveTrial`, or several of them."""

    folder: str

    @property
    def trial(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def parameters(self) -> dict[str, Value]: ...  # noqa: D102
    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def step(self) -> int: ...  # noqa: D102
    def tensors(self) -> dict[str, torch.Tensor]: ...  # noqa: D102
    def state(self) -> dict[str, Any]: ...  # noqa: D102
    def restore(self, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None: ...  # noqa: D102


K = TypeVar("K", bound=Kept)


class TaskTrainer(ABC, Generic[K]):
    """Trains trials of a task, one advance after the other.

    Args:
        spec: The sweep.
        task: The task.
        reader: The data.
        storage: Where checkpoints and artifacts go.
        notes: What this host found out about stacks before.
        ranks: Those that train the trials together. The driver is told `Progress` after every epoch, `Saved`, and
            `Measured` where something new is known of a width.

    Attributes:
        pauses: What the last advance waited for.
    """

    def __init__(
        self,
        spec: SweepSpec,
        task: Task,
        reader: Reader,
        storage: Storage,
        notes: Notes,
        ranks: Ranks,
    ) -> None:
        self._spec, self._task, self._reader = spec, task, reader
        self._storage, self._ranks = storage, ranks
        self._device = training_device(spec)
        self._fusing = Fusing(spec, reader, notes, ranks)
        self._cache: OrderedDict[int, K] = OrderedDict()
        self.pauses = Pauses()
        self._limits = [each for each in map(constraints.parse, spec.search.constraints) if each.name == "parameters"]

    def advance(self, command: Advance) -> tuple[Report, ...]:
        """Trains the lanes of `command`, in stacks as wide as is best here.

        Where memory runs out, they start again: without the other trials that are kept in it, then in stacks half as
        wide.

        Raises:
            TaskError: if the task does not keep its contract.
        """
        self.pauses = Pauses(data_s=0.0, checkpoint_s=0.0)
        while (reports := self._attempt(command)) is None:
            self._cache.clear()
            gc.collect()
            torch.cuda.empty_cache()
        return reports

    def sit(self, seat: Seat) -> None:
        """Trains with other ranks from now on.

        Raises:
            PodiumError: if not all of them come in time.
        """
        if self._may_shard:
            self._cache.clear()
        self._ranks.sit(seat)

    def leave(self) -> None:
        """Is alone from now on."""
        self._ranks.leave()

    def close(self) -> None:
        """Forgets what is in memory."""
        self._cache.clear()

    @abstractmethod
    def _attempt(self, command: Advance) -> tuple[Report, ...] | None:
        """Carries out the advance; None if memory was too small, so that it has to start again and need less."""

    @abstractmethod
    def _made(self, lane: Lane) -> K:
        """A trial before its first step."""

    @abstractmethod
    def _begin(self, live: K) -> None:
        """Finishes the initial weights of a trial by what it is trained on."""

    @abstractmethod
    def _prepare(self, live: K) -> None:
        """Readies a trial for the ranks that train it."""

    def _train(
        self,
        alike: Sequence[LiveTrial],
        until: int,
        reader: Reader,
        tell: Callable[[Sequence[LiveTrial]], None],
        save: Callable[[Sequence[LiveTrial]], None],
    ) -> Mapping[int, Outcome] | None:
        """Trains trials that stand at one step; None if memory was too small for it."""
        assert self._spec.data is not None
        reader = reader.subset(alike[0].data_share, self._spec.data.seed)
        race = self._fusing.race(alike)
        arguments, repeats = (alike, race, self._spec, reader, self._logs(alike), self._ranks, save), alike[0].repeat
        loop = RepeatingLoop(lambda lane: self._new(lane, reader), *arguments) if repeats else Loop(*arguments)
        try:
            endings = loop.train(until, tell)
        except Exception as error:
            if not is_out_of_memory(error) or self._ranks.count > 1 or (race.width == 1 and not self._cache):
                raise
            sys.stderr.write(f"memory ran out in stacks of {race.width} trials: {error}\n")
            if not self._cache:
                self._fusing.narrow(alike[0], race)
            return None
        finally:
            self.pauses.data_s = (self.pauses.data_s or 0.0) + loop.data_s
        self._fusing.note(alike[0], race)
        return endings

    def _refusal(self, live: LiveTrial) -> str:
        """Why a trial's network is not trained; empty if it is. The ranks do what the first one finds."""
        for limit in self._limits:
            if limit.violation({"parameters": float(live.count)}) > 0:
                return f"the network has {live.count} parameters; the constraint is {limit}"
        if not self._spec.screen or live.is_sharded or live.epoch or live.step:
            return ""
        (reason,) = self._ranks.told([screened(live, self._spec, self._reader)])
        return f"{SCREENED}{reason}" if reason else ""

    def _report(self, live: LiveTrial, ending: Ending, reason: str) -> Report:
        return Report(
            trial=live.trial,
            epoch=live.epoch,
            values=live.record.values or (None,) * len(self._spec.search.objectives),
            best_epoch=live.record.epoch,
            metrics={**live.metrics, "parameters": float(live.count)},
            ending=ending,
            reason=reason,
            device_s=live.device_s * self._ranks.count,
            width=live.width,
            ranks=self._ranks.count,
            strategy="sharded" if live.is_sharded else "replicated",
            verdict=self._verdict(live, ending),
            history=live.history,
        )

    def _verdict(self, live: LiveTrial, ending: Ending) -> str:
        described, has_diverged = self._spec.is_built_in, ending == "diverged"
        return verdict(live.moments, live.settings, is_built_in=described, has_diverged=has_diverged)

    def _keep_moments(self, lives: Sequence[LiveTrial]) -> None:
        """Keeps what was measured inside the networks as artifacts of their trials."""
        measured = [live for live in lives if live.moments and self._ranks.is_first]
        at_once(lambda live: keep_moments(self._storage.store, self._spec.sweep, live.trial, live.moments), measured)

    def _logs(self, lives: Sequence[LiveTrial]) -> dict[int, Log]:
        return {live.trial: Log(self._storage.store, artifact_folder(self._spec.sweep, live.trial)) for live in lives}

    def _keep(self, lives: Sequence[K]) -> None:
        """Keeps unfinished trials in memory, the latest ones."""
        self._cache |= {live.trial: live for live in lives if live.epoch < self._spec.budget.epochs.max}
        while len(self._cache) > max(CACHED, len(lives)):
            self._cache.popitem(last=False)

    def _live(self, lane: Lane) -> K:
        live = self._cache.pop(lane.trial, None)
        if live is None or not _stands_at(live, lane):
            live = self._load(lane)
        self._prepare(live)
        return live

    def _begin_one(self, live: LiveTrial, reader: Reader) -> None:
        if live.settings.initializer.scheme != "lsuv":
            return
        assert self._spec.data is not None
        seed = self._spec.data.seed
        batches = reader.subset(live.data_share, seed).epoch("train", batch_size=live.batch_size, seed=seed, epoch=0)
        batch = to_device(next(iter(batches)), live.device).batch(live.values)  # the whole batch, on every rank
        unit_variance(live.network, *batch.arguments(live.network))

    def _prepare_one(self, live: LiveTrial) -> None:
        live.prepare_norms(self._ranks.count)
        if not self._ranks.is_first:  # what was gathered before is the first rank's to keep
            live.gathered = Gathered(self._task, self._device)

    def _save(self, lives: Sequence[K]) -> None:
        """Writes the checkpoints of several trials at once: most of the time goes by in waiting for the disk."""
        with self.pauses.checkpoint():
            self._write([live for live in lives if not live.folder])

    def _write(self, unsaved: Sequence[K]) -> None:
        saved = list[Saved]()
        tensors = [live.tensors() for live in unsaved]
        if self._ranks.is_first:
            checkpoints = [self._checkpoints(live.trial) for live in unsaved]
            with ThreadPoolExecutor(SAVING) as pool:
                saved = list(pool.map(save, checkpoints, unsaved, tensors))
        for live, folder in zip(unsaved, self._ranks.told([each.folder for each in saved]), strict=True):
            live.folder = folder
        for each in saved:
            self._ranks.emit(each)

    def _load(self, lane: Lane) -> K:
        live = self._made(lane)
        pause = self.pauses.checkpoint() if lane.folder else nullcontext()
        with pause, self._checkpoints(lane.trial).opening(lane.folder) as found:
            if found is None:
                self._begin(live)
            else:
                restore(live, found)
                live.folder = found.folder if found.folder == lane.folder else ""
        return live

    def _new(self, lane: Lane, reader: Reader) -> LiveTrial:
        arguments = (self._spec, self._task, self._reader.schema, lane)
        if self._ranks.count > 1 and self._is_sharded(lane):
            from podium.training.sharded import ShardedTrial

            return ShardedTrial(*arguments, self._device, self._ranks, reader.class_counts)
        return LiveTrial(*arguments, self._device, reader.class_counts)

    @property
    def _may_shard(self) -> bool:
        strategy = self._spec.resources.strategy
        return strategy == "sharded" or (strategy == "auto" and self._device.type == "cuda")

    def _is_sharded(self, lane: Lane) -> bool:
        if not self._may_shard or self._spec.resources.strategy == "sharded":
            return self._may_shard
        memory_bytes = torch.cuda.mem_get_info()[1]
        return is_too_large(self._spec, self._task, self._reader.schema, lane, memory_bytes)

    def _checkpoints(self, trial: int) -> Checkpoints:
        return Checkpoints(self._storage.store, self._spec.sweep, trial, self._storage.holder)


class PlainTrainer(TaskTrainer[LiveTrial]):
    """Trains trials of a task that have one network each."""

    def _attempt(self, command: Advance) -> tuple[Report, ...] | None:
        """Carries out the advance; None if memory was too small, so that it has to start again and need less."""
        began = time.monotonic()
        lives = [self._live(lane) for lane in command.lanes]
        refused = {live.trial: reason for live in lives if (reason := self._refusal(live))}
        trained = [live for live in lives if live.trial not in refused]
        endings: dict[int, Outcome] = {trial: ("infeasible", reason) for trial, reason in refused.items()}
        share_s = (time.monotonic() - began) / len(lives)
        for live in lives:
            live.device_s = share_s
        for alike in at_one_step(trained):
            ended = self._train(alike, command.until, self._reader, self._progress(command), self._save)
            if ended is None:
                return None
            endings |= ended
        began = time.monotonic()
        self._save([live for live in trained if endings[live.trial][0] in ("until", "patience")])
        share_s = (time.monotonic() - began) / len(lives)
        for live in lives:
            live.device_s += share_s
        self._keep_moments(lives)
        # between two epochs all ranks have the same
        kept = ("until", "halted") if self._ranks.is_first else ("until",)
        self._keep([live for live in trained if endings[live.trial][0] in kept])
        return tuple(self._report(live, *endings[live.trial]) for live in lives)

    def _progress(self, command: Advance) -> Callable[[Sequence[LiveTrial]], None]:
        def tell(lives: Sequence[LiveTrial]) -> None:
            lanes = (LaneProgress(trial=live.trial, epoch=live.epoch, metrics=live.metrics) for live in lives)
            self._ranks.emit(Progress(gang=command.gang, lanes=tuple(lanes)))

        return tell

    def _made(self, lane: Lane) -> LiveTrial:
        return self._new(lane, self._reader)

    def _begin(self, live: LiveTrial) -> None:
        self._begin_one(live, self._reader)

    def _prepare(self, live: LiveTrial) -> None:
        self._prepare_one(live)


def save(checkpoints: Checkpoints, live: Kept, tensors: Mapping[str, torch.Tensor]) -> Saved:
    """Writes a trial's state as a checkpoint; `tensors` are what it gave as such.

    Raises:
        StorageFault: if the store cannot be written.
    """
    draft = checkpoints.draft()
    with draft.writing() as path:
        save_file({name: value.contiguous() for name, value in tensors.items()}, path / TENSORS)
    return draft.place(live.epoch, live.step, live.state())


def restore(live: Kept, checkpoint: Opened) -> None:
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


def at_one_step(lives: Sequence[LiveTrial]) -> list[list[LiveTrial]]:
    """All together, unless a damaged checkpoint has thrown some of them back."""
    places: dict[tuple[int, int], list[LiveTrial]] = {}
    for live in lives:
        places.setdefault((live.epoch, live.step), []).append(live)
    return list(places.values())


def _stands_at(live: Kept, lane: Lane) -> bool:
    """Whether the state in memory is exactly where the lane starts."""
    return (live.seed, live.parameters, live.epoch, live.step, live.folder) == (
        lane.seed,
        lane.parameters,
        lane.epoch,
        lane.step,
        lane.folder,
    )

"""Training: trials over folds. Each has a network for every fold, which the other folds train and this one validates.

An advance trains one fold after the other. Metrics are means over the folds, told once all of them have the epoch.
"""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from podium.data.reader import Reader
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, LaneProgress, Progress, Report
from podium.training.checkpoint import Storage
from podium.training.live import LiveTrial, below
from podium.training.loop import Ending, Outcome
from podium.training.ranks import Ranks
from podium.training.record import Record, from_plain, load_record, to_plain
from podium.training.task import Task
from podium.training.task_trainer import TaskTrainer, at_one_step
from podium.training.widths import Notes

SPREAD = "_spread"
"""What is added to a metric's name for its standard deviation over the folds."""

Metrics = dict[str, float]


class FoldedTrial:
    """One trial's networks, one a fold; a checkpoint holds all of them.

    Args:
        lives: Them, in the order of the folds.
        steps: How many steps an epoch has, by fold.

    Attributes:
        curves: By fold and epoch the metrics that have not been told yet, and those of the last epoch that has.
        told: Epochs that all folds have, and that were told.
        record: Which of them counts so far.
        metrics: The means of the last of them.
    """

    def __init__(self, lives: Sequence[LiveTrial], steps: Sequence[int]) -> None:
        self.lives, self._steps = tuple(lives), tuple(steps)
        self.curves: list[dict[int, Metrics]] = [{} for _ in lives]
        self.told, self.record = 0, Record()
        self.metrics: Metrics = {}

    @property
    def trial(self) -> int:
        """Its number."""
        return self.lives[0].trial

    @property
    def seed(self) -> int:
        """Its seed, of which every fold's initial weights and masks are made."""
        return self.lives[0].seed

    @property
    def parameters(self) -> dict[str, Value]:
        """Its parameters."""
        return self.lives[0].parameters

    @property
    def epoch(self) -> int:
        """Whole epochs trained, on average over the folds."""
        return self._place[0]

    @property
    def step(self) -> int:
        """Steps beyond them."""
        return self._place[1]

    @property
    def _place(self) -> tuple[int, int]:
        trained = sum(live.epoch * size + live.step for live, size in zip(self.lives, self._steps, strict=True))
        epoch, rest = divmod(trained, sum(self._steps))
        return epoch, rest // len(self.lives)

    @property
    def folder(self) -> str:
        """The checkpoint that holds exactly this state; empty if none does."""
        folders = {live.folder for live in self.lives}
        return folders.pop() if len(folders) == 1 else ""

    @folder.setter
    def folder(self, folder: str) -> None:
        for live in self.lives:
            live.folder = folder

    def note(self, fold: int) -> None:
        """Remembers the metrics of the epoch that a fold has just trained."""
        live = self.lives[fold]
        self.curves[fold][live.epoch] = dict(live.metrics)

    def means(self, epoch: int) -> Metrics:
        """The means and spreads over the folds; one that had ended before keeps its last metrics."""
        last = [curve[max(own for own in curve if own <= epoch)] for curve in self.curves]
        return {
            name: value
            for key in last[0]
            for name, value in _over_folds(key, [metrics[key] for metrics in last if key in metrics])
        }

    def forget(self, epoch: int) -> None:
        """All epochs up to this one are told; the last of each fold may still be needed."""
        self.told = epoch
        for curve in self.curves:
            last = max(own for own in curve if own <= epoch)
            for own in [own for own in curve if own < last]:
                del curve[own]

    def tensors(self) -> dict[str, Tensor]:
        """Everything in tensors, by name."""
        return {
            f"{_prefix(fold)}{name}": value
            for fold, live in enumerate(self.lives)
            for name, value in live.tensors().items()
        }

    def state(self) -> dict[str, Any]:
        """Everything else, as plain data."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "told": self.told,
            "record": asdict(self.record),
            "metrics": to_plain(self.metrics),
            "folds": [live.state() for live in self.lives],
            "curves": [{str(epoch): to_plain(each) for epoch, each in curve.items()} for curve in self.curves],
        }

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Takes over what `tensors` and `state` gave."""
        for fold, (live, own) in enumerate(zip(self.lives, state["folds"], strict=True)):
            live.restore(below(_prefix(fold), tensors), own)
        self.told, self.record = state["told"], load_record(state["record"])
        self.metrics = from_plain(state["metrics"])
        self.curves = [{int(epoch): from_plain(each) for epoch, each in curve.items()} for curve in state["curves"]]


class FoldedTrainer(TaskTrainer[FoldedTrial]):
    """Trains trials of a task over folds, one advance after the other.

    Args:
        spec: The sweep.
        task: The task.
        reader: The data, in folds.
        storage: Where checkpoints and artifacts go.
        notes: What this host found out about stacks before.
        ranks: Those that train the trials together.
    """

    def __init__(
        self, spec: SweepSpec, task: Task, reader: Reader, storage: Storage, notes: Notes, ranks: Ranks
    ) -> None:
        super().__init__(spec, task, reader, storage, notes, ranks)
        self._readers = [reader.fold(fold) for fold in range(reader.num_folds)]

    def _attempt(self, command: Advance) -> tuple[Report, ...] | None:
        began = time.monotonic()
        trials = [self._live(lane) for lane in command.lanes]
        share_s = (time.monotonic() - began) / len(trials) / len(self._readers)
        endings: dict[int, list[Outcome]] = {}
        for trial in trials:
            for live in trial.lives:
                live.device_s = share_s
            refusal = self._refusal(trial.lives[0])
            endings[trial.trial] = [("infeasible", refusal)] if refusal else []
        for fold in range(len(self._readers)):
            going = {each.trial: each for each in trials if _goes_on(endings[each.trial])}
            ended = self._train_fold(fold, going, command)
            if ended is None:
                return None
            for number, outcome in ended.items():
                endings[number].append(outcome)
        return self._settle(command, trials, {number: _joined(own) for number, own in endings.items()})

    def _train_fold(
        self, fold: int, trials: Mapping[int, FoldedTrial], command: Advance
    ) -> Mapping[int, Outcome] | None:
        """Trains one fold of some trials; None if memory was too small for it."""

        def owners(lives: Sequence[LiveTrial]) -> list[FoldedTrial]:
            return [trials[live.trial] for live in lives]

        endings: dict[int, Outcome] = {}
        for alike in at_one_step([each.lives[fold] for each in trials.values()]):
            ended = self._train(
                alike,
                command.until,
                self._readers[fold],
                lambda lives: self._note(owners(lives), fold, command),
                lambda lives: self._save(owners(lives)),
            )
            if ended is None:
                return None
            endings |= ended
        return endings

    def _settle(
        self, command: Advance, trials: Sequence[FoldedTrial], endings: Mapping[int, Outcome]
    ) -> tuple[Report, ...]:
        """Tells what is left to tell, saves, and keeps what may go on."""
        ended = [each for each in trials if endings[each.trial][0] in ("until", "patience")]
        for each in ended:
            self._tell([each], max(live.epoch for live in each.lives), command)
        self._save(ended)
        self._keep_moments([each.lives[0] for each in trials])
        kept = ("until", "halted") if self._ranks.is_first else ("until",)
        self._keep([each for each in trials if endings[each.trial][0] in kept])
        return tuple(self._folded_report(each, *endings[each.trial]) for each in trials)

    def _note(self, trials: Sequence[FoldedTrial], fold: int, command: Advance) -> None:
        """A fold has trained an epoch; once the last fold has, all of them have."""
        for each in trials:
            each.note(fold)
        if fold == len(self._readers) - 1:
            self._tell(trials, trials[0].lives[fold].epoch, command)

    def _tell(self, trials: Sequence[FoldedTrial], until: int, command: Advance) -> None:
        objectives = self._spec.search.objectives
        for epoch in range(min(each.told for each in trials) + 1, until + 1):
            told = [each for each in trials if each.told < epoch]
            for each in told:
                each.metrics = each.means(epoch)
                values = tuple(each.metrics[objective.metric] for objective in objectives)
                min_delta = each.lives[0].settings.stopping.min_delta
                each.record.note(epoch, values, objectives[0], min_delta)
                each.forget(epoch)
            lanes = (LaneProgress(trial=each.trial, epoch=epoch, metrics=to_plain(each.metrics)) for each in told)
            self._ranks.emit(Progress(gang=command.gang, lanes=tuple(lanes)))

    def _folded_report(self, each: FoldedTrial, ending: Ending, reason: str) -> Report:
        first = self._report(each.lives[0], ending, reason)
        return first.model_copy(
            update={
                "epoch": each.told,
                "values": each.record.values or (None,) * len(self._spec.search.objectives),
                "best_epoch": each.record.epoch,
                "metrics": {**to_plain(each.metrics), "parameters": float(each.lives[0].count)},
                "device_s": sum(live.device_s for live in each.lives) * self._ranks.count,
                "history": tuple(
                    stretch.model_copy(update={"fold": fold})
                    for fold, live in enumerate(each.lives)
                    for stretch in live.history
                ),
            }
        )

    def _made(self, lane: Lane) -> FoldedTrial:
        assert self._spec.data is not None
        share, seed = self._spec.data_share(lane.parameters), self._spec.data.seed
        readers = [reader.subset(share, seed) for reader in self._readers]
        steps = [reader.steps("train", self._spec.batch_size(lane.parameters)) for reader in readers]
        return FoldedTrial([self._new(_of(fold, lane), reader) for fold, reader in enumerate(self._readers)], steps)

    def _begin(self, each: FoldedTrial) -> None:
        for live, reader in zip(each.lives, self._readers, strict=True):
            super()._begin_one(live, reader)

    def _prepare(self, each: FoldedTrial) -> None:
        for live in each.lives:
            super()._prepare_one(live)


def _of(fold: int, lane: Lane) -> Lane:
    """The lane of one fold: what it has to repeat is its own."""
    if lane.repeat is None:
        return lane
    history = tuple(each.model_copy(update={"fold": 0}) for each in lane.repeat.history if each.fold == fold)
    return lane.model_copy(update={"repeat": lane.repeat.model_copy(update={"history": history})})


def _goes_on(outcomes: Sequence[Outcome]) -> bool:
    """Whether the next fold of a trial is trained."""
    return all(ending in ("until", "patience") for ending, _ in outcomes)


def _joined(outcomes: Sequence[Outcome]) -> Outcome:
    """How a trial ended, by the endings of its folds."""
    for fold, (ending, reason) in enumerate(outcomes):
        if ending == "diverged":
            return ending, f"{reason}, with fold {fold} to validate"
        if ending not in ("until", "patience"):
            return ending, reason
    return outcomes[-1] if all(ending == "patience" for ending, _ in outcomes) else ("until", "")


def _over_folds(name: str, values: Sequence[float]) -> list[tuple[str, float]]:
    mean = statistics.fmean(values)
    if not name.startswith("validation/"):
        return [(name, mean)]
    spread = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else math.nan
    return [(name, mean), (f"{name}{SPREAD}", spread)]


def _prefix(fold: int) -> str:
    return f"fold-{fold}."

"""Training: the loop. Epochs, batches, steps, validation, early stopping, in the order they happen.

It is the same for one trial and for many that share their batches, whether these are stacked or not.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import torch

from podium.data import reader as data
from podium.data.reader import Reader
from podium.spec.sweep import SweepSpec
from podium.training.artifacts import Log
from podium.training.diagnosis import Diagnosis
from podium.training.lanes import Group, groups
from podium.training.live import Gathered, LiveTrial
from podium.training.ranks import Ranks
from podium.training.samples import to_device
from podium.training.widths import Race

Ending = Literal["until", "patience", "diverged", "infeasible", "halted"]
Outcome = tuple[Ending, str]
"""How a trial's advance ended, and the reason in words where that says more."""

VALIDATION_BATCH = 256
"""Samples of a validation batch at most; the trials' own batch size if that is larger."""

VALIDATION_BYTES = 2**22
"""A validation batch takes at most so much, since what a network makes of its samples is many times as large."""


class Loop:
    """Trains trials of one signature that stand at the same epoch and step.

    Args:
        lives: The trials; changed in place.
        race: How wide their stacks are, and what is still to be measured.
        spec: The sweep.
        reader: The data.
        logs: By trial, what the task logs with.
        ranks: Those that train the trials together, asked after every step but the last of the advance whether to halt.
        save: Saves trials; called from time to time, too.

    Attributes:
        data_s: Seconds that it has waited for batches.
    """

    def __init__(
        self,
        lives: Sequence[LiveTrial],
        race: Race,
        spec: SweepSpec,
        reader: Reader,
        logs: Mapping[int, Log],
        ranks: Ranks,
        save: Callable[[Sequence[LiveTrial]], None],
    ) -> None:
        assert spec.data is not None
        self._lives, self._race, self._spec, self._reader, self._logs = list(lives), race, spec, reader, logs
        self._ranks, self._save = ranks, save
        self._in_epoch = reader.steps("train", lives[0].batch_size)
        self._steps, self._data_seed = self._in_epoch * spec.budget.epochs.max, spec.data.seed
        self._groups: list[Group] = []
        self._diagnosis = Diagnosis(spec, reader)
        self._width = 0
        self._endings: dict[int, Outcome] = {}
        self._clock = self._saved_at = time.monotonic()
        self.data_s = 0.0

    def train(self, until: int, after_epoch: Callable[[Sequence[LiveTrial]], None]) -> Mapping[int, Outcome]:
        """Trains until an absolute epoch, or until every trial has ended by itself.

        A trial that ends before its mates leaves at once, and stays as it is then.

        Args:
            until: Whole epochs to reach.
            after_epoch: Told after every epoch with the trials that trained in it, their `metrics` made.

        Returns:
            By trial, how it ended.
        """
        while True:
            self._leave({live: ("patience", reason) for live in self._lives if (reason := _enough(live))})
            if self._lives and self._lives[0].epoch >= until:
                self._leave(dict.fromkeys(self._lives, ("until", "")))
            if not self._lives:
                return self._endings
            if not self._train_epoch():
                break
            problems = self._finish_epoch()
            self._share_time()
            after_epoch(self._lives)
            self._leave({live: ("diverged", problem) for live, problem in problems.items()})
            goes_on = [live for live in self._lives if live.epoch < until and not _enough(live)]
            if goes_on and self._has_to_halt(*self._ranks.hear(self._is_due())):
                break
        self._leave(dict.fromkeys(self._lives, ("halted", "")))
        return self._endings

    def _count_seconds(self, elapsed: float) -> None:
        """Counts the seconds of some steps, the same on all ranks, where a trial's are limited."""
        if any(live.settings.stopping.wall_time is not None for live in self._lives):
            share_s = self._ranks.largest(elapsed) / len(self._lives)
            for live in self._lives:
                live.record.seconds += share_s

    def _leave(self, endings: Mapping[LiveTrial, Outcome]) -> None:
        if endings:
            self._share_time()
            self._endings |= {live.trial: ending for live, ending in endings.items()}
            self._lives = [live for live in self._lives if live not in endings]
            self._groups, self._width = [], 0

    def _share_time(self) -> None:
        """Adds the time that has passed to the trials there are, in equal parts."""
        now = time.monotonic()
        for live in self._lives:
            live.device_s += (now - self._clock) / len(self._lives)
        self._clock = now

    def _arrange(self) -> None:
        """Puts the trials into stacks as wide as the race wants them now."""
        if self._race.width == self._width:
            return
        self._settle()
        self._width = self._race.width
        self._groups = groups(self._lives, self._width, self._race.known.metrics, self._ranks)
        for group in self._groups:
            group.begin_epoch(self._in_epoch, self._steps)
            stack = [live.trial for live in group.lives]
            for live in group.lives:
                live.begin_stretch(stack, self._race.known.metrics, self._ranks.count)

    def _train_epoch(self) -> bool:
        """Trains to the end of the epoch; False if halted before."""
        first = self._lives[0]
        batches: Iterable[data.Batch] = self._reader.epoch(
            "train",
            batch_size=first.batch_size,
            seed=self._data_seed,
            epoch=first.epoch,
            start_step=first.step,
            part=self._ranks.part,
            has_partners=first.settings.augmentation.mixup > 0,
        )
        for group in self._groups:
            group.begin_epoch(self._in_epoch, self._steps)
        began, before, waited_s = time.perf_counter(), first.step, self._ranks.waited_s
        for samples in self._awaited(batches):
            self._arrange()
            self._ranks.begin_step(self._is_due())
            self._step(samples, first)
            if first.step < self._in_epoch:
                halted, is_due = self._ranks.end_step()
                if halted:
                    self._count_seconds(time.perf_counter() - began)
                if self._has_to_halt(halted, is_due):
                    return False
        elapsed = time.perf_counter() - began
        self._count_seconds(elapsed)
        for live in self._lives:
            live.samples_per_s = (self._reader.size("train") - before * first.batch_size) / elapsed
            live.waiting = (self._ranks.waited_s - waited_s) / elapsed
        return True

    def _awaited(self, batches: Iterable[data.Batch]) -> Iterator[data.Batch]:
        """The batches, while it is counted how long they take to come."""
        began = time.monotonic()
        for batch in batches:
            self.data_s += time.monotonic() - began
            yield batch
            began = time.monotonic()

    def _step(self, samples: data.Batch, first: LiveTrial) -> None:
        is_whole = (first.step + 1) * first.batch_size <= self._reader.size("train")
        is_racing = is_whole and not self._race.is_over
        self._diagnosis.begin_step(first, self._in_epoch, self._groups)
        began = self._stopwatch()
        shared = first.train_samples(samples)
        for group in self._groups:
            group.step(shared)
        for live in self._lives:
            live.step, live.folder = live.step + 1, ""
        if is_racing:
            seconds = self._ranks.largest(self._stopwatch() - began)
            self._race.note(first.batch_size * len(self._lives), seconds)
        self._diagnosis.end_step()

    def _stopwatch(self) -> float:
        """Seconds; where one thread does all the work, its own, which other work on the machine does not lengthen."""
        if self._lives[0].device.type == "cuda":
            if not self._race.is_over:
                torch.cuda.synchronize()
            return time.perf_counter()
        is_alone = torch.get_num_threads() == 1 and self._ranks.count == 1
        return time.thread_time() if is_alone else time.perf_counter()

    def _finish_epoch(self) -> dict[LiveTrial, str]:
        """Validates, and decides whether the epoch is each trial's best; why trials diverged, if they did."""
        self._settle()
        self._merge()
        for live in self._lives:
            live.epoch, live.step = live.epoch + 1, 0
            live.metrics = live.gathered.compute("train") | {"train/samples_per_s": live.samples_per_s}
            if self._ranks.count > 1 and live.device.type == "cpu":  # a GPU exchanges beside
                live.metrics["train/communication_share"] = live.waiting
            if live.moments and live.moments[-1].epoch == live.epoch:
                live.metrics |= live.moments[-1].summary()
            live.gathered = Gathered(live.task, live.device)
        for group in self._groups:
            group.collect()
        self._validate()
        problems = {}
        for group in self._groups:
            for live, is_finite in zip(group.lives, group.are_finite(), strict=True):
                live.metrics |= self._logs[live.trial].take_metrics()
                if problem := self._judge(live, is_finite):
                    problems[live] = problem
        return problems

    def _judge(self, live: LiveTrial, is_finite: bool) -> str:
        objectives = self._spec.search.objectives
        values = tuple(live.metrics[objective.metric] for objective in objectives)
        if not (is_finite and math.isfinite(live.metrics["train/loss"])):
            return f"the train loss or a weight is not finite in epoch {live.epoch}"
        if not all(math.isfinite(value) for value in values):
            return f"the objective is not finite in epoch {live.epoch}"
        counts = live.record.note(live.epoch, values, objectives[0], live.settings.stopping.min_delta)
        live.record.drop_after(live.settings.schedule.patience)
        if counts and objectives[0].at == "best":
            live.keep_best()
        return ""

    def _validate(self) -> None:
        size = max(validation_batch(self._reader.schema.inputs), self._lives[0].batch_size)
        for group in self._groups:
            group.begin_validation()
        with torch.no_grad():
            batches = self._reader.sequential("validation", size, part=self._ranks.part)
            for number, samples in enumerate(self._awaited(batches)):
                shared = to_device(samples, self._lives[0].device)
                is_logged = number == 0 and self._ranks.is_first
                for group in self._groups:
                    logs = [self._logs[live.trial] for live in group.lives] if is_logged else []
                    group.validate(shared, logs)
        for group in self._groups:
            for live, gathered in zip(group.lives, group.end_validation(), strict=True):
                self._ranks.merge(gathered)
                live.metrics |= gathered.compute("validation")

    def _settle(self) -> None:
        for group in self._groups:
            group.settle()

    def _merge(self) -> None:
        """Brings the sums of the epoch so far together; they are the same on every rank then."""
        for live in self._lives:
            self._ranks.merge(live.gathered)

    def _is_due(self) -> bool:
        return time.monotonic() - self._saved_at >= self._spec.checkpoints.every_s

    def _has_to_halt(self, halted: bool, is_due: bool) -> bool:
        if halted or is_due:
            self._settle()
            self._merge()
            self._save(self._lives)
            if not self._ranks.is_first:  # the first one goes on with the sums of all, the others anew
                for live in self._lives:
                    live.gathered = Gathered(live.task, live.device)
            for group in self._groups:
                group.collect()
            self._saved_at = time.monotonic()
        return halted


def validation_batch(inputs: tuple[int, ...]) -> int:
    """How many samples of that shape, in float32, a validation batch has."""
    return max(1, min(VALIDATION_BATCH, VALIDATION_BYTES // (4 * math.prod(inputs))))


def _enough(live: LiveTrial) -> str:
    """Why a trial wants no further epoch; empty if it does."""
    stopping, record = live.settings.stopping, live.record
    if record.is_out_of(stopping.patience):
        return f"no improvement in {record.stale} epochs"
    if stopping.wall_time is not None and record.seconds >= stopping.wall_time:
        return f"{record.seconds:.3g} s of training; stopping.wall_time is {stopping.wall_time:g}"
    return ""

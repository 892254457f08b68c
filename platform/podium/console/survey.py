"""What a live view knows of a sweep: its machine looked through once, and what events have said besides."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from podium.drawing.words import duration, rate
from podium.sweep.forecast import left_epochs
from podium.sweep.machine import Machine
from podium.sweep.messages import Event, GangReady, Progress
from podium.sweep.trial import Trial, TrialState


@dataclass(frozen=True)
class Survey:
    """A machine at a glance.

    Attributes:
        counts: Trials by state.
        reached: By rung, the trials that have values there.
        passed: Trials that passed their first rung or ended.
        epochs: By trial, the epochs it was trained, those of a running advance included.
        running: The running trials, by number.
        failed: The numbers of failed trials.
    """

    counts: Counter[TrialState]
    reached: Counter[int]
    passed: int
    epochs: dict[int, int]
    running: list[Trial]
    failed: list[int]


@dataclass(frozen=True)
class Row:
    """A running trial.

    Attributes:
        trial: What the machine knows.
        epoch: Its newest epoch.
        metrics: What it reported there.
        silent_s: Seconds since it was heard of.
        why: Why it is shown where not all are: `best`, `newest` or `silent`.
    """

    trial: Trial
    epoch: int
    metrics: dict[str, float | None]
    silent_s: float
    why: str = ""


class Listener:
    """Hears a sweep's events, and says how it goes.

    Args:
        now: The time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._latest: dict[int, tuple[int, dict[str, float | None]]] = {}
        self._heard: dict[int, float] = {}
        self._failed: dict[int, None] = {}
        self._began = 0.0
        self._before: tuple[int, int] | None = None

    def take(self, machine: Machine, events: Sequence[Event]) -> None:
        """Remembers the newest metrics of trials, and where the sweep stood when its first gang was ready."""
        for event in events:
            if isinstance(event, Progress):
                for lane in event.lanes:
                    self._latest[lane.trial] = (lane.epoch, lane.metrics)
                    self._heard[lane.trial] = self._now()
            elif self._before is None and isinstance(event, GangReady):
                survey = self.survey(machine)
                self._began, self._before = self._now(), (survey.passed, sum(survey.epochs.values()))

    def survey(self, machine: Machine) -> Survey:
        """The machine at a glance, each trial looked at once."""
        counts: Counter[TrialState] = Counter()
        reached: Counter[int] = Counter()
        epochs: dict[int, int] = {}
        running: list[Trial] = []
        failed: list[int] = []
        passed, latest = 0, self._latest
        for number, trial in machine.trials.items():
            state, values = trial.state, trial.values
            counts[state] += 1
            for rung in values:
                reached[rung] += 1
            epoch = trial.epoch
            if state is TrialState.RUNNING:
                running.append(trial)
                if number in latest:
                    epoch = max(epoch, latest[number][0])
                passed += bool(values)
            else:
                passed += bool(values) or state.is_ended
                if state is TrialState.FAILED:
                    failed.append(number)
            epochs[number] = epoch
        return Survey(counts, reached, passed, epochs, running, failed)

    def pace(self, machine: Machine, survey: Survey) -> list[str]:
        """Speed of this launch and time left; empty before there is anything to go by."""
        elapsed_s = self._now() - self._began
        if self._before is None or machine.is_ended or elapsed_s <= 0:
            return []
        passed, epochs = survey.passed - self._before[0], sum(survey.epochs.values()) - self._before[1]
        parts = [rate(passed / elapsed_s)] if passed else []
        if epochs:
            left_s = left_epochs(machine, survey.epochs) * elapsed_s / epochs
            limit_s = machine.spec.budget.wall_time
            left_s = left_s if limit_s is None else min(left_s, max(limit_s - machine.spent_s, 0))
            parts.append(f"about {duration(round(left_s))} left")
        return parts

    def newest_failure(self, machine: Machine, survey: Survey) -> Trial | None:
        """The failed trial that was seen last; None if there is none."""
        for number in survey.failed:
            self._failed.setdefault(number)
        return machine.trials[next(reversed(self._failed))] if survey.failed else None

    def rows(self, machine: Machine, survey: Survey, most: int) -> list[Row]:
        """The running trials; if they are more than `most`, the best, the newest and the most silent of them."""
        now, latest = self._now(), self._latest
        heard = self._heard = {trial.number: self._heard.get(trial.number, now) for trial in survey.running}
        if len(survey.running) <= most:
            return [self._row(trial, now) for trial in survey.running]
        metric = machine.spec.search.objectives[0].metric
        worth = {number: latest[number][1].get(metric) for number in heard if number in latest}
        sign = machine.ranking.loss((1.0,))
        known = [(sign * value, number) for number, value in worth.items() if value is not None]
        third = most // 3
        chosen: dict[int, str] = {}
        for why, numbers, share in (
            ("best", [number for _, number in heapq.nsmallest(most, known)], most - 2 * third),
            ("silent", sorted(heard, key=heard.__getitem__)[:most], third),
            ("newest", heapq.nlargest(most, heard), most),
        ):
            fresh = [number for number in numbers if number not in chosen]
            chosen.update(dict.fromkeys(fresh[: min(share, most - len(chosen))], why))
        return [self._row(machine.trials[number], now, why) for number, why in chosen.items()]

    def _row(self, trial: Trial, now: float, why: str = "") -> Row:
        epoch, metrics = self._latest.get(trial.number, (trial.epoch, dict(trial.metrics)))
        return Row(trial, epoch, metrics, max(now - self._heard[trial.number], 0.0), why)

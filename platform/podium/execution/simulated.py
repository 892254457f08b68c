"""An executor that replays learning curves on a virtual clock: policies tested in milliseconds."""

import heapq
import itertools
from collections.abc import Callable, Sequence
from typing import Literal

from podium.spec.sweep import SweepSpec
from podium.sweep.messages import (
    Advance,
    Advanced,
    Cause,
    Event,
    GangLost,
    GangReady,
    Halt,
    Lane,
    LaneProgress,
    Measured,
    Progress,
    Report,
    Saved,
)

Curve = Callable[[Lane], Sequence[float | None]]
"""From a lane to its objective after each epoch, None where it is not a number."""

Ending = Literal["until", "halted"]


class VirtualClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Virtual seconds since the start."""
        return self.now


class SimulatedExecutor:
    """Gangs that exist on a virtual clock only.

    Args:
        spec: The sweep; its first objective says which epoch of a curve is best.
        gangs: How many gangs there are.
        curve: The learning curve of a trial, at least `epochs.max` long.
        epoch_s: How many virtual seconds an epoch of an advance takes, whose lanes are always trained as one stack.
        measure: What is told of the widths of stacks when a cohort begins; nothing by default.
    """

    def __init__(
        self,
        spec: SweepSpec,
        gangs: int,
        curve: Curve,
        epoch_s: Callable[[Advance], float],
        measure: Callable[[tuple[Lane, ...]], Measured | None] = lambda lanes: None,
    ) -> None:
        self.clock = VirtualClock()
        self._fewest_ranks = spec.resources.fewest_ranks
        self._objective = spec.search.objectives[0]
        self._gangs, self._curve, self._epoch_s, self._measure = gangs, curve, epoch_s, measure
        self._due: list[tuple[float, int, Advance]] = []
        self._running: dict[str, tuple[float, Advance]] = {}
        self._news: list[Event] = []
        self._living: set[str] = set()
        self._begun: set[str] = set()
        self._order, self._names = itertools.count(), itertools.count()

    def start(self) -> None:
        """All gangs are ready at once."""
        for _ in range(self._gangs):
            self._start_gang()

    def advance(self, command: Advance) -> None:
        """Puts the end of the advance on the clock."""
        if not self._living.issuperset(command.gangs) or command.key in self._begun:
            return
        self._begun.add(command.key)
        measured = self._measure(command.lanes)
        self._news += [] if measured is None else [measured]
        end = self.clock.now + (command.until - command.lanes[0].epoch) * self._epoch_s(command)
        self._running[command.key] = (self.clock.now, command)
        heapq.heappush(self._due, (end, next(self._order), command))

    def halt(self, command: Halt) -> None:
        """Ends the advance now, at the last whole epoch."""
        if command.advance in self._running:
            began, advance = self._running.pop(command.advance)
            passed_s = self.clock.now - began
            epoch = advance.lanes[0].epoch + int(passed_s / self._epoch_s(advance))
            self._news += self._end(advance, epoch, passed_s, "halted")

    def lose(self, gang: str, cause: Cause = "worker_lost") -> None:
        """Kills a gang in the middle of whatever it does; another one takes its place."""
        self._living.discard(gang)
        self._running = {key: entry for key, entry in self._running.items() if gang not in entry[1].gangs}
        self._news.append(GangLost(gang=gang, cause=cause, detail="killed"))
        self._start_gang()

    def expect(self, gangs: int) -> None:
        """There are as many gangs as there are."""

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """Moves the clock to the next end of an advance, if nothing has happened yet and there is time to wait."""
        while not self._news and self._due and timeout_s > 0:
            end, _, command = heapq.heappop(self._due)
            if command.key in self._running:
                began, _ = self._running.pop(command.key)
                self.clock.now = end
                self._news.append(self._progress(command))
                self._news += self._end(command, command.until, end - began, "until")
        news, self._news = self._news, []
        return news

    def close(self) -> None:
        """Forgets all advances."""
        self._living.clear()
        self._due.clear()
        self._running.clear()

    def _start_gang(self) -> None:
        gang = f"simulated-{next(self._names)}"
        self._living.add(gang)
        self._news.append(GangReady(gang=gang))

    def _progress(self, command: Advance) -> Progress:
        lanes = tuple(
            LaneProgress(trial=lane.trial, epoch=epoch, metrics={self._objective.metric: value})
            for lane in command.lanes
            for epoch, value in enumerate(_cut(self._curve(lane)[: command.until]), start=1)
            if epoch > lane.epoch
        )
        return Progress(gang=command.gang, lanes=lanes)

    def _end(self, command: Advance, epoch: int, passed_s: float, ending: Ending) -> list[Event]:
        """The end of an advance at an epoch: a checkpoint of each lane that got there, and the reports of all."""
        ranks = self._fewest_ranks * len(command.gangs)
        known = {"device_s": passed_s * ranks / len(command.lanes), "width": len(command.lanes), "ranks": ranks}
        reports = tuple(self._report(lane, epoch, ending).model_copy(update=known) for lane in command.lanes)
        arrived = [report.trial for report in reports if report.ending == ending]
        saved = [Saved(trial=trial, epoch=epoch, folder=f"{trial}/{epoch}") for trial in arrived]
        return [*saved, Advanced(key=command.key, gang=command.gang, reports=reports)]

    def _report(self, lane: Lane, epoch: int, ending: Ending) -> Report:
        metric, curve = self._objective.metric, _cut(self._curve(lane)[:epoch])
        numbers = [number for number in curve if number is not None]
        if len(numbers) < len(curve):
            return Report(trial=lane.trial, epoch=len(curve), values=(None,), metrics={metric: None}, ending="diverged")
        if ending == "halted":
            return Report(trial=lane.trial, epoch=epoch, values=(), ending=ending)
        pick = max if self._objective.direction == "maximize" else min
        value = pick(numbers) if self._objective.at == "best" else numbers[-1]
        best_epoch = numbers.index(value) + 1
        return Report(
            trial=lane.trial, epoch=epoch, values=(value,), best_epoch=best_epoch, metrics={metric: curve[-1]}
        )


def _cut(curve: Sequence[float | None]) -> Sequence[float | None]:
    """A curve up to its first value that is not a number, which is still told."""
    return curve[: curve.index(None) + 1] if None in curve else curve

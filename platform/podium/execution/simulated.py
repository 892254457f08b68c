"""An executor that replays learning curves on a virtual clock: policies tested in milliseconds."""

import heapq
import itertools
from collections.abc import Callable, Sequence

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
    Progress,
    Report,
    Saved,
)

Curve = Callable[[Lane], Sequence[float | None]]
"""From a lane to its objective after each epoch, None where it is not a number."""


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
        epoch_s: How many virtual seconds an epoch of a trial takes.
    """

    def __init__(self, spec: SweepSpec, gangs: int, curve: Curve, epoch_s: Callable[[Lane], float]) -> None:
        self.clock = VirtualClock()
        self._objective = spec.search.objectives[0]
        self._gangs, self._curve, self._epoch_s = gangs, curve, epoch_s
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
        if command.gang not in self._living or command.key in self._begun:
            return
        self._begun.add(command.key)
        (lane,) = command.lanes
        end = self.clock.now + (command.until - lane.epoch) * self._epoch_s(lane)
        self._running[command.key] = (self.clock.now, command)
        heapq.heappush(self._due, (end, next(self._order), command))

    def halt(self, command: Halt) -> None:
        """Ends the advance now, at the last whole epoch."""
        if command.advance in self._running:
            began, advance = self._running.pop(command.advance)
            (lane,) = advance.lanes
            epoch = lane.epoch + int((self.clock.now - began) / self._epoch_s(lane))
            saved = Saved(trial=lane.trial, epoch=epoch, folder=f"{lane.trial}/{epoch}")
            report = Report(trial=lane.trial, epoch=epoch, values=(), ending="halted")
            self._news += [saved, Advanced(key=advance.key, gang=advance.gang, reports=(report,))]

    def lose(self, gang: str, cause: Cause = "worker_lost") -> None:
        """Kills a gang in the middle of whatever it does; another one takes its place."""
        self._living.discard(gang)
        self._running = {key: entry for key, entry in self._running.items() if entry[1].gang != gang}
        self._news.append(GangLost(gang=gang, cause=cause, detail="killed"))
        self._start_gang()

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """Moves the clock to the next end of an advance, if nothing has happened yet and there is time to wait."""
        while not self._news and self._due and timeout_s > 0:
            end, _, command = heapq.heappop(self._due)
            if command.key in self._running:
                began, _ = self._running.pop(command.key)
                self.clock.now = end
                self._news += self._finish(command, end - began)
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

    def _finish(self, command: Advance, device_s: float) -> list[Event]:
        (lane,) = command.lanes
        curve = self._curve(lane)[: command.until]
        metric = self._objective.metric
        last = curve[-1]
        if None in curve:
            epoch, value, best_epoch, ending = curve.index(None) + 1, None, 0, "diverged"
        else:
            pick = max if self._objective.direction == "maximize" else min
            numbers = [number for number in curve if number is not None]
            value = pick(numbers) if self._objective.at == "best" else last
            best_epoch = numbers.index(value) + 1 if value in numbers else len(numbers)
            epoch, ending = command.until, "until"
        report = Report(
            trial=lane.trial,
            epoch=epoch,
            values=(value,),
            best_epoch=best_epoch,
            metrics={metric: curve[epoch - 1]},
            ending=ending,
            device_s=device_s,
        )
        progress = tuple(
            {"trial": lane.trial, "epoch": index + 1, "metrics": {metric: curve[index]}}
            for index in range(lane.epoch, epoch)
        )
        events: list[Event] = [Progress.model_validate({"gang": command.gang, "lanes": progress})]
        if ending == "until":
            events.append(Saved(trial=lane.trial, epoch=epoch, folder=f"{lane.trial}/{epoch}"))
        return [*events, Advanced(key=command.key, gang=command.gang, reports=(report,))]

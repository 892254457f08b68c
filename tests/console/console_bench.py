"""A machine fed by hand, with a view of it."""

from collections.abc import Mapping
from typing import Any

from podium.console.ink import ASCII, Ink
from podium.console.view import View
from podium.spec.files import parse_sweep
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Event,
    GangReady,
    LaneProgress,
    Launched,
    Progress,
    Propose,
    Proposed,
    Report,
    Saved,
)
from podium.testing.simulation import RandomProposer

METRIC = "validation/accuracy"


class Bench:
    """A machine that is fed by hand, with a view of it and a clock that stands still."""

    def __init__(
        self, trials: int, gangs: int, policy: str = "asha", budget: Mapping[str, Any] = {}, fuses: bool = False
    ) -> None:
        spec = parse_sweep(
            {
                "sweep": "shown",
                "task": "classification",
                "data": {"source": "mnist_5k"},
                "search": {
                    "objective": {"metric": METRIC, "direction": "maximize"},
                    "space": {
                        "network.kind": {"choice": ["mlp", "convnet"]},
                        "optimizer.kind": {"choice": ["sgd", "adam"]},
                        "optimizer.learning_rate": {"log": [1e-4, 1.0]},
                    },
                },
                "budget": {"trials": trials, "epochs": {"min": 1, "max": 9}, "policy": policy, **budget},
            }
        )
        self.machine, self.at_s = Machine(spec), 0.0
        self.view = View(lambda: self.at_s)
        self._proposer = RandomProposer(spec.space())
        self.open: list[Advance] = []
        self.tell(Launched(identity="1", spec=spec.written(), fuses=fuses))
        self.tell(*(GangReady(gang=f"g{index}") for index in range(gangs)))

    def tell(self, *events: Event) -> None:
        """Tells machine and view; answers proposals, and keeps the advances that follow."""
        told = list(events)
        while told:
            commands = [command for event in told for command in self.machine.handle(event)]
            self.view.take(self.machine, told)
            self.open += [command for command in commands if isinstance(command, Advance)]
            told = [self._proposer.propose(ask, self.machine.trials) for ask in commands if isinstance(ask, Propose)]
        assert not any(isinstance(command, Proposed) for command in told)

    def progress(self, advance: Advance, epoch: int, value: float | None) -> None:
        """One epoch of a running advance."""
        lanes = tuple(LaneProgress(trial=lane.trial, epoch=epoch, metrics={METRIC: value}) for lane in advance.lanes)
        self.tell(Progress(gang=advance.gang, lanes=lanes))

    def finish(self, value: float = 0.5) -> None:
        """Ends the oldest open advance at its rung."""
        advance = self.open.pop(0)
        for epoch in range(advance.lanes[0].epoch + 1, advance.until + 1):
            self.progress(advance, epoch, value)
        trials = [lane.trial for lane in advance.lanes]
        reports = tuple(
            Report(
                trial=trial,
                epoch=advance.until,
                values=(value,),
                best_epoch=advance.until,
                metrics={METRIC: value},
            )
            for trial in trials
        )
        self.tell(*(Saved(trial=trial, epoch=advance.until, folder="saved") for trial in trials))
        self.tell(Advanced(key=advance.key, gang=advance.gang, reports=reports))

    def fail(self, detail: str) -> None:
        """Breaks off advances of one open trial until it has failed, or waits for its mates to be trained."""
        trial = self.open[0].lanes[0].trial
        while advance := next((each for each in self.open if trial in [lane.trial for lane in each.lanes]), None):
            self.open.remove(advance)
            self.tell(AdvanceFailed(key=advance.key, gang=advance.gang, cause="exception", detail=detail))

    def drawn(self, width: int, height: int = 30, ink: Ink = ASCII) -> list[str]:
        """The lines on a screen."""
        return [line.plain for line in self.view.draw(self.machine, width, height, ink)]

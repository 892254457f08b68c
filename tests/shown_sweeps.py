"""Sweeps as stories: the real machine answers, the story tells it what happened, and keeps the ledger's rows."""

from collections.abc import Callable
from typing import Any

import pytest

from podium.ledger.book import Row
from podium.spec.sweep import SweepSpec
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


class Story:
    """Plays a sweep on one gang; `outcome(number, epoch)` is a value, or None for not a number, or an exception."""

    def __init__(self, spec: SweepSpec, outcome: Callable[[int, int], Any], *, fuses: bool = False) -> None:
        self.spec, self.outcome, self.rows = spec, outcome, list[Row]()
        self.machine = Machine(spec)
        self.launched = Launched(
            identity="one",
            spec=spec.written(),
            text="sweep: shown\n",
            provenance={"git": {"commit": "c0ffee", "diff": "+a line"}, "packages": {"torch": "2.13.0"}},
            fuses=fuses,
        )
        self.todo = self.tell(self.launched)

    def point(self, number: int) -> dict[str, Any]:
        """The parameters of a trial."""
        return {"rate": 0.1 / (number + 1), "kind": "ab"[number % 2]}

    def tell(self, event: Event) -> list[Any]:
        self.rows.append(Row(len(self.rows), 1_700_000_000 + len(self.rows) / 8, event))
        return self.machine.handle(event)

    def step(self) -> bool:
        """Carries out one command; whether there was one."""
        if not self.machine.gangs:
            self.todo += self.tell(GangReady(gang=f"gang-{len(self.rows)}"))
        if not self.todo:
            return False
        command = self.todo.pop(0)
        if isinstance(command, Propose):
            self.todo += self.tell(Proposed(number=command.number, parameters=self.point(command.number)))
        elif isinstance(command, Advance):
            self._advance(command)
        return True

    def _advance(self, command: Advance) -> None:
        first = command.lanes[0]
        for epoch in range(first.epoch + 1, command.until + 1):
            values = {lane.trial: self.outcome(lane.trial, epoch) for lane in command.lanes}
            for error in values.values():
                if isinstance(error, Exception):
                    why = {"cause": "exception", "detail": str(error), "log_tail": f"Traceback: {error}"}
                    self.todo += self.tell(AdvanceFailed(key=command.key, gang=command.gang, **why))
                    return
            lanes = tuple(
                LaneProgress(trial=trial, epoch=epoch, metrics={"validation/loss": value, "train/loss": value})
                for trial, value in values.items()
            )
            self.tell(Progress(gang=command.gang, lanes=lanes))
        for trial in values:
            self.tell(Saved(trial=trial, epoch=command.until, folder=f"{trial}"))
        reports = tuple(
            Report(
                trial=trial,
                epoch=command.until,
                values=(value,) * len(self.spec.search.objectives),
                best_epoch=command.until,
                metrics={"validation/loss": value, "parameters": 10.0},
                ending="diverged" if value is None else "until",
                device_s=0.5 / len(values),
                width=len(values),
            )
            for trial, value in values.items()
        )
        usage = ({"memory_usage_megabytes": 10.0}, {"memory_usage_megabytes": 20.0})
        self.todo += self.tell(Advanced(key=command.key, gang=command.gang, reports=reports, usage=usage))

    def play(self) -> "Story":
        while self.step():
            pass
        return self


@pytest.fixture
def make_spec() -> Callable[..., SweepSpec]:
    def make(policy: str = "none", trials: int = 3, **changes: Any) -> SweepSpec:
        loss = {"metric": "validation/loss", "direction": "minimize"}
        return SweepSpec.model_validate(
            {
                "sweep": "shown",
                "task": "train.py:train",
                "tags": {"team": "vision"},
                "parameters": {"depth": 3},
                "search": {
                    "objective": loss,
                    "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}},
                },
                "budget": {"trials": trials, "epochs": {"min": 1, "max": 3}, "policy": policy},
                "tracking": {"plots": False},
            }
            | changes
        )

    return make


def steady(number: int, epoch: int) -> float:
    return 1 / (number + 1) / epoch


@pytest.fixture
def make_story(make_spec: Callable[..., SweepSpec]) -> Callable[..., Story]:
    def make(
        policy: str = "none", outcome: Callable[[int, int], Any] = steady, fuses: bool = False, **changes: Any
    ) -> Story:
        return Story(make_spec(policy, **changes), outcome, fuses=fuses)

    return make

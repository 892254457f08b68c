"""Sweeps as stories: the real machine answers, the story tells it what happened, and keeps the ledger's rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from empty_runs import make_empty_runs

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
from podium.sweep.trial import Trial
from podium.tracking.projector import Projector, Row

MANIFEST = {
    "digest": "0123456789abcdef" * 4,
    "source": {"kind": "arrays", "path": "digits.npz"},
    "fingerprint": "f",
    "split": {"train": 0.7},
    "schema": {
        "inputs": [1, 8, 8],
        "input_dtype": "uint8",
        "targets": [],
        "target_dtype": "int64",
        "class_names": ["cat", "dog"],
    },
    "rows": {"train": 70, "validation": 15, "test": 15},
}


class Facts(dict[str, Any]):
    """Facts in memory."""

    def put(self, mapping: Any) -> None:
        self.update(mapping)


class Story:
    """Plays a sweep on one gang; `outcome(number, epoch)` is a value, or None for not a number, or an exception."""

    def __init__(self, spec: SweepSpec, outcome: Callable[[int, int], Any], *, fuses: bool = False) -> None:
        self.spec, self.outcome, self.rows = spec, outcome, list[Row]()
        self.machine = Machine(spec)
        self.launched = Launched(
            identity="one",
            spec=spec.model_dump(mode="json"),
            text="sweep: shown\n",
            provenance={"git": {"commit": "c0ffee", "diff": "+a line"}, "packages": {"torch": "2.13.0"}},
            fuses=fuses,
        )
        self.todo = self.tell(self.launched)

    def point(self, number: int) -> dict[str, Any]:
        """The parameters of a trial."""
        return {"rate": 0.1 / (number + 1), "kind": "ab"[number % 2]}

    def tell(self, event: Event) -> list[Any]:
        self.rows.append((len(self.rows), 1_700_000_000 + len(self.rows) / 8, event))
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
def facts() -> Facts:
    return Facts()


@pytest.fixture
def manifest() -> dict[str, Any]:
    return MANIFEST


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


@pytest.fixture
def tracking_uri(tmp_path: Path) -> str:
    return make_empty_runs(tmp_path / "mlflow.db")


@pytest.fixture
def other_uri(tmp_path: Path) -> str:
    return make_empty_runs(tmp_path / "other.db")


@pytest.fixture
def show(tracking_uri: str, tmp_path: Path) -> Callable[..., Projector]:
    """Projects rows as a process of its own would: from the first row, some at a time."""

    def chunks(rows: list[Row], size: int) -> Iterator[list[Row]]:
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    def show(
        story: Story,
        *,
        size: int = 10_000,
        finish: bool = True,
        facts: Facts | None = None,
        code: Path | None = None,
        **options: Any,
    ) -> Projector:
        machine = Machine(story.spec)
        options = {"tracking_uri": tracking_uri, "artifacts": str(tmp_path / "runs")} | options
        projector = Projector(story.spec, "one", facts=Facts() if facts is None else facts, **options)
        projector.launch(story.rows[0][1], story.launched, MANIFEST, code)
        for rows in chunks(story.rows, size):
            for _, _, event in rows:
                machine.handle(event)
            projector.project(rows, machine.trials)
        if finish:
            best: Trial | None = machine.best()
            projector.finish(story.rows[-1][1] + 1, machine.state, machine.reason, machine.trials, best)
        return projector

    return show

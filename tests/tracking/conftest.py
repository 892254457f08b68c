"""Sweeps as stories, shown in MLflow as a process of its own would."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from empty_runs import make_empty_runs
from shown_sweeps import Story, make_spec, make_story

from podium.ledger.book import Row
from podium.sweep.machine import Machine
from podium.sweep.trial import Trial
from podium.tracking.projector import Projector

__all__ = ["make_spec", "make_story"]

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


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def manifest() -> dict[str, Any]:
    return MANIFEST


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

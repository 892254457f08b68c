"""What the tests of training share: a toy sweep, and a trainer that remembers what it emitted."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from podium.data.prepare import prepare
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Event, Lane, Progress, Report, Saved
from podium.training.checkpoint import Storage
from podium.training.trainer import Trainer, make_trainer

DOUBLE = """
from torch import nn
from podium.training.tasks import Classification

class Wide(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner.double()

    def forward(self, inputs):
        return self.inner(inputs.double())

class Double(Classification):
    def network(self, parameters, schema):
        return Wide(super().network(parameters, schema))

class Weighted(Double):
    def losses(self, outputs, batch):
        return super().losses(outputs, batch), 1.0 + batch.targets.double()
"""
"""The code of classification in float64."""


def make_spec(**settings: Any) -> SweepSpec:
    """A sweep over the blobs, on a GPU if there is one; keyword arguments replace whole settings."""
    return SweepSpec.model_validate(
        {
            "sweep": "toy",
            "task": "classification",
            "data": {"source": {"kind": "arrays", "path": "blobs.npz"}, "batch_size": 16},
            "network": {"width": 8},
            "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}},
            "budget": {"trials": 4, "epochs": {"max": 4}},
            "resources": {"gpus": 1 if torch.cuda.is_available() else 0},
            **settings,
        }
    )


def prepare_arrays(folder: Path, inputs: Any, targets: Any) -> Path:
    np.savez(folder / "blobs.npz", x=inputs, y=targets)
    data = make_spec().data
    assert data is not None
    return prepare(data, base=folder, store=str(folder), cache=folder / "cache")


class Bench:
    """A trainer with all that it emitted, and a switch that halts it after so many questions."""

    def __init__(
        self, spec: SweepSpec, store: Path | str, *, data: Path | None, code: Path | None, holder: int
    ) -> None:
        self.events: list[Event] = []
        self.patience: float = float("inf")
        self.trainer: Trainer = make_trainer(
            spec,
            code=code,
            data=data,
            storage=Storage(str(store), holder, f"{store}/cache"),
            emit=self.events.append,
            halted=self._halted,
        )

    def _halted(self) -> bool:
        self.patience -= 1
        return self.patience < 0

    def advance(self, until: int, lane: Lane | None = None, *, halt_after: float = float("inf")) -> Report:
        self.patience = halt_after
        lane = lane or Lane(trial=0, parameters={}, seed=7)
        (report,) = self.trainer.advance(Advance(key="key", gang="gang", until=until, lanes=(lane,)))
        return report

    @property
    def saved(self) -> list[Saved]:
        return [event for event in self.events if isinstance(event, Saved)]

    def lane(self, lane: Lane, *, reached: int = 0) -> Lane:
        """Where the machine would let the trial go on."""
        saves = [event for event in self.saved if event.trial == lane.trial]
        if not saves:
            return lane.model_copy(update={"reached": reached})
        place = {"epoch": saves[-1].epoch, "step": saves[-1].step, "folder": saves[-1].folder, "reached": reached}
        return lane.model_copy(update=place)

    def curve(self, trial: int = 0) -> dict[int, dict[str, float | None]]:
        """The metrics of each epoch, but for the speed."""
        return {
            lane.epoch: {name: value for name, value in lane.metrics.items() if name != "train/samples_per_s"}
            for event in self.events
            if isinstance(event, Progress)
            for lane in event.lanes
            if lane.trial == trial
        }

"""Training: which epoch of a trial counts so far, and how long it has not improved. No tensors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from podium.spec.sweep import Objective


@dataclass
class Record:
    """What a trial has reached.

    Attributes:
        epoch: The epoch that counts; 0 before the first.
        values: Of the objectives in that epoch.
        reference: The first objective's value that the next improvement is measured against.
        stale: Epochs since then.
        waited: Those of them since the last drop.
        drops: How often the schedule `plateau` has lowered the learning rate.
        seconds: Those that its training steps took, where they are limited.
    """

    epoch: int = 0
    values: tuple[float, ...] = ()
    reference: float | None = None
    stale: int = 0
    waited: int = 0
    drops: int = 0
    seconds: float = 0.0

    def note(self, epoch: int, values: tuple[float, ...], objective: Objective, min_delta: float) -> bool:
        """Takes in an epoch with finite values; returns whether it is the one that counts now."""
        sign = 1 if objective.direction == "maximize" else -1
        if self.reference is None or sign * (values[0] - self.reference) > min_delta:
            self.reference, self.stale, self.waited = values[0], 0, 0
        else:
            self.stale, self.waited = self.stale + 1, self.waited + 1
        counts = objective.at == "last" or not self.values or sign * (values[0] - self.values[0]) > 0
        if counts:
            self.epoch, self.values = epoch, values
        return counts

    def drop_after(self, patience: int) -> None:
        """Lowers the learning rate if there was no improvement for `patience` epochs since it was lowered last."""
        if self.waited >= patience:
            self.drops, self.waited = self.drops + 1, 0

    def is_out_of(self, patience: int | None) -> bool:
        """Whether there was no improvement for `patience` epochs."""
        return patience is not None and self.stale >= patience


def load_record(state: dict[str, object]) -> Record:
    """The record of which `state` is the plain data, as JSON gives it back."""
    record = Record(**state)  # type: ignore[arg-type]  # what asdict gave
    record.values = tuple(record.values)
    return record


def to_plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON takes them: None for a number that is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def from_plain(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """What `to_plain` was given, but for the kind of what was not finite."""
    return {name: math.nan if value is None else value for name, value in metrics.items()}

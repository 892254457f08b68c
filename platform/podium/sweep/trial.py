"""Trial: a frozen snapshot of one point of the search space, and the states it can be in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

from podium.spec.space import Value

SCREENED = "screened: "
"""How the reason of a trial begins that was refused before its first epoch."""


class TrialState(StrEnum):
    """Where a trial stands; the last five are endings and never left."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETE = "complete"
    STOPPED = "stopped"
    DIVERGED = "diverged"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_ended(self) -> bool:
        """Whether the trial is over."""
        return self not in (TrialState.WAITING, TrialState.RUNNING, TrialState.PAUSED)


@dataclass(frozen=True, slots=True)
class Spent:
    """What training has taken.

    Attributes:
        gpu_s: Seconds of GPUs, a fraction of one counting as such.
        cpu_s: Seconds of cores.
        cost: Money, by `budget.prices`.
    """

    gpu_s: float = 0.0
    cpu_s: float = 0.0
    cost: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.gpu_s + other.gpu_s, self.cpu_s + other.cpu_s, self.cost + other.cost)

    def __mul__(self, factor: float) -> "Spent":
        return Spent(self.gpu_s * factor, self.cpu_s * factor, self.cost * factor)

    def at_least(self, other: "Spent") -> "Spent":
        """The larger of both, amount by amount."""
        return Spent(max(self.gpu_s, other.gpu_s), max(self.cpu_s, other.cpu_s), max(self.cost, other.cost))


NOTHING = Spent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial as the ledger knows it.

    Attributes:
        number: Its number in the sweep, from 0.
        parameters: The active searched parameters.
        seed: The trial seed.
        attributes: What the proposer wants to find again.
        state: Where it stands.
        reason: Why it ended, in words; empty while it has not.
        epoch: Epochs (a training function's steps) reported at an advance's end.
        values: By epoch of a rung, the values of the objectives there; None stands for not a number.
        metrics: The last reported metrics.
        best_epoch: The epoch whose values count.
        folder: Its last durable checkpoint, relative to the store; empty if there is none.
        saved_epoch: Whole epochs in that checkpoint.
        saved_step: Steps beyond them.
        gang: The gang it runs on, or ran on last.
        avoids: The gang on which its last advance broke off; another one is tried first.
        alone: Whether it shares no stack until its next rung: an advance of it broke off, perhaps by its own fault.
        attempts: By cause, how often an advance broke off for which no mate can be to blame.
        cause: Of the last time; empty if it never did.
        log_tail: The last lines of its log then.
        device_s: Seconds of its ranks' time, divided by the lanes that shared it.
        spent: What it has taken of devices and money, its part of what its lanes shared.
        lost: What of that had to be trained again, or still has.
        cohort: The advance of its last report; empty if it has none.
        lane: Its index in that cohort.
        lanes: How many lanes the cohort had.
        width: Lanes of the stack in which it was trained there; 1 for plain training.
        ranks: How many ranks trained it there.
        strategy: Whether each of them held the whole network, or a part of every parameter.
        usage: What each of them used of its host and its GPU, by the names of MLflow's system metrics.
        efficiency: How many times as fast as one gang its gangs were when they were several, divided by how many
            they were; None as long as not both were measured.
        verdict: What ailed its network at its last report, in words; empty if nothing did, as far as is known.
    """

    number: int
    parameters: Mapping[str, Value]
    seed: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    state: TrialState = TrialState.WAITING
    reason: str = ""
    epoch: int = 0
    values: Mapping[int, tuple[float | None, ...]] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    best_epoch: int = 0
    folder: str = ""
    saved_epoch: int = 0
    saved_step: int = 0
    gang: str = ""
    avoids: str = ""
    alone: bool = False
    attempts: Mapping[str, int] = field(default_factory=dict)
    cause: str = ""
    log_tail: str = ""
    device_s: float = 0.0
    spent: Spent = NOTHING
    lost: Spent = NOTHING
    cohort: str = ""
    lane: int = 0
    lanes: int = 1
    width: int = 1
    ranks: int = 1
    strategy: str = "replicated"
    usage: Sequence[Mapping[str, float | None]] = ()
    efficiency: float | None = None
    verdict: str = ""

    @property
    def is_screened(self) -> bool:
        """Whether it was refused before its first epoch since one batch had shown that it could not learn."""
        return self.state is TrialState.STOPPED and self.reason.startswith(SCREENED)

    @property
    def rung(self) -> int:
        """The highest epoch at which the trial has values; 0 if none."""
        return max(self.values, default=0)

    @property
    def last_values(self) -> tuple[float | None, ...]:
        """The values at `rung`; empty if there are none."""
        return self.values[self.rung] if self.values else ()

    def but(self, **changes: Any) -> "Trial":
        """A snapshot with other values; `dataclasses.replace` takes three times as long, and replays make thousands."""
        return Trial(**(dict(zip(_FIELDS, _VALUES(self), strict=True)) | changes))


_FIELDS = tuple(each.name for each in fields(Trial))
_VALUES = attrgetter(*_FIELDS)

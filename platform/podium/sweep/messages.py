"""Events (what happened) and commands (what to do): plain data, the language between driver and parts.

Events are what the ledger keeps: adding a field needs a default, and changing one needs a new schema version
and an upcast in `podium.ledger.schema`. Numbers that are not finite are written as None.
"""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from podium.spec.space import Value


def _finite(number: Any) -> Any:
    return None if isinstance(number, float) and not math.isfinite(number) else number


Number = Annotated[float | None, BeforeValidator(_finite)]
"""A float; None stands for a value that is not finite."""

Metrics = dict[str, Number]

Cause = Literal["worker_lost", "exception", "out_of_memory", "hang", "preempted", "storage"]
"""Why an advance broke off: a key of `retries`; `preempted` and `storage` are nobody's fault and never limited."""


class Message(BaseModel):
    """Frozen plain data, comparable, and written as one JSON object."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Launched(Message):
    """The sweep exists.

    Attributes:
        identity: Tells it from others of the same name.
        spec: Its settings, as JSON types.
        text: Its file as written.
        code: The digest of the user's code, a folder of the store; empty for a built-in task.
        data: The name of the prepared data, a folder of the shards; empty for a task without data.
        provenance: Code version, packages, machine.
        fuses: Whether its trials can share stacks: not if a training function of the user's owns the loop.
        least_mates: How many mates a structure gets under `fuse: auto`, however many structures there are.
    """

    kind: Literal["launched"] = "launched"
    identity: str
    spec: dict[str, Any]
    text: str = ""
    code: str = ""
    data: str = ""
    provenance: dict[str, Any] = Field(default_factory=dict)
    fuses: bool = False
    least_mates: int = 1


class Extended(Message):
    """`budget.trials` was raised to `trials`."""

    kind: Literal["extended"] = "extended"
    trials: int


class Resumed(Message):
    """A driver took over; every gang before it is gone."""

    kind: Literal["resumed"] = "resumed"
    holder: str


class GangReady(Message):
    """A gang's ranks are up and idle."""

    kind: Literal["gang_ready"] = "gang_ready"
    gang: str
    devices: str = ""


class GangLost(Message):
    """A gang died; `log_tail` holds the last lines of the log that its advance wrote to."""

    kind: Literal["gang_lost"] = "gang_lost"
    gang: str
    cause: Cause = "worker_lost"
    detail: str = ""
    log_tail: str = ""


class Proposed(Message):
    """The parameters of trial `number`."""

    kind: Literal["proposed"] = "proposed"
    number: int
    parameters: dict[str, Value]
    attributes: dict[str, Value] = Field(default_factory=dict)


class Exhausted(Message):
    """The proposer has nothing for trial `number`, and never will again."""

    kind: Literal["exhausted"] = "exhausted"
    number: int


class LaneProgress(Message):
    """The metrics of one lane after one epoch (a training function's step)."""

    trial: int
    epoch: int
    metrics: Metrics


class Progress(Message):
    """Metrics while an advance runs. Rungs never read them."""

    kind: Literal["progress"] = "progress"
    gang: str
    lanes: tuple[LaneProgress, ...]


class Saved(Message):
    """A durable checkpoint of `bytes` bytes: whole epochs and the steps beyond; `folder` is relative to the store."""

    kind: Literal["saved"] = "saved"
    trial: int
    epoch: int
    step: int = 0
    folder: str
    bytes: int = 0


class Report(Message):
    """How an advance ended for one lane.

    Attributes:
        epoch: Whole epochs trained.
        values: One for each objective: the best epoch's so far, or the last's.
        best_epoch: The epoch they come from.
        metrics: The metrics at `epoch`, `parameters` (the network's size) among them where there is one.
        ending: `until` reached; own `patience`; a function `returned` early; `diverged`; `infeasible` before
            training by a constraint; `halted` on command.
        device_s: Seconds of the ranks' time, each divided by the lanes that shared it.
        width: Lanes of the stack that the trial was trained in; 1 for plain training.
        ranks: How many ranks trained it together.
        strategy: Whether each of them held the whole network, or a part of every parameter.
    """

    trial: int
    epoch: int
    values: tuple[Number, ...]
    best_epoch: int = 0
    metrics: Metrics = Field(default_factory=dict)
    ending: Literal["until", "patience", "returned", "diverged", "infeasible", "halted"] = "until"
    reason: str = ""
    device_s: float = 0.0
    width: int = 1
    ranks: int = 1
    strategy: Literal["replicated", "sharded"] = "replicated"


class Advanced(Message):
    """An advance ended. Every lane's `Saved` comes before it; the reports stand in the order of its lanes.

    `usage` tells of each rank what it used of its host and its GPU, by the names of MLflow's system metrics.
    """

    kind: Literal["advanced"] = "advanced"
    key: str
    gang: str
    reports: tuple[Report, ...]
    usage: tuple[Metrics, ...] = ()


class AdvanceFailed(Message):
    """An advance broke off; the gang lives. `log_tail` holds the last lines of the log that it wrote to."""

    kind: Literal["advance_failed"] = "advance_failed"
    key: str
    gang: str
    cause: Cause
    detail: str
    log_tail: str = ""


class Measured(Message):
    """How wide stacks of one signature are best on a gang's devices.

    Attributes:
        trial: A trial of that signature.
        width: The best number of lanes in a stack; 1 if plain training is the fastest, or nothing else works.
        rates: By width tried, samples a second, summed over the lanes.
        reason: Why it cannot be stacked; empty if it can.
        ranks: How many ranks have trained it.
    """

    kind: Literal["measured"] = "measured"
    trial: int
    width: int
    ranks: int = 1
    rates: dict[int, float] = Field(default_factory=dict)
    reason: str = ""


class TimeSpent(Message):
    """Seconds of running since the last such event; written where `budget.wall_time` is set."""

    kind: Literal["time_spent"] = "time_spent"
    seconds: float


class Enqueued(Message):
    """A user wants this point (or part of one) tried next."""

    kind: Literal["enqueued"] = "enqueued"
    parameters: dict[str, Value]


class StopRequested(Message):
    """A user wants the sweep, or one trial of it, ended."""

    kind: Literal["stop_requested"] = "stop_requested"
    trial: int | None = None


class InterruptRequested(Message):
    """The driver was asked to leave: running trials checkpoint, and the sweep can be resumed."""

    kind: Literal["interrupt_requested"] = "interrupt_requested"


Event = Annotated[
    Launched
    | Extended
    | Resumed
    | GangReady
    | GangLost
    | Proposed
    | Exhausted
    | Progress
    | Saved
    | Advanced
    | AdvanceFailed
    | Measured
    | TimeSpent
    | Enqueued
    | StopRequested
    | InterruptRequested,
    Field(discriminator="kind"),
]
Request = Annotated[Enqueued | StopRequested, Field(discriminator="kind")]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


class Propose(Message):
    """Draw the parameters of trial `number`; `given` holds those already decided.

    With `mates_of`, a trial of that trial's signature is wanted: its fusible parameters alone are drawn.
    """

    kind: Literal["propose"] = "propose"
    key: str
    number: int
    given: dict[str, Value] = Field(default_factory=dict)
    mates_of: int | None = None


class Lane(Message):
    """Where one trial of a cohort starts: its last `Saved`, or (0, 0) and no folder.

    `reached` is the last epoch it has reported; a training function that still waits there simply goes on.
    """

    trial: int
    parameters: dict[str, Value]
    seed: int
    epoch: int = 0
    step: int = 0
    folder: str = ""
    reached: int = 0


class Advance(Message):
    """Train a cohort on a gang until `until` epochs are reached, together with the gangs that have `joined` it."""

    kind: Literal["advance"] = "advance"
    key: str
    gang: str
    until: int
    lanes: tuple[Lane, ...]
    joined: tuple[str, ...] = ()

    @property
    def gangs(self) -> tuple[str, ...]:
        """All gangs that train it."""
        return (self.gang, *self.joined)


class Halt(Message):
    """Checkpoint at the next step and end the running advance `advance` of `gang`."""

    kind: Literal["halt"] = "halt"
    key: str
    gang: str
    advance: str


Command = Propose | Advance | Halt

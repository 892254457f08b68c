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
    """`budget.trials` was raised to `trials`, and so were the limits `gpu_hours` and `cost` that are not None."""

    kind: Literal["extended"] = "extended"
    trials: int
    gpu_hours: float | None = None
    cost: float | None = None


class Resumed(Message):
    """A driver took over; every gang before it is gone."""

    kind: Literal["resumed"] = "resumed"
    holder: str


class Host(Message):
    """What a rank's host is, by Ray's labels: the type of its accelerators, and the group it was started in."""

    accelerator: str = ""
    group: str = ""


class GangReady(Message):
    """A gang's ranks are up and idle; `hosts` are theirs, rank by rank, as far as they are known.

    Before that it waited `waited_s` seconds for places for all of them, and then took `startup_s` to be up; None where
    nobody has measured it.
    """

    kind: Literal["gang_ready"] = "gang_ready"
    gang: str
    devices: str = ""
    hosts: tuple[Host, ...] = ()
    waited_s: float | None = None
    startup_s: float | None = None


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


class Stretch(Message):
    """How a trial was trained from one step on, until the next stretch begins.

    Attributes:
        epoch: Whole epochs trained before it.
        step: Steps beyond them.
        stack: The numbers of the trials in its stack, lane by lane; its own alone if it was trained plainly.
        stacks_metrics: Whether the task's metrics were gathered for all lanes at once.
        ranks: How many ranks trained it together.
        strategy: Whether each of them held the whole network, or a part of every parameter.
        fold: The fold that was left out to validate; 0 where there are none.
    """

    epoch: int
    step: int = 0
    stack: tuple[int, ...]
    stacks_metrics: bool = True
    ranks: int = 1
    strategy: Literal["replicated", "sharded"] = "replicated"
    fold: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins: whole epochs, and steps beyond them."""
        return self.epoch, self.step


class Report(Message):
    """How an advance ended for one lane.

    Attributes:
        epoch: Whole epochs trained.
        values: One for each objective: the best epoch's so far, or the last's.
        best_epoch: The epoch they come from.
        metrics: The metrics at `epoch`, `parameters` (the network's size) among them where there is one.
        ending: `until` reached; own `patience`; a function `returned` early; `diverged`; `infeasible` before
            training by a constraint or a screen; `halted` on command.
        device_s: Seconds of the ranks' time, each divided by the lanes that shared it.
        width: Lanes of the stack that the trial was trained in; 1 for plain training.
        ranks: How many ranks trained it together.
        strategy: Whether each of them held the whole network, or a part of every parameter.
        verdict: What ails the network, in words; empty if nothing does, as far as is known.
        history: The stretches that led to its state since its first step, those of broken off advances as far as
            they were saved; empty for a training function.
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
    verdict: str = ""
    history: tuple[Stretch, ...] = ()


class Advanced(Message):
    """An advance ended. Every lane's `Saved` comes before it; the reports stand in the order of its lanes.

    `usage` tells of each rank what it used of its host and its GPU, by the names of MLflow's system metrics;
    `conditions` what its numbers were computed with: device, threads, and torch's settings that change results.
    Of its time the first rank waited `data_s` seconds for batches, and read and wrote checkpoints for `checkpoint_s`;
    None where nobody has measured it.
    """

    kind: Literal["advanced"] = "advanced"
    key: str
    gang: str
    reports: tuple[Report, ...]
    usage: tuple[Metrics, ...] = ()
    conditions: dict[str, Value] = Field(default_factory=dict)
    data_s: float | None = None
    checkpoint_s: float | None = None


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
    """Seconds that the advances which are open have run; it comes before whatever has happened by then.

    Where `budget.wall_time` is set, it counts all seconds of running.
    """

    kind: Literal["time_spent"] = "time_spent"
    seconds: float


class TestRead(Message):
    """A candidate has read the test split, which promotion alone does; appended before its answers are known.

    Attributes:
        data: What identifies the test split, by its bytes: `Manifest.test_set`.
        samples: How many it has.
        trial: The candidate, a trial of this sweep.
        model: The name in the registry that it is a candidate for.
        champion: The version that it is compared with; empty if there is none.
    """

    kind: Literal["test_read"] = "test_read"
    data: str
    samples: int
    trial: int
    model: str
    champion: str = ""


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


class Promoting(Message):
    """This sweep trains finalists again, for a promotion.

    Attributes:
        sweep: The sweep that they come from.
        model: The registered model that the best of them may become the champion of.
        finalists: Their numbers in that sweep, the best first; each is trained by `seeds` trials in a row.
        seeds: How many fresh seeds each has.
        settings: How the best is chosen and judged, as JSON types.
        by: Who wants it.
    """

    kind: Literal["promoting"] = "promoting"
    sweep: str
    model: str
    finalists: tuple[int, ...]
    seeds: int
    settings: dict[str, Any]
    by: str


class Chosen(Message):
    """The best finalist over fresh seeds is registered, as `version`, with the weights of these trials."""

    kind: Literal["chosen"] = "chosen"
    finalist: int
    trials: tuple[int, ...]
    version: str


class Judged(Message):
    """What a promotion has found; the sentences of `reasons` say why, and `evidence` holds all figures.

    `champion` is the version that the candidate was compared with; empty if there was none.
    """

    kind: Literal["judged"] = "judged"
    promotion: str
    version: str
    champion: str
    verdict: Literal["promoted", "refused", "undecided"]
    reasons: tuple[str, ...]
    evidence: dict[str, Any]


class Crowning(Message):
    """The alias is about to move to `version`.

    Attributes:
        version: The new champion; empty if somebody else has left none.
        previous: The champion until now; empty if there is none.
        how: By a `promotion`, by a `rollback`, or `found` where somebody else had moved it.
        promotion: The promotion sweep; empty if there is none.
        by: Who wants it.
    """

    kind: Literal["crowning"] = "crowning"
    version: str
    previous: str
    how: Literal["promotion", "rollback", "found"]
    promotion: str = ""
    by: str


class Crowned(Message):
    """The alias has moved to `version`."""

    kind: Literal["crowned"] = "crowned"
    version: str


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
    | TestRead
    | Enqueued
    | StopRequested
    | InterruptRequested
    | Promoting
    | Chosen
    | Judged
    | Crowning
    | Crowned,
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


class Repeat(Message):
    """How a trial has to be trained, as it was before, instead of as is best now.

    Attributes:
        history: The stretches of its last report.
        mates: By number the parameters of the trials that were in its stacks. In their lanes copies of the trial stand
            in for them, with these parameters: a lane's numbers do not depend on what is in the others.
        is_twin: Whether every initial weight is moved by one unit in its last place.
    """

    history: tuple[Stretch, ...]
    mates: dict[int, dict[str, Value]] = Field(default_factory=dict)
    is_twin: bool = False


class Lane(Message):
    """Where one trial of a cohort starts: its last `Saved`, or (0, 0) and no folder.

    `reached` is the last epoch it has reported; a training function that still waits there simply goes on. With
    `repeat` the trial is the only one of its advance.
    """

    trial: int
    parameters: dict[str, Value]
    seed: int
    epoch: int = 0
    step: int = 0
    folder: str = ""
    reached: int = 0
    repeat: Repeat | None = None


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

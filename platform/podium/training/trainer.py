"""Training: from a sweep's settings to what carries out its advances, and what is made of a checkpoint.

Torch is imported for tasks alone: a training function brings the libraries that it needs.
"""

import difflib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from podium.data.manifest import Schema
from podium.data.reader import Reader
from podium.errors import SpecError, TaskError
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Event, Lane, Report
from podium.training.checkpoint import Storage
from podium.training.code import load, run
from podium.training.function import FunctionTrainer, TrainingFunction, check_function, saves_checkpoints
from podium.training.pauses import Pauses
from podium.training.ranks import Ranks
from podium.training.seats import Seat
from podium.training.widths import Notes

if TYPE_CHECKING:
    from torch import nn
    from typing_extensions import TypeIs

    from podium.training.task import OwnNetwork, Task

_NOT_SPLIT = "its loss does not add up over samples, so that no batch can be split"


class Trainer(Protocol):
    """Carries out advances, one at a time."""

    @property
    def pauses(self) -> Pauses:
        """What the last advance waited for."""
        ...

    def advance(self, command: Advance) -> tuple[Report, ...]:
        """Trains the lanes of `command`; every `Saved` is emitted before it returns."""
        ...

    def sit(self, seat: Seat) -> None:
        """Trains with other ranks from now on; raises PodiumError if not all of them come in time."""
        ...

    def leave(self) -> None:
        """Is alone from now on; ranks that wait for this one fail at once."""
        ...

    def close(self) -> None:
        """Ends what still waits inside."""
        ...


def make_trainer(
    spec: SweepSpec,
    *,
    code: Path | None,
    data: Path | None,
    storage: Storage,
    emit: Callable[[Event], None],
    halted: Callable[[], bool],
) -> Trainer:
    """The trainer for a sweep's task or training function.

    Args:
        spec: The sweep.
        code: The folder with the user's code; None for a built-in task.
        data: The folder with the prepared shards; a training function may do without.
        storage: Where checkpoints and artifacts go, and what this host found out about stacks.
        emit: Takes `Progress` after every epoch (a function's step), `Saved`, and `Measured`.
        halted: Asked before every step; once true, the trial is saved after it and its advance ends.

    Raises:
        TaskError: if the user's code cannot be imported or does not keep its contract.
        SpecError: for a task that the sweep cannot have.
        DataError: if the shards cannot be read.
    """
    task = load_task(spec, code)
    if not is_task(task):
        ranks = Ranks(emit, halted, "cuda" if spec.resources.gpus > 0 else "cpu")
        return FunctionTrainer(spec, task, storage.store, storage.holder, ranks)
    if data is None or spec.data is None:
        raise SpecError("is missing; a task needs data to train on", key="data")

    from podium.training.folded import FoldedTrainer
    from podium.training.fusing import circumstances
    from podium.training.task_trainer import PlainTrainer, training_device

    reader = Reader(data, sampling=spec.data.sampling, trained_on=spec.data.train_on)
    device = training_device(spec)
    about = circumstances(spec, reader, device, "" if code is None else code.name)
    notes, ranks = Notes(storage.cache, about), Ranks(emit, halted, device.type)
    make = PlainTrainer if reader.num_folds == 1 else FoldedTrainer
    return make(spec, task, reader, storage, notes, ranks)


def load_task(spec: SweepSpec, code: Path | None) -> "Task | TrainingFunction":
    """The sweep's task, or its training function.

    Raises:
        TaskError: if the user's code cannot be imported or is neither.
        SpecError: for an unknown built-in task, or an objective that the task does not produce.
    """
    if spec.is_built_in:
        from podium.training.tasks import TASKS

        if spec.task not in TASKS:
            raise SpecError(_unknown(spec.task, tuple(TASKS), "built-in task"), key="task")
        task: Task = TASKS[spec.task].made_for(spec)
    else:
        if code is None:
            raise TaskError(f"the task {spec.task!r} is in a file, and no code folder was given")
        loaded = load(spec.task, code)
        if is_task(loaded):
            task = loaded
        elif inspect.isclass(loaded) and issubclass(loaded, _task_classes()):
            task = _make(loaded, spec)
        else:
            return _function(spec, loaded)
    if spec.own_network is not None:
        task.own_network = _own_network(spec.own_network, code)
    _check_parts(spec, task)
    for objective in spec.search.objectives:
        if objective.metric not in task.metric_names():
            raise SpecError(
                _unknown(objective.metric, task.metric_names(), f"metric of the task {spec.task}"),
                key="search.objective.metric",
            )
    return task


def is_task(loaded: Any) -> "TypeIs[Task]":
    """Whether what `load_task` gave is a task, and no training function."""
    return isinstance(loaded, _task_classes())


def load_best(
    spec: SweepSpec,
    *,
    code: Path | None,
    schema: Schema,
    store: str,
    folder: str,
    parameters: Mapping[str, Value],
) -> "nn.Module":
    """The network of a checkpoint with the weights of the trial's best epoch, in evaluation mode, on the CPU.

    Its input is `[B, *schema.inputs]` float32, normalized if the schema says so.

    Raises:
        CheckpointError: if the checkpoint is damaged.
        TaskError: if the sweep's task is a training function, whose checkpoints are its own.
    """
    task = load_task(spec, code)
    if not is_task(task):
        raise TaskError(f"{spec.task} is a training function, and Podium cannot make a network of its checkpoints")

    from podium.training.task_trainer import load_best_network

    lane = Lane(trial=0, parameters=dict(parameters), seed=0, folder=folder)
    return load_best_network(spec, task, schema, store, lane)


def _task_classes() -> "tuple[type[Task], ...]":
    """`Task`, once somebody has imported it: before that, nobody can have made one."""
    if "podium.training.task" not in sys.modules:
        return ()

    from podium.training.task import Task

    return (Task,)


def _own_network(reference: str, code: Path | None) -> "OwnNetwork":
    """The user's function that makes networks, which raises `TaskError` for all that goes wrong in it."""
    if code is None:
        raise TaskError(f"the network {reference!r} is in a file, and no code folder was given")
    folder, function = code, load(reference, code)

    def make(parameters: Mapping[str, Value], inputs: tuple[int, ...], outputs: int) -> "nn.Module":
        from torch import nn

        made = run(function, reference, folder, parameters, inputs, outputs)
        if not isinstance(made, nn.Module):
            raise TaskError(f"{reference} returned {type(made).__name__}; it has to return an nn.Module")
        return made

    return make


def _function(spec: SweepSpec, loaded: object) -> TrainingFunction:
    function = check_function(loaded, spec.task)
    if spec.own_network is not None:
        raise SpecError(
            f"is for tasks, and {spec.task} is a training function, which makes its network itself; leave it out",
            key="network",
        )
    if spec.compute.model_fields_set:
        raise SpecError(
            f"is for tasks, and {spec.task} is a training function, which computes its steps itself; leave it out",
            key="compute",
        )
    if spec.resources.most_gangs > 1 and not saves_checkpoints(function):
        raise SpecError(
            f"is a range, and {spec.task} saves no checkpoint from which other ranks could go on; write one number, or "
            "use trial.checkpoint()",
            key="resources.ranks",
        )
    return function


def _check_parts(spec: SweepSpec, task: "Task") -> None:
    ranks, microbatch = spec.resources.most_ranks, spec.compute.microbatch
    if task.batch_loss and ranks > 1:
        raise SpecError(f"is {ranks}; {spec.task} says batch_loss: {_NOT_SPLIT}", key="resources.ranks")
    if task.batch_loss and microbatch is not None:
        raise SpecError(f"is {microbatch}; {spec.task} says batch_loss: {_NOT_SPLIT}", key="compute.microbatch")


def _make(kind: "type[Task]", spec: SweepSpec) -> "Task":
    try:
        return kind.made_for(spec)
    except Exception as error:
        raise TaskError(
            f"{kind.__name__}() failed: {type(error).__name__}: {error}; it is made without arguments"
        ) from error


def _unknown(name: str, known: tuple[str, ...], what: str) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{name!r} is no {what}; {hint}There is {', '.join(known)}"

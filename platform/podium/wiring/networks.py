"""The network of a trial, made of its checkpoint: for the registry, for pictures, and for a user's own scripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from podium.data.manifest import MANIFEST, Manifest, Schema, parse_manifest
from podium.data.prepare import shards
from podium.errors import DataError, LookupFailed
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.store import read
from podium.sweep.machine import Machine
from podium.sweep.messages import Launched
from podium.sweep.trial import Trial
from podium.wiring import code, summaries
from podium.wiring.place import Place

if TYPE_CHECKING:
    from torch.nn import Module

    from podium.data.reader import Reader
    from podium.training.answers import Link


@dataclass(frozen=True)
class TrainedNetwork:
    """A trial's network with the weights of its best epoch.

    Attributes:
        spec: The sweep.
        trial: The trial's number.
        epoch: The epoch that its weights are of.
        parameters: All that the trial was trained with, fixed and searched, by dotted key.
        run_id: Its MLflow run; empty before there is one.
        schema: What a sample looks like.
        link: What makes answers of its outputs: `softmax`, `sigmoid` or `identity`.
        heads: Of several, name, link and place among the outputs.
        module: In evaluation mode, on the CPU; takes `[B, *schema.inputs]` float32, normalized if the schema says so.
        data: The folder of the prepared data, relative to the store.
        place: Where the sweep lives.
    """

    spec: SweepSpec
    trial: int
    epoch: int
    parameters: Mapping[str, Value]
    run_id: str
    schema: Schema
    link: "Link"
    heads: "tuple[tuple[str, Link, int, int], ...]"
    module: "Module"
    data: str
    place: Place

    def reader(self) -> "Reader":
        """Reads the data that the sweep was trained on and compared by; not the test split."""
        from podium.data.reader import Reader

        return Reader(self.place.fetch(self.data))


def load_network(place: Place, sweep: str, number: int | None = None) -> TrainedNetwork:
    """The network of a trial; of the best one without a number.

    Raises:
        LookupFailed: if there is no such sweep or trial, or it has no checkpoint.
        DataError: if the sweep has no data, or they are in folds, each of which has a network of its own.
        TaskError: if the sweep's task is a training function, whose checkpoints are its own.
        CheckpointError: if the checkpoint is damaged.
    """
    book = place.book()
    machine = summaries.load(book, sweep)
    launched = next(iter(book.rows(sweep))).event
    assert isinstance(launched, Launched)
    trial = machine.best() if number is None else machine.trials.get(number)
    if trial is None:
        asked = "no best trial yet" if number is None else f"no trial {number}"
        raise LookupFailed(f"sweep {sweep!r} has {asked}; it has {len(machine.trials)} trials, counted from 0")
    return trained(place, machine, launched, trial)


def trained(place: Place, machine: Machine, launched: Launched, trial: Trial) -> TrainedNetwork:
    """The network of a trial's checkpoint; raises as `load_network` does."""
    from podium.training.trainer import is_task, load_best, load_task

    spec = machine.spec
    manifest = load_manifest(place, launched)
    if manifest is None:
        raise DataError(f"sweep {spec.sweep!r} has no data that its network could be for")
    if manifest.folds:
        raise DataError(f"sweep {spec.sweep!r} is over folds, and each of its trials has a network for each of them")
    if not trial.folder:
        raise LookupFailed(f"trial {trial.number} of sweep {spec.sweep!r} is {trial.state} and has no checkpoint")
    folder = code.fetched(launched.code, place)
    module = load_best(
        spec,
        code=folder,
        schema=manifest.schema,
        store=place.store,
        folder=trial.folder,
        parameters=trial.parameters,
    )
    from podium.training.answers import Answering, link_of
    from podium.training.task import Task

    task = load_task(spec, folder)
    assert is_task(task), "load_best has refused what is none"
    return TrainedNetwork(
        spec=spec,
        trial=trial.number,
        epoch=trial.best_epoch,
        parameters={**spec.fixed(), **trial.parameters},
        run_id=place.book().facts(spec.sweep).get(f"run/{trial.number}") or "",
        schema=manifest.schema,
        link=link_of(task, manifest.schema),
        heads=task.heads(),
        module=Answering(module, task) if type(task).answer is not Task.answer else module,
        data=shards(launched.data),
        place=place,
    )


def trained_on_images(place: Place, machine: Machine, launched: Launched, trial: Trial) -> TrainedNetwork | None:
    """The network of a trial's checkpoint, if it has one, for images; raises as `load_network` does."""
    manifest = load_manifest(place, launched)
    if manifest is None or manifest.folds or not trial.folder or len(manifest.schema.inputs) != 3:
        return None
    return trained(place, machine, launched, trial)


def load_manifest(place: Place, launched: Launched) -> Manifest | None:
    """The manifest of a sweep's data; None for a sweep without data.

    Raises:
        DataError: if the data are gone.
    """
    if not launched.data:
        return None
    folder = shards(launched.data)
    return parse_manifest(read(place.store, f"{folder}/{MANIFEST}"), f"{place.store}/{folder}")

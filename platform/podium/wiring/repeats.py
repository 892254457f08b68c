"""Training a trial again, as it was trained before, in a store of its own that is gone afterwards."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.data.prepare import shards
from podium.errors import Interrupted, UserError
from podium.execution.worker import Assignment
from podium.folders import scratch
from podium.registry.reproduction import Leg, Past, legs, past
from podium.store import local_path
from podium.sweep.machine import Machine
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Event,
    GangLost,
    GangReady,
    Lane,
    Launched,
    Progress,
    Repeat,
    Saved,
    Stretch,
)
from podium.sweep.protocols import Executor
from podium.wiring import code, launch
from podium.wiring.launch import Watcher
from podium.wiring.place import Place

TELL_EVERY_S = 2.0
NEVER_S = 1e9

WALL_TIME = "stopping.wall_time"
"""The setting by which a trial ends when its time is up; one that is trained again ends where it ended before."""


@dataclass(frozen=True)
class Subject:
    """A trial that is to be trained again.

    Attributes:
        place: Where its sweep lives.
        launched: The first event of the ledger.
        machine: The sweep as its ledger has it.
        number: The trial's number.
        past: What the ledger tells of it.
    """

    place: Place
    launched: Launched
    machine: Machine
    number: int
    past: Past

    @property
    def is_function(self) -> bool:
        """Whether a training function of the user's owns the loop."""
        return not self.launched.fuses and not (self.past.report and self.past.report.history)

    @property
    def history(self) -> tuple[Stretch, ...]:
        """How it was trained; in one plain stretch, where the ledger does not tell."""
        report = self.past.report
        assert report is not None
        plain = Stretch(epoch=0, stack=(self.number,), ranks=report.ranks, strategy=report.strategy)
        return report.history or (plain,)

    def lane(self, *, is_twin: bool) -> Lane:
        """Where the trial begins, and how it goes on."""
        trials = self.machine.trials
        mates = {each for stretch in self.history for each in stretch.stack} - {self.number}
        parameters = {each: _untimed(trials[each].parameters) for each in sorted(mates)}
        repeat = Repeat(history=self.history, mates=parameters, is_twin=is_twin)
        own = trials[self.number]
        return Lane(
            trial=self.number,
            parameters=_untimed(own.parameters),
            seed=own.seed,
            repeat=None if self.is_function else repeat,
        )


def train(subject: Subject, watcher: Watcher, *, is_twin: bool = False) -> Past:
    """Trains a trial again, to the epoch of its last report; returns what a ledger would tell of that.

    Raises:
        UserError: if it cannot be trained now: its code fails, or memory is too small.
        Interrupted: if the user asked to leave.
    """
    report = subject.past.report
    assert report is not None
    what = f"Training {'a twin of ' if is_twin else ''}trial {subject.number} of {subject.machine.spec.sweep} again"
    shown = time.monotonic()

    def show(event: Event) -> None:
        nonlocal shown
        if isinstance(event, Progress) and time.monotonic() - shown >= TELL_EVERY_S:
            shown = time.monotonic()
            watcher.stage(f"{what}: epoch {event.lanes[0].epoch} of {report.epoch}")

    watcher.stage(what)
    lane, events = subject.lane(is_twin=is_twin), list[Event]()
    with _workshop(subject.place, subject.launched) as store:
        for leg in legs(subject.history):
            with _executor(subject, store, leg, watcher, show) as executor:
                for event in _advance(executor, report.epoch, lane):
                    events.append(event)
                    if not _is_here(subject, leg):  # those of this process are shown while they happen
                        show(event)
                    if isinstance(event, Saved):
                        lane = lane.model_copy(
                            update={"epoch": event.epoch, "step": event.step, "folder": event.folder}
                        )
                    if watcher.is_interrupted():
                        raise Interrupted("left while the trial was trained again; nothing of that is kept")
    return past(events, subject.number)


@contextmanager
def _workshop(place: Place, launched: Launched) -> Iterator[str]:
    """A store that has the data and the code of a sweep, and nothing else."""
    with scratch(local_path(place.store, "") or place.home, "reproduction") as folder:
        names = [shards(launched.data)] if launched.data else []
        names += [code.staged(launched.code)] if launched.code else []
        for name in names:
            link = folder / name
            link.parent.mkdir()
            link.symlink_to(place.fetch(name))
        yield str(folder)


def _is_here(subject: Subject, leg: Leg) -> bool:
    """Whether this process trains it: one rank without a GPU, and no other machine was asked for."""
    resources = subject.machine.spec.resources
    return leg.ranks == 1 and not resources.gpus and subject.place.cluster in ("inline", "local")


@contextmanager
def _executor(
    subject: Subject, store: str, leg: Leg, watcher: Watcher, show: Callable[[Event], None]
) -> Iterator[Executor]:
    """This process, if it will do; else a gang of so many ranks."""
    launched, place = subject.launched, subject.place
    assignment = Assignment(
        spec=_settings(launched.spec, leg),
        code=code.staged(launched.code) if launched.code else None,
        digest=launched.code,
        data=shards(launched.data) if launched.data else None,
        store=store,
        holder=1,
        cache=str(Path(store) / "cache"),
    )
    if _is_here(subject, leg):
        from podium.execution.inline import InlineExecutor

        inline = InlineExecutor(assignment, watcher.is_interrupted, show)
        try:
            inline.start()
            yield inline
        finally:
            inline.close()
        return
    local = place if place.cluster != "inline" else Place.of(place.home, place.store, cluster="local")
    with launch.connected(local):
        from podium.execution.ray import RayExecutor

        executor = RayExecutor(assignment, most=lambda: 1)
        try:
            executor.start()
            yield executor
        finally:
            executor.close()


def _settings(spec: dict[str, Any], leg: Leg) -> dict[str, Any]:
    """The sweep's settings, but for what refuses, saves or ends trials on the way, and with the ranks of then."""
    resources = {**spec.get("resources", {}), "ranks": leg.ranks, "hosts": "pack"}
    resources["strategy"] = leg.strategy if leg.ranks > 1 else "replicated"
    search = {**spec["search"], "constraints": []}
    changed = {**spec, "resources": resources, "search": search, "screen": False, "checkpoints": {"every_s": NEVER_S}}
    changed.pop("checkpoint", None)
    if "stopping" in spec:
        changed["stopping"] = {key: value for key, value in spec["stopping"].items() if key != "wall_time"}
    return changed


def _untimed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name != WALL_TIME}


def _advance(executor: Executor, until: int, lane: Lane) -> Iterator[Event]:
    """The events of one advance, which begins as soon as there is a gang."""
    while True:
        for event in executor.wait(0.5):
            yield event
            if isinstance(event, GangReady):
                executor.advance(Advance(key="again", gang=event.gang, until=until, lanes=(lane,)))
            elif isinstance(event, AdvanceFailed | GangLost):
                raise UserError(f"the trial could not be trained again: {event.detail}\n{event.log_tail}".strip())
            elif isinstance(event, Advanced):
                return

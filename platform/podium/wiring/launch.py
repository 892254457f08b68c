"""Launching and resuming: from a spec to concrete parts, and through the driver to a summary."""

import functools
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from podium.data.prepare import prepare, shards
from podium.errors import UserError
from podium.execution.supervisor import AGAIN
from podium.execution.worker import Assignment
from podium.ledger import Book, HeldLedger
from podium.spec.advice import warnings
from podium.spec.budget import Budget
from podium.spec.files import SweepFile
from podium.spec.sweep import SweepSpec
from podium.store import local_path
from podium.sweep.driver import Driver
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import Event, Extended, GangReady, Launched, Measured, Resumed
from podium.sweep.protocols import Executor, Proposer
from podium.tracking.provenance import provenance, user
from podium.wiring import code, summaries
from podium.wiring.endpoint import metered
from podium.wiring.follower import Follower
from podium.wiring.keeper import Keeper
from podium.wiring.notify import notify
from podium.wiring.place import Place


class Watcher(Protocol):
    """Who is told how a launch goes: a terminal, a notebook, or nobody."""

    def stage(self, text: str) -> None:
        """A step that may take a while has begun."""
        ...

    def preparing(self) -> AbstractContextManager[Callable[[str, float], None]]:
        """Data are prepared as long as the block lasts, which is told what is done and the share of it that is done."""
        ...

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """The machine has taken these events; called with none now and then."""
        ...

    def warn(self, text: str) -> None:
        """Something the user should know, and that stops nothing."""
        ...

    def is_interrupted(self) -> bool:
        """Whether the user asked to leave."""
        ...


@dataclass(frozen=True)
class Attempt:
    """One launch of a sweep by this process, under the sweep's lease."""

    sweep: str
    place: Place
    watcher: Watcher
    book: Book
    ledger: HeldLedger
    began: float


def launch(file: SweepFile, place: Place, watcher: Watcher) -> dict[str, Any]:
    """Launches a sweep, or goes on with the one of that name; returns its summary.

    Raises:
        UserError: for what the user has to change: the file, the task, the data, the resources.
        LeaseLost: if another driver runs this sweep.
    """
    began, spec = time.monotonic(), file.spec
    place.require_writable()
    for text in warnings(spec):
        watcher.warn(text)
    data = prepare_data(spec, file.folder, place, watcher)
    launched = Launched(
        identity=uuid.uuid4().hex,
        spec=spec.written(),
        text=file.text,
        code=code.stage(file.folder, place) if spec.has_code else "",
        data="" if data is None else data.name,
        provenance=provenance(file.folder),
        fuses=spec.is_built_in or code.is_task(spec.task, file.folder),
        least_mates=0,
    )
    return launch_as(launched, place, watcher, began)


def launch_as(launched: Launched, place: Place, watcher: Watcher, began: float, *then: Event) -> dict[str, Any]:
    """Launches a sweep whose code and data are in the store, or goes on with the one of its name.

    Args:
        launched: Its first event.
        place: Where it lives.
        watcher: Told how it goes.
        began: When its user asked for it, in monotonic seconds.
        then: What is noted right after the launch.

    Raises:
        UserError: for what the user has to change.
        LeaseLost: if another driver runs this sweep.
    """
    spec = SweepSpec.model_validate(launched.spec)
    with _attempt(spec.sweep, place, watcher, began) as attempt:
        if not attempt.book.has(spec.sweep):
            return _drive(attempt, Machine(spec), launched, (launched, *then))
        stored, machine = _replayed(attempt)
        _refuse_changes(machine, spec, stored, launched)
        attempt.book.facts(spec.sweep).put({"promotion": launched.spec.get("promotion")})
        return _go_on(attempt, machine, stored, spec.budget)


def launch_again(spec: SweepSpec, like: Launched, place: Place, watcher: Watcher, *then: Event) -> dict[str, Any]:
    """Launches a sweep over the code and the data of an earlier one, or goes on with it; returns its summary.

    Args:
        spec: The sweep.
        like: How the earlier one was launched.
        place: Where both live.
        watcher: Is told how it goes.
        then: What is noted right after the launch.

    Raises:
        UserError: if code or data of the earlier sweep are gone.
        LeaseLost: if another driver runs it.
    """
    began = time.monotonic()
    place.require_writable()
    folder = like.provenance.get("folder")  # older ledgers do not tell it, and the current one may be of anything
    now = provenance(Path(folder)) if folder else {**provenance(Path.cwd()), "git": {}}
    launched = like.model_copy(
        update={"identity": uuid.uuid4().hex, "spec": spec.written(), "text": "", "provenance": now}
    )
    return launch_as(launched, place, watcher, began, *then)


def resume(sweep: str, place: Place, watcher: Watcher) -> dict[str, Any]:
    """Goes on with a sweep as it was launched; returns its summary.

    Raises:
        LookupFailed: if there is none of that name.
        LeaseLost: if another driver runs it.
    """
    began = time.monotonic()
    place.book().require(sweep)
    with _attempt(sweep, place, watcher, began) as attempt:
        stored, machine = _replayed(attempt)
        return _go_on(attempt, machine, stored, machine.spec.budget)


def prepare_data(spec: SweepSpec, folder: Path, place: Place, watcher: Watcher) -> Path | None:
    """The folder with the sweep's shards, made if need be; None for a task without data."""
    if spec.data is None:
        return None
    watcher.stage("Preparing data")
    scheduler = functools.partial(_scheduler, spec.data.dask, place)
    with watcher.preparing() as progress:
        return prepare(
            spec.data, base=folder, store=place.store, cache=place.cache, scheduler=scheduler, progress=progress
        )


@contextmanager
def _scheduler(wanted: str | None, place: Place) -> Iterator[Callable[..., Any] | None]:
    """What prepares data: what the sweep file says; else the Ray that was there before, and else threads."""
    is_there = place.cluster not in ("inline", "local")
    if wanted == "ray" or (wanted is None and is_there):
        from podium.execution import connection
        from podium.execution.sharing import require_shared
        from podium.execution.tasks import make_get

        with connection.connected(place.cluster if is_there else None):
            require_shared(place.store)
            yield make_get(everywhere=local_path(place.store, "") is not None)
    elif wanted in (None, "threads"):
        yield None
    else:
        from podium.data.scheduler import joined

        with joined(wanted) as get:
            yield get


def make_proposer(spec: SweepSpec, book: Book) -> Proposer:
    """The proposer of a sweep, shown the trials of an earlier one if it names one."""
    from podium.search.proposer import OptunaProposer

    prior = summaries.load(book, spec.search.prior).trials.values() if spec.search.prior else ()
    return OptunaProposer(spec, list(prior))


def make_executor(
    spec: SweepSpec, assignment: Assignment, trials: Callable[[], int], place: Place, watcher: Watcher
) -> Executor:
    """The executor that the place asks for, with no more gangs than its trials can use, as many as they are then."""
    if place.cluster == "inline":
        from podium.execution.inline import InlineExecutor

        return InlineExecutor(assignment, watcher.is_interrupted)
    from podium.execution.ray import RayExecutor

    def most() -> int:
        return trials() * spec.resources.most_gangs

    return RayExecutor(assignment, most, may_grow=place.cluster != "local")


def connected(place: Place) -> AbstractContextManager[object]:
    """Ray for as long as the block lasts, where the place asks for it."""
    if place.cluster == "inline":
        return nullcontext()
    from podium.execution import connection

    return connection.connected(None if place.cluster == "local" else place.cluster)


@contextmanager
def _attempt(sweep: str, place: Place, watcher: Watcher, began: float) -> Iterator[Attempt]:
    """Holds the sweep's lease: what is read of its ledger within the block is all there is."""
    book = place.book()
    ledger = book.hold(sweep)
    try:
        yield Attempt(sweep, place, watcher, book, ledger, began)
    finally:
        ledger.release()


def _replayed(attempt: Attempt) -> tuple[Launched, Machine]:
    events = list(attempt.ledger.events())
    launched = events[0]
    assert isinstance(launched, Launched)
    return launched, replay(events)


def _refuse_changes(machine: Machine, new: SweepSpec, stored: Launched, launched: Launched) -> None:
    """Under one name there is one spec, one code and one data; only its trials and its limits may grow.

    How its best are promoted is no matter of the sweep's trials, and may be written anew.
    """
    limits = machine.spending.limits
    current = {f"budget.{name}": limit for name, limit in limits.items()}
    grown = {f"budget.{name}" for name in limits if (getattr(new.budget, name) or 0.0) > limits[name]}
    before, after = summaries.flat_settings(machine.spec) | current, summaries.flat_settings(new)
    changes = [
        f"{key}: {before.get(key, 'absent')!r} -> {after.get(key, 'absent')!r}"
        for key in sorted({*before, *after} - {"budget.trials"} - grown)
        if before.get(key) != after.get(key) and not key.startswith("promotion.")
    ]
    changes += ["the code beside the sweep file"] if stored.code != launched.code else []
    changes += ["the prepared data"] if stored.data != launched.data else []
    if changes:
        raise UserError(
            f"sweep {new.sweep!r} exists and was launched with something else: {'; '.join(changes)}. Give the changed "
            f"sweep another name, or go on with the old one by `podium resume {new.sweep}`; only budget.trials may "
            "grow, and budget.gpu_hours and budget.cost where they were set"
        )


def _extension(machine: Machine, budget: Budget) -> Extended | None:
    """What a budget allows beyond that of the sweep; None if that is nothing."""
    allowed = {name: getattr(budget, name) or 0.0 for name in machine.spending.limits}
    more = {name: limit for name, limit in allowed.items() if limit > machine.spending.limits[name]}
    trials = max(budget.trials, machine.budget)
    return Extended(trials=trials, **more, by=user()) if more or trials > machine.budget else None


def _advice(machine: Machine) -> str:
    """What has to be raised for a sweep that is done to go on."""
    names = [f"budget.{name}" for name in machine.spending.limits if machine.reason.startswith(f"budget.{name} ")]
    has_all = len(machine.trials) >= machine.budget
    return " and ".join(["budget.trials", *names] if has_all or not names else names)


def _go_on(attempt: Attempt, machine: Machine, launched: Launched, budget: Budget) -> dict[str, Any]:
    is_done = machine.state in (SweepState.FINISHED, SweepState.EXHAUSTED)
    was_ended = machine.state in (SweepState.STOPPED, SweepState.FAILED) and AGAIN in os.environ
    extension = _extension(machine, budget)
    asked = attempt.ledger.requests()  # those that came when nobody drove it; an extension may be among them
    growing = [each for each in (extension, *asked) if isinstance(each, Extended)]
    if was_ended or (is_done and all(each.trials <= len(machine.trials) for each in growing)):
        how = f"`podium resume {attempt.sweep}` goes on" if was_ended else f"raise {_advice(machine)} to go on"
        attempt.watcher.warn(f"sweep {attempt.sweep!r} has {machine.state} ({machine.reason}); {how}")
        if attempt.book.facts(attempt.sweep).get("shown") != attempt.ledger.sequence:
            _show_rest(attempt, Follower(attempt.sweep, attempt.place, -1, attempt.watcher))
        attempt.ledger.release()
        return summaries.summarize(attempt.book, attempt.sweep)
    opening: tuple[Event, ...] = (Resumed(holder=f"process {os.getpid()}"),)
    if extension is not None:
        opening += (extension,)
    opening += tuple(asked)
    return _drive(attempt, machine, launched, opening)


def _drive(attempt: Attempt, machine: Machine, launched: Launched, opening: Sequence[Event]) -> dict[str, Any]:
    watcher, place, spec = attempt.watcher, attempt.place, machine.spec
    ready: list[float] = []
    told: set[str] = set()

    def watch(events: Sequence[Event]) -> None:
        keeper.news(events)
        metrics.news(events)
        for event in events:
            if isinstance(event, Measured) and event.reason and event.reason not in told:
                told.add(event.reason)
                watcher.warn(f"trials are trained one by one instead of in stacks: {event.reason}")
        if not ready and any(isinstance(event, GangReady) for event in events):
            ready.append(time.monotonic())
        follower.tend()
        watcher.news(machine, events)

    opened = max([machine.budget, *(event.trials for event in opening if isinstance(event, Extended))])
    follower = Follower(attempt.sweep, place, attempt.ledger.sequence, watcher)
    keeper = Keeper(machine, place.store, attempt.ledger.epoch, watcher.warn)
    try:
        with (
            keeper,
            _executor(attempt, spec, launched, lambda: max(opened, machine.budget)) as executor,
            metered(machine, launched, attempt.ledger, attempt.book, place, watcher.warn) as metrics,
        ):
            if metrics.url:
                watcher.stage(f"Telling metrics at {metrics.url}")
            driver = Driver(
                machine,
                ledger=attempt.ledger,
                proposer=make_proposer(spec, attempt.book),
                executor=metrics.timed(executor),
                clock=time,
                watch=watch,
                is_interrupted=watcher.is_interrupted,
            )
            driver.run(opening)
            executor.close()
            keeper.finish(watcher.is_interrupted)
            _show_rest(attempt, follower)
            ended = time.monotonic()
    finally:
        if not attempt.book.has(attempt.sweep):
            follower.abandon()
    return _close(attempt, spec, ready[0] if ready else ended, ended)


def _show_rest(attempt: Attempt, follower: Follower) -> None:
    """Waits until MLflow shows the end of the sweep, too, or says why it does not."""
    attempt.watcher.stage("Writing the last runs to MLflow")
    if problem := follower.wait():
        attempt.watcher.warn(
            f"MLflow does not show everything yet: {problem}. `podium sync {attempt.sweep}` completes it"
        )


def _close(attempt: Attempt, spec: SweepSpec, ready: float, ended: float) -> dict[str, Any]:
    """Notes the times, and tells whoever wants to be told."""
    times = {"startup_s": round(ready - attempt.began, 3), "wall_s": round(ended - ready, 3)}
    attempt.book.facts(attempt.sweep).put(times)
    attempt.ledger.release()
    summary = summaries.summarize(attempt.book, attempt.sweep)
    for text in notify(spec.notify, summary):
        attempt.watcher.warn(text)
    return summary


@contextmanager
def _executor(attempt: Attempt, spec: SweepSpec, launched: Launched, trials: Callable[[], int]) -> Iterator[Executor]:
    """Starts the executor while the task is tried out, and closes it in the end."""
    place = attempt.place
    assignment = Assignment(
        spec=launched.spec,
        code=code.staged(launched.code) if launched.code else None,
        digest=launched.code,
        data=shards(launched.data) if launched.data else None,
        store=place.store,
        holder=attempt.ledger.epoch,
        cache=str(place.cache),
    )
    attempt.watcher.stage("Starting workers")
    with ThreadPoolExecutor(1) as pool:
        tried = pool.submit(_try_out, spec, assignment, place)
        with connected(place):
            executor = make_executor(spec, assignment, trials, place, attempt.watcher)
            try:
                executor.start()
                tried.result()
                yield executor
            finally:
                executor.close()


def _try_out(spec: SweepSpec, assignment: Assignment, place: Place) -> None:
    from podium.wiring.preflight import try_out

    code_folder, data = (None if name is None else place.fetch(name) for name in (assignment.code, assignment.data))
    try_out(spec, code_folder, data)

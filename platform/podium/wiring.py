"""From a spec to concrete parts; the only module that knows every adapter."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from podium import summaries
from podium.errors import UserError
from podium.execution.worker import Assignment
from podium.ledger import Book, HeldLedger
from podium.place import Place
from podium.spec.files import SweepFile
from podium.spec.sweep import SweepSpec
from podium.sweep.driver import Driver
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import Event, Extended, GangReady, Launched, Resumed
from podium.sweep.protocols import Executor

INLINE, LOCAL = "inline", "local"


class Watcher(Protocol):
    """Who is told how a launch goes: a console, a notebook, or nobody."""

    def stage(self, text: str) -> None:
        """A step that may take a while has begun."""
        ...

    def news(self, machine: Machine, events: Sequence[Event]) -> None:
        """The machine has taken these events; called with none now and then."""
        ...

    def is_interrupted(self) -> bool:
        """Whether the user asked to leave."""
        ...


def launch(file: SweepFile, place: Place, watcher: Watcher) -> dict[str, Any]:
    """Launches a sweep, or goes on with the one of that name; returns its summary.

    Raises:
        UserError: for what the user has to change: the file, the task, the data, the resources.
        LeaseLost: if another driver runs this sweep.
    """
    began = time.monotonic()
    book = Book.at_home(place.home)
    spec = file.spec
    if book.has(spec.sweep):
        return _go_on(book, _stored(book, spec.sweep), spec, place, watcher, began)
    launched = Launched(
        identity=uuid.uuid4().hex,
        spec=spec.model_dump(mode="json", exclude_unset=True),
        text=file.text,
        provenance=_provenance(file.folder) | {"folder": str(file.folder)},
    )
    return _drive(book, Machine(spec), launched, [launched], place, watcher, began)


def resume(sweep: str, place: Place, watcher: Watcher) -> dict[str, Any]:
    """Goes on with a sweep as it was launched; returns its summary.

    Raises:
        LookupFailed: if there is none of that name.
        LeaseLost: if another driver runs it.
    """
    began = time.monotonic()
    book = Book.at_home(place.home)
    book.require(sweep)
    launched = _stored(book, sweep)
    return _go_on(book, launched, SweepSpec.model_validate(launched.spec), place, watcher, began)


def _stored(book: Book, sweep: str) -> Launched:
    launched = next(iter(book.rows(sweep))).event
    assert isinstance(launched, Launched)
    return launched


def _go_on(  # noqa: PLR0913, PLR0917
    book: Book, launched: Launched, spec: SweepSpec, place: Place, watcher: Watcher, began: float
) -> dict[str, Any]:
    machine = replay(row.event for row in book.rows(spec.sweep))
    _refuse_changes(machine, spec)
    opening: list[Event] = [Resumed(holder=f"process {os.getpid()}")]
    if spec.budget.trials > machine.budget:
        opening.append(Extended(trials=spec.budget.trials))
    return _drive(book, machine, launched, opening, place, watcher, began)


def _refuse_changes(machine: Machine, spec: SweepSpec) -> None:
    """Under one name there is one spec; only `budget.trials` may grow."""
    old, new = (summaries.flat_settings(one) for one in (machine.spec, spec))
    budget = new.pop("budget.trials"), old.pop("budget.trials")
    changes = [
        f"{key}: {old.get(key, 'absent')!r} -> {new.get(key, 'absent')!r}"
        for key in sorted(set(old) | set(new))
        if old.get(key) != new.get(key)
    ]
    if new != old:
        raise UserError(
            f"sweep {spec.sweep!r} was launched with other settings: {'; '.join(changes)}. "
            "Give the changed sweep another name, or restore the file; only budget.trials may be raised"
        )
    del budget


def _drive(  # noqa: PLR0913, PLR0917
    book: Book,
    machine: Machine,
    launched: Launched,
    opening: Sequence[Event],
    place: Place,
    watcher: Watcher,
    began: float,
) -> dict[str, Any]:
    spec = machine.spec
    ...
    return {}

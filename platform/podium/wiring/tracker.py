"""The tracker: a process of its own that shows a sweep's ledger in MLflow, so that training never waits for it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.data.manifest import load_manifest
from podium.errors import LeaseLost
from podium.execution.logs import log_path
from podium.ledger import Book, HeldLedger
from podium.sweep.machine import Machine, SweepState
from podium.sweep.messages import Launched
from podium.tracking.client import connect
from podium.wiring import code, summaries
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.tracking.projector import Projector

POLL_S = 0.1


class Follower:
    """Starts `podium sync --follow` beside the driver.

    Args:
        sweep: The sweep to show.
        place: Where it lives.
    """

    def __init__(self, sweep: str, place: Place) -> None:
        self._log = place.home / "logs" / sweep / "tracker.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ["--home", str(place.home), "--store", place.store, "--tracking-uri", place.tracking_uri]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                [sys.executable, "-m", "podium", "sync", sweep, "--follow", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def abandon(self) -> None:
        """Ends the process: nothing was launched for it to show."""
        self._process.terminate()
        self._process.wait()

    def wait(self) -> str:
        """Waits until MLflow shows everything; returns what went wrong, empty if nothing."""
        if self._process.wait() == 0:
            return ""
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it left no message"]
        return f"{lines[-1]} (all of it in {self._log})"


def project(book: Book, sweep: str, place: Place, *, follow: bool) -> None:
    """Shows a sweep in MLflow, from its first event on.

    Connects first, so that MLflow is ready when the workers are. With `follow`, waits for the launch, and for
    another tracker of the sweep to end, and goes on until the sweep has ended or lost its driver.

    Raises:
        LookupFailed: if there is no such sweep.
        LeaseLost: if another process tracks the sweep.
    """
    connect(place.tracking_uri)
    while follow and not book.has(sweep) and book.holder(sweep):
        time.sleep(POLL_S)
    book.require(sweep)
    lease = _hold(book, sweep, wait=follow)
    try:
        _project(book, sweep, place, lease, follow=follow)
    finally:
        lease.release()


def _hold(book: Book, sweep: str, *, wait: bool) -> HeldLedger:
    """The lease of the sweep's tracker: two at once would double its runs."""
    while True:
        try:
            return book.hold(f"{sweep}/tracker")
        except LeaseLost:
            if not wait:
                raise
            time.sleep(POLL_S)


def _project(book: Book, sweep: str, place: Place, lease: HeldLedger, *, follow: bool) -> None:
    from podium.tracking.projector import Projector

    first = next(iter(book.rows(sweep)))
    launched = first.event
    assert isinstance(launched, Launched)
    machine = summaries.empty(launched)
    projector = Projector(
        machine.spec,
        launched.identity,
        tracking_uri=place.tracking_uri,
        artifacts=str(place.artifacts) if place.tracking_uri.startswith("sqlite") else None,
        facts=book.facts(sweep),
        files=lambda number: _files(place, sweep, number),
    )
    projector.launch(first.at, launched, _manifest(place, launched))
    after = -1
    while True:
        lease.renew()
        driven = book.holder(sweep)
        rows = list(book.rows(sweep, after))
        for row in rows:
            machine.handle(row.event)
            after = row.sequence
        if rows:
            projector.project(rows, machine.trials)
        elif machine.is_ended or not follow or not driven:
            break
        else:
            time.sleep(POLL_S)
    if machine.is_ended:
        _finish(book, machine, launched, projector, place)


def _files(place: Place, sweep: str, number: int) -> list[Path]:
    return [log_path(place.store, sweep, number), Path(place.store) / "artifacts" / sweep / f"{number:05d}"]


def _manifest(place: Place, launched: Launched) -> dict[str, Any] | None:
    return json.loads(load_manifest(place.shards / launched.data).to_json()) if launched.data else None


def _finish(book: Book, machine: Machine, launched: Launched, projector: "Projector", place: Place) -> None:
    """The end of a sweep: its best model in the registry, its summary and plots on the parent run."""
    spec, best = machine.spec, machine.best()
    importances = {}
    if spec.tracking.plots:
        from podium.search.importance import importance

        importances = importance(spec, machine.trials.values())
    model = _log_model(book, machine, launched, place) if spec.tracking.model else None
    if model is not None:
        book.facts(spec.sweep).put({"model": model})
    *_, last = book.rows(spec.sweep)
    projector.finish(last.at, machine.state, machine.reason, machine.trials, best, importances)


def _log_model(book: Book, machine: Machine, launched: Launched, place: Place) -> dict[str, str] | None:
    """Registers the best model under the sweep's name; None where there is none to register."""
    spec, best = machine.spec, machine.best()
    ended = machine.state in (SweepState.FINISHED, SweepState.EXHAUSTED, SweepState.STOPPED)
    if not ended or best is None or not best.folder or not launched.data:
        return None
    from podium.registry.models import log_best
    from podium.training.trainer import load_best

    schema = load_manifest(place.shards / launched.data).schema
    module = load_best(
        spec,
        code=code.staged(launched.code, Path(place.store)) if launched.code else None,
        schema=schema,
        store=place.store,
        folder=best.folder,
        parameters=best.parameters,
    )
    return log_best(
        module,
        schema,
        run_id=book.facts(spec.sweep).get(f"run/{best.number}"),
        spec=spec,
        trial=best,
        tracking_uri=place.tracking_uri,
        registered_name=spec.sweep,
    )

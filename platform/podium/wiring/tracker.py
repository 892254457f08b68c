"""The tracker: a process of its own that shows a sweep's ledger in MLflow, so that training never waits for it."""

import json
import os
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.data.manifest import load_manifest
from podium.errors import LeaseLost, UserError
from podium.execution.logs import log_path
from podium.ledger import Book, HeldLedger
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import Launched
from podium.tracking.client import connect
from podium.wiring import code, summaries
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.tracking.projector import Projector

POLL_S = 0.1
RETRY_S = 2.0
ANSWER_S = 10.0
ATTEMPTS = 2


class Follower:
    """Starts `podium sync --follow` beside the driver.

    Args:
        sweep: The sweep to show.
        place: Where it lives.
        beyond: The last event before this launch: an end that the sweep came to by then is not the one to stop at.
    """

    def __init__(self, sweep: str, place: Place, beyond: int) -> None:
        self._log = place.home / "logs" / sweep / "tracker.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)
        where = ["--home", str(place.home), "--store", place.store]
        self._environment = {**os.environ, "MLFLOW_TRACKING_URI": place.tracking_uri}  # it may hold a password
        self._command = [sys.executable, "-m", "podium", "sync", sweep, "--follow", "--beyond", str(beyond), *where]
        self._process = self._start()

    def abandon(self) -> None:
        """Ends the process: nothing was launched for it to show."""
        self._process.terminate()
        self._process.wait()

    def wait(self, is_interrupted: Callable[[], bool]) -> str:
        """Waits until MLflow shows everything; returns what went wrong, empty if nothing.

        A tracker that broke off, since its server was away for a while, gets a second chance. One that is still at
        work when the user wants to leave goes on by itself.
        """
        wanted_to_leave = is_interrupted()
        for attempt in range(ATTEMPTS):
            if attempt:
                self._process = self._start()
            while (code := self._poll()) is None:
                if is_interrupted() and not wanted_to_leave:
                    return "its tracker is still at work, and goes on by itself"
            if code == 0:
                return ""
        lines = self._log.read_text(errors="replace").strip().splitlines() or ["it left no message"]
        return f"{textwrap.shorten(lines[-1].removeprefix('podium: '), 300)} (all of it in {self._log})"

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("a") as log:
            return subprocess.Popen(  # noqa: S603 - our own command line
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _poll(self) -> int | None:
        try:
            return self._process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            return None


def require_answer(tracking_uri: str) -> None:
    """Asks an MLflow server for any answer, once; its own client would try for minutes.

    Raises:
        UserError: if nobody answers at the address.
    """
    if not tracking_uri.startswith("http"):
        return
    try:
        urllib.request.urlopen(f"{tracking_uri.rstrip('/')}/health", timeout=ANSWER_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"no MLflow server answers at {tracking_uri}: {reason}; start it, or give another --tracking-uri"
        ) from error


def project(book: Book, sweep: str, place: Place, *, follow: bool, beyond: int = -1) -> None:
    """Shows a sweep in MLflow, from its first event on.

    Connects first, so that MLflow is ready when the workers are. With `follow`, waits for the launch, and for
    another tracker of the sweep to end, and goes on until the sweep has ended or lost its driver.

    Raises:
        LookupFailed: if there is no such sweep.
        LeaseLost: if another process tracks the sweep.
        UserError: if the MLflow server does not answer; with `follow`, only once the sweep is over.
    """
    while follow and _is_running(book, sweep, beyond) and not _answers(place.tracking_uri):
        time.sleep(RETRY_S)
    require_answer(place.tracking_uri)
    connect(place.tracking_uri)
    while follow and not book.has(sweep) and book.holder(sweep):
        time.sleep(POLL_S)
    book.require(sweep)
    lease = _hold(book, sweep, wait=follow)
    try:
        _project(book, sweep, place, lease, follow=follow, beyond=beyond)
    finally:
        lease.release()


def _is_running(book: Book, sweep: str, beyond: int) -> bool:
    if book.holder(sweep) is None:
        return False
    rows = list(book.rows(sweep))
    return not rows or rows[-1].sequence <= beyond or not replay(row.event for row in rows).is_ended


def _answers(tracking_uri: str) -> bool:
    try:
        require_answer(tracking_uri)
    except UserError:
        return False
    return True


def _hold(book: Book, sweep: str, *, wait: bool) -> HeldLedger:
    """The lease of the sweep's tracker: two at once would double its runs."""
    while True:
        try:
            return book.hold(f"{sweep}/tracker")
        except LeaseLost:
            if not wait:
                raise
            time.sleep(POLL_S)


def _project(book: Book, sweep: str, place: Place, lease: HeldLedger, *, follow: bool, beyond: int) -> None:
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
        elif not follow or not driven or (machine.is_ended and after > beyond):
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

"""The tracker: a process of its own that shows a sweep's ledger in MLflow, so that training never waits for it."""

import json
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from podium.errors import DataError, Interrupted, LeaseLost, StorageFault, UserError
from podium.execution.logs import log_name, read_log
from podium.ledger import Book, HeldLedger
from podium.ledger.book import Row
from podium.masking import without_logins
from podium.store import copy_from, local_path
from podium.sweep.machine import Machine
from podium.sweep.messages import Launched
from podium.sweep.trial import Trial
from podium.tracking.client import connect, explain, is_fault, is_refusal, once
from podium.training.artifacts import artifact_folder
from podium.wiring import code, networks, summaries
from podium.wiring.place import Place
from podium.wiring.registering import register

if TYPE_CHECKING:
    from podium.tracking.projector import Projector

POLL_S = 0.1
ANSWER_S = 10.0

REST, MOST_REST_S = 3.0, 10.0
"""How many times as long as it has worked the tracker rests while the sweep runs, whose trials need the same cores."""

FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 5.0
"""How long the tracker waits after the first fault, and after any; in between it doubles."""

AWAY_S = 15.0
"""How long after the end of a sweep MLflow may take nothing before the tracker gives up."""

QUIET_FAULTS = 1
"""Faults in a row that nobody is told of."""

TELL_EVERY_S = NOTE_EVERY_S = 1.0

SAID = "podium: "
"""How a line begins that is meant for the user."""

PROGRESS = "Writing the last runs to MLflow"

INSIDE = "inside"
"""The folder of a run's artifacts with pictures of its network."""


def require_answer(tracking_uri: str) -> None:
    """Asks an MLflow server for any answer, once, since its own client would try for minutes; then whether it knows us.

    Raises:
        UserError: if nobody answers at the address, or the server does not let this process's user in.
    """
    address = urlsplit(tracking_uri)
    if not address.scheme.startswith("http"):
        return
    health = address._replace(netloc=address.netloc.rpartition("@")[2], path=f"{address.path.rstrip('/')}/health")
    try:
        urllib.request.urlopen(health.geturl(), timeout=ANSWER_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"no MLflow server answers at {without_logins(tracking_uri)}: {reason}; start it, or give another "
            "--tracking-uri"
        ) from error
    try:
        connect(tracking_uri).search_experiments(max_results=1)
    except Exception as error:
        if is_refusal(error):
            raise UserError(
                f"MLflow at {without_logins(tracking_uri)} lets nobody in: {explain(error)}. Set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or write both into ~/.mlflow/credentials"
            ) from error
        if not is_fault(error):
            raise


def project(book: Book, sweep: str, place: Place, *, follow: bool, beyond: int = -1) -> None:
    """Shows a sweep in MLflow, from its first event on.

    Connects first, so that MLflow is ready when the workers are. With `follow`, waits for the launch, and for
    another tracker of the sweep to end, and goes on until the sweep has ended, unless the other has shown just that.
    While the sweep runs, a fault of MLflow is waited out, however long it lasts; afterwards for `AWAY_S`.

    Raises:
        LookupFailed: if there is no such sweep.
        LeaseLost: if another process tracks the sweep.
        UserError: if MLflow refuses what it is told, or, without `follow`, does not answer at first.
        Interrupted: if MLflow was away for too long after the sweep; with `follow`, also if the sweep lost its driver.
    """
    if not follow:
        require_answer(place.tracking_uri)
    try:
        connect(place.tracking_uri)
    except Exception as error:
        if not is_fault(error):
            raise
    while follow and not book.has(sweep) and book.holder(sweep):
        time.sleep(POLL_S)
    book.require(sweep)
    lease = _hold(book, sweep, wait=follow)
    try:
        if not (follow and _is_shown(book, sweep, place, beyond)):
            _Tracker(book, sweep, place, lease, follow=follow, beyond=beyond).run()
    finally:
        lease.release()


def say(text: str) -> None:
    """Tells the user, or the driver that started this process: it reads lines that begin so."""
    sys.stderr.write(f"{SAID}{' '.join(text.split())}\n")
    sys.stderr.flush()


def _hold(book: Book, sweep: str, *, wait: bool) -> HeldLedger:
    """The lease of the sweep's tracker: two at once would double its runs."""
    while True:
        try:
            return book.hold(f"{sweep}/tracker")
        except LeaseLost as lost:
            if not wait:
                who = book.holder(f"{sweep}/tracker") or "another process"
                raise LeaseLost(f"sweep {sweep!r} is being shown in MLflow by {who}; wait until it ends") from lost
            time.sleep(POLL_S)


def _is_shown(book: Book, sweep: str, place: Place, beyond: int) -> bool:
    """Whether a tracker has shown at the place an end of the sweep beyond an event, and nothing has come after it.

    Of a driver that was killed and one that went on, each has a tracker: to the second, runs that have ended would be
    RUNNING again for a while.
    """
    facts = book.facts(sweep).all()
    shown = facts.get("shown", -1)
    is_here = facts.get("tracking_uri") == without_logins(place.tracking_uri)
    return is_here and shown > beyond and shown == book.last(sweep)


class _Tracker:
    """Shows one sweep, with as many projectors as it takes: one that met a fault is made anew."""

    def __init__(self, book: Book, sweep: str, place: Place, lease: HeldLedger, *, follow: bool, beyond: int) -> None:
        self._book, self._sweep, self._place, self._lease = book, sweep, place, lease
        self._follow, self._beyond = follow, beyond
        self._first = next(iter(book.rows(sweep)))
        assert isinstance(self._first.event, Launched)
        self._launched = self._first.event
        self._machine, self._after = summaries.empty(self._launched), -1
        self._is_over = self._was_over = not follow
        self._furthest, self._most_over = -1, 0
        self._went_on = self._told = time.monotonic()
        self._pause_s, self._faults, self._refusals = FIRST_PAUSE_S, 0, 0
        self._projected = self._noted = -1
        self._noted_at = 0.0

    def run(self) -> None:
        """Goes on until all is shown."""
        while True:
            try:
                return self._show()
            except Exception as error:
                if not is_fault(error):
                    raise
                self._wait_out(error)

    def _show(self) -> None:
        projector, shown, rows, rested = self._launch(), -1, list[Row](), 0.0
        while True:
            rows += self._read(shown)
            shown = rows[-1].sequence if rows else shown
            self._note_projected()
            if rows and (self._is_over or time.monotonic() >= rested):
                began = time.process_time()
                projector.project(rows, self._machine.trials)
                rested = time.monotonic() + min(REST * (time.process_time() - began), MOST_REST_S)
                self._note_progress(shown, projector.num_over)
                self._projected, rows = shown, []
            elif self._is_over and not rows:
                break
            else:
                self._lease.renew()
                time.sleep(POLL_S)
        if self._machine.is_ended:
            _finish(self._book, self._machine, self._launched, projector, self._place)
        elif self._follow:
            raise Interrupted(f"sweep {self._sweep!r} lost its driver; `podium resume {self._sweep}` goes on with it")

    def _launch(self) -> "Projector":
        from podium.tracking.projector import Projector

        place = self._place
        projector = Projector(
            self._machine.spec,
            self._launched.identity,
            tracking_uri=place.tracking_uri,
            artifacts=str(place.artifacts) if place.tracking_uri.startswith("sqlite") else None,
            facts=self._book.facts(self._sweep),
            files=lambda number: _files(place, self._sweep, number),
            before=lambda: self._before(projector),
        )
        manifest, folder = None, None
        with suppress(DataError):  # data that is gone keeps no run from being shown
            manifest = networks.load_manifest(place, self._launched)
        with suppress(UserError):  # nor does code
            folder = code.fetched(self._launched.code, place)
        described = None if manifest is None else json.loads(manifest.to_json())
        projector.launch(self._first.at, self._launched, described, folder)
        return projector

    def _read(self, after: int) -> list[Row]:
        """The rows beyond sequence number `after`; those that the machine has not taken yet are handed to it."""
        is_driven = self._book.holder(self._sweep) is not None
        rows = list(self._book.rows(self._sweep, after))
        for row in rows:
            if row.sequence > self._after:
                self._machine.handle(row.event)
                self._after = row.sequence
        has_ended = self._machine.is_ended and self._after > self._beyond
        self._is_over = not self._follow or not is_driven or has_ended
        return rows

    def _before(self, projector: "Projector") -> None:
        """Before each run that is written: nothing is, once another tracker has the lease."""
        self._lease.check()
        self._note_progress(-1, projector.num_over)
        if self._is_over and time.monotonic() - self._told > TELL_EVERY_S:
            self._told = time.monotonic()
            say(f"{PROGRESS}: {projector.num_over} of {len(self._machine.trials)}")

    def _note_progress(self, shown: int, num_over: int) -> None:
        """Forgets the faults before, if more is shown than ever: up to which row, or how many trials to their end."""
        if shown <= self._furthest and num_over <= self._most_over:
            return
        self._furthest, self._most_over = max(shown, self._furthest), max(num_over, self._most_over)
        if self._faults > QUIET_FAULTS:
            say(f"MLflow at {without_logins(self._place.tracking_uri)} answers again")
        self._went_on, self._pause_s = time.monotonic(), FIRST_PAUSE_S
        self._faults = self._refusals = 0

    def _note_projected(self) -> None:
        """Notes up to which row MLflow shows the sweep, for those who look whether it keeps up."""
        is_due = self._is_over or time.monotonic() - self._noted_at > NOTE_EVERY_S
        if is_due and self._projected > self._noted:
            self._noted, self._noted_at = self._projected, time.monotonic()
            with suppress(StorageFault):
                self._book.facts(self._sweep).put({"projected": self._projected})

    def _wait_out(self, error: Exception) -> None:
        """Waits a while after a fault, unless it will not pass, or has lasted for too long after the sweep.

        MLflow may refuse once: a run that a user deleted is missed, and made again, by the next projector.
        """
        where = without_logins(self._place.tracking_uri)
        reason = explain(error).replace(self._place.tracking_uri, where)
        self._refusals += is_refusal(error)
        if self._refusals > 1:
            raise UserError(f"MLflow at {where} refuses what it is told: {reason}") from error
        away_s = time.monotonic() - self._went_on
        if self._was_over and away_s > AWAY_S:
            raise Interrupted(f"MLflow at {where} has taken nothing for {away_s:.0f} s: {reason}") from error
        if self._faults == QUIET_FAULTS:
            say(f"MLflow at {where} takes nothing for now, and the ledger keeps it: {reason}")
        with suppress(StorageFault):
            self._read(self._after)
        if self._is_over and not self._was_over:
            self._went_on = time.monotonic()
        self._was_over = self._is_over
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, MOST_PAUSE_S)
        self._faults += 1


def _files(place: Place, sweep: str, number: int) -> Iterator[Path]:
    """A trial's log and its folder of artifacts; copies of what lies at an address are gone in the end."""
    log, artifacts = log_name(sweep, number), artifact_folder(sweep, number)
    here = [local_path(place.store, name) for name in (log, artifacts)]
    yield from filter(None, here)
    if not any(here):
        with tempfile.TemporaryDirectory() as scratch:
            copied = Path(scratch, log)
            copied.parent.mkdir(parents=True)
            copied.write_bytes(read_log(place.store, sweep, number, place.cache))
            yield copied
            copy_from(place.store, artifacts, Path(scratch, artifacts))
            yield Path(scratch, artifacts)


def _finish(book: Book, machine: Machine, launched: Launched, projector: "Projector", place: Place) -> None:
    """The end of a sweep: its best model in the registry, its summary and plots on the parent run."""
    spec, best = machine.spec, machine.best()
    importances = {}
    if spec.tracking.plots:
        from podium.search.importance import importance

        importances = importance(spec, machine.trials.values())
    model = None
    try:
        with once():
            model = register(machine, launched, place) if spec.tracking.model else None
    except Exception as error:
        if is_fault(error) and not is_refusal(error):
            raise
        say(f"the best model of {spec.sweep!r} was not registered: {explain(error)}")
    if model is not None:
        book.facts(spec.sweep).put({"model": model})
    if best is not None and spec.tracking.plots and spec.tracking.inside:
        _attach_inside(machine, best, launched, projector, place)
    *_, last = book.rows(spec.sweep)
    projector.finish(last.at, machine.state, machine.reason, machine.trials, best, importances, model)
    book.facts(spec.sweep).put({"shown": last.sequence})


def _attach_inside(machine: Machine, best: Trial, launched: Launched, projector: "Projector", place: Place) -> None:
    """Adds pictures of the best network to its run, if it is one for images."""
    try:
        network = networks.trained_on_images(place, machine, launched, best)
        if network is None:
            return
        from podium.wiring import insides

        with tempfile.TemporaryDirectory() as scratch:
            insides.write(network, Path(scratch, INSIDE))
            projector.attach(best.number, Path(scratch, INSIDE))
    except Exception as error:
        if is_fault(error) and not is_refusal(error):
            raise
        say(f"there are no pictures of the inside of trial {best.number} of {machine.spec.sweep!r}: {explain(error)}")

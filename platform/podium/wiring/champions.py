"""Who is the champion of a model: the one way in which the alias moves, and what is known of all moves before."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

from podium.errors import LeaseLost, LookupFailed
from podium.ledger import HeldLedger
from podium.registry import promotion
from podium.registry.client import connect, registered
from podium.registry.reigns import Reigns, reigns
from podium.sweep.messages import Crowned, Crowning, Judged
from podium.tracking.provenance import user
from podium.wiring import tracker
from podium.wiring.place import Place

OTHERS_S, LOOK_EVERY_S = 60.0, 0.2
"""How long a command waits for another one that moves the alias of the same model."""


def ledger_of(model: str) -> str:
    """The name of a model's ledger, which no sweep can have."""
    return f"model/{model}"


class Throne:
    """The champion of one model, as long as nobody else can move it.

    Attributes:
        reigns: Who is the champion, and who was before.
    """

    def __init__(self, place: Place, model: str, ledger: HeldLedger) -> None:
        self._place, self._model, self._ledger = place, model, ledger
        self.reigns: Reigns = reigns(ledger.events())
        self._settle()

    def crown(self, version: str, how: Literal["promotion", "rollback", "found"], promotion_sweep: str = "") -> None:
        """Moves the alias: noted before and after, so that whoever comes after a crash can finish it."""
        crowning = Crowning(
            version=version,
            previous=self.reigns.champion,
            how=how,
            promotion=promotion_sweep,
            by=user() if how != "found" else "somebody outside of Podium",
        )
        self._ledger.append([crowning])
        self.reigns = self.reigns.after(crowning)
        self._finish(crowning)

    def note(self, judged: Judged) -> None:
        """Keeps what a promotion has found."""
        self._ledger.append([judged])

    def _settle(self) -> None:
        """Ends a move that was begun, unless its version is gone, and takes note of one that was made elsewhere."""
        uri, move = self._place.tracking_uri, self.reigns.open
        if move is not None and promotion.has_version(uri, self._model, move.version):
            self._finish(move)
        found = promotion.champion(uri, self._model)
        if found != self.reigns.champion or self.reigns.open is not None:
            self.crown(found, "found")

    def _finish(self, crowning: Crowning) -> None:
        if crowning.how != "found":
            promotion.crown(self._place.tracking_uri, self._model, crowning.version)
        crowned = Crowned(version=crowning.version)
        self._ledger.append([crowned])
        self.reigns = self.reigns.after(crowned)


@contextmanager
def throne(place: Place, model: str) -> Iterator[Throne]:
    """The champion of a model, held as long as the block lasts: of two promotions at once, one comes second.

    Raises:
        LeaseLost: if another command holds it for too long.
    """
    with waiting(place, ledger_of(model)) as held:
        yield Throne(place, model, held)


@contextmanager
def waiting(place: Place, name: str) -> Iterator[HeldLedger]:
    """Holds the lease of a name as long as the block lasts, once others have given it back.

    Raises:
        LeaseLost: if they do not for too long.
    """
    book, began = place.book(), time.monotonic()
    held = None
    while held is None:
        try:
            held = book.hold(name)
        except LeaseLost:
            if time.monotonic() - began > OTHERS_S:
                raise
            time.sleep(LOOK_EVERY_S)
    try:
        yield held
    finally:
        held.release()


def champion(place: Place, model: str) -> str:
    """The version in force; empty if there is none."""
    with throne(place, model) as held:
        return held.reigns.champion


def rollback(place: Place, model: str) -> dict[str, Any]:
    """Gives the alias back to the version that had it before, of those that are still there.

    Raises:
        LookupFailed: if the model does not exist or had no champion before.
    """
    tracker.require_answer(place.tracking_uri)
    registered(connect(place.tracking_uri), model)
    with throne(place, model) as held:
        *past, now = held.reigns.champions or ("",)
        known = [version for version in past if promotion.has_version(place.tracking_uri, model, version)]
        if not known:
            since = f" before version {now}" if now else ""
            raise LookupFailed(
                f"the model {model!r} has had no champion{since} that is still there; promote another version first"
            )
        held.crown(known[-1], "rollback")
    return {
        "name": model,
        "version": known[-1],
        "previous": now or None,
        "message": f"champion of {model} is version {known[-1]} again",
    }


def history(place: Place, model: str) -> list[dict[str, Any]]:
    """What happened to a model's alias, oldest first: verdicts of promotions, and moves; `at` in Unix seconds.

    Raises:
        LookupFailed: if nothing is known of the model.
    """
    book = place.book()
    if not book.has(ledger_of(model)):
        tracker.require_answer(place.tracking_uri)
        registered(connect(place.tracking_uri), model)
    told: list[dict[str, Any]] = []
    for row in book.rows(ledger_of(model)):
        if isinstance(row.event, Judged):
            told.append({"at": row.at, "what": "judged", **row.event.model_dump(exclude={"kind"})})
        elif isinstance(row.event, Crowning):
            told.append({"at": row.at, "what": "crowned", **row.event.model_dump(exclude={"kind"})})
    return told


def serve_ui(place: Place, port: int) -> NoReturn:
    """Becomes the MLflow server, on loopback: whoever ends this process ends the server."""
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": place.tracking_uri,  # it may hold a password, and a command line can be seen
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(place.artifacts),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    os.execve(sys.executable, server, {**os.environ, **settings})  # noqa: S606

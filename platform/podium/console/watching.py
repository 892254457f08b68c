"""`podium watch`: the live view of a sweep that another process drives, from its ledger alone."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Any, TypeVar

from podium.console.terminal import Screen
from podium.console.view import View
from podium.errors import PodiumError, StorageFault
from podium.sweep.messages import Launched, Resumed
from podium.wiring import summaries
from podium.wiring.place import Place
from podium.wiring.watching import Watched

T = TypeVar("T")

LOOK_EVERY_S = 0.5

SLOW_S = 2.0
"""After so long without an answer of the ledger its watcher says so."""

GONE_S = 15.0
"""How long a sweep may be without a driver before its watcher leaves: one that is started again takes a while."""


class Watching:
    """Looks at a sweep until it has ended, or nobody drives it any more.

    The ledger is read by a thread, which a lock may hold up, so that whoever waits can leave at any time. Machine and
    view are touched by that thread while it reads, and by the main one in between.

    Args:
        place: Where the sweep lives.
        sweep: Its name.
        screen: Where it is shown.
    """

    def __init__(self, place: Place, sweep: str, screen: Screen) -> None:
        self._place, self._sweep, self._screen = place, sweep, screen
        self._watched: Watched | None = None
        self._file: object = None
        self._replayed_at: float | None = None
        self._view = View(self._now)
        self._driver: str | None = None
        self._trouble = ""
        self._patient_until = 0.0

    def run(self) -> dict[str, Any]:
        """Shows the sweep until the end; returns its summary.

        Raises:
            LookupFailed: if there is no such sweep.
            UserError: if there is no ledger that can be read.
        """
        while not self._is_over():
            self._wait_for(in_background(self._look))
            self._show()
            time.sleep(0 if self._is_over() else LOOK_EVERY_S)
        self._screen.close()
        return self._wait_for(in_background(self._summary))

    def _is_over(self) -> bool:
        if self._watched is None or self._trouble or self._driver:
            return False
        return self._watched.machine.is_ended or time.monotonic() >= self._patient_until

    def _wait_for(self, future: "Future[T]") -> T:
        while True:
            try:
                return future.result(SLOW_S)
            except NotYet:
                if future.done():  # what was asked for has timed out by itself
                    raise
                told = "Reading the ledger" if self._watched is None else "The ledger does not answer; waiting for it"
                self._screen.note(told)

    def _show(self) -> None:
        if self._watched is None or self._trouble:
            self._screen.note(f"{self._trouble}; trying again")
            return
        machine, note = self._watched.machine, ""
        if machine.is_ended and self._driver:
            note = f"{self._sweep} has {machine.state}; its driver writes the last runs to MLflow"
        elif not machine.is_ended and not self._driver:
            note = "Nobody drives it" if self._is_over() else "Nobody drives it now; waiting for another driver"
        self._screen.show(self._view, machine, note)

    def _look(self) -> None:
        """Reads what is new. Once the sweep has been read, no trouble with the ledger lasts."""
        try:
            self._read()
            self._trouble = ""
        except StorageFault as fault:
            self._trouble = str(fault).partition(". ")[0]
        except PodiumError as error:
            if self._watched is None:
                raise
            self._trouble, self._file = str(error).partition(". ")[0], None

    def _read(self) -> None:
        file = identity(self._place)
        if self._watched is None or file != self._file:
            self._watched = Watched(self._place.book(), self._sweep)
            self._file = file
        for row in self._watched.news():
            if isinstance(row.event, Launched | Resumed):
                self._view = View(self._now)
            self._replayed_at = row.at
            self._view.take(self._watched.machine, [row.event])
        self._replayed_at = None
        self._driver = self._watched.driver()
        if self._driver:
            self._patient_until = time.monotonic() + GONE_S

    def _now(self) -> float:
        return time.time() if self._replayed_at is None else self._replayed_at

    def _summary(self) -> dict[str, Any]:
        return summaries.summarize(self._place.book(), self._sweep)


def identity(place: Place) -> object:
    """Which file the ledger is now; nothing of a database on a server.

    Raises:
        StorageFault: if it is gone; opening it would make an empty one.
    """
    if not place.ledger.startswith("sqlite:///"):
        return None
    path = Path(place.ledger.removeprefix("sqlite:///"))
    try:
        found = os.stat(path)
    except OSError as error:
        raise StorageFault(f"the ledger {path} cannot be read now: {error.strerror}") from error
    return found.st_dev, found.st_ino


def in_background(ask: Callable[[], T]) -> "Future[T]":
    """The answer of what may block, asked in a thread that keeps nobody from leaving."""
    future: Future[T] = Future()

    def answer() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:  # raised where the answer is awaited
            future.set_exception(error)

    threading.Thread(target=answer, name="ledger of a watcher", daemon=True).start()
    return future

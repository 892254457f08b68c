"""Reading: one thread keeps the sweeps up to date that somebody looks at; everybody else sees its pictures."""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from podium.errors import LookupFailed, PodiumError, StorageFault
from podium.ledger import Book
from podium.masking import Secrets
from podium.sweep.timeline import Timeline
from podium.wiring.place import Place
from podium.wiring.stories import Entry
from podium_board.importance import Importance
from podium_board.pictures import Picture, Watching

EVERY_S = 1.0
"""How often the ledger is asked for news."""

PIECE_S, LONG_PIECE_S = 0.3, 2.0
"""How long one sweep is read before the others have their turn; and one that is looked at, after its first picture."""

LOOKED_AT_S = 15.0
"""How long a sweep is kept up to date after somebody looked at it."""

KEPT_S = 900.0
"""How long its trials stay in memory then; of one that is seen in the list alone, and rests, only the summary does."""

LISTED_EVERY_S = 5.0
"""How often a sweep is looked at that nobody sees but in the list."""

AGAIN_S = 10.0
"""After so long a sweep with an event that cannot be read is read once more."""

LIST = ""
"""Looked at like a sweep of that name, which none has: the list of all."""


@dataclass(frozen=True)
class Trouble:
    """The ledger cannot be read: why, in words, and since when, in seconds since 1970."""

    text: str
    since: float


class Board:
    """All that the pages show.

    Args:
        place: Where the ledger is.

    Attributes:
        trouble: Why the ledger cannot be read; None if it can.
        read_at: When it was read last, in seconds since 1970; 0 if it never was.
        names: The sweeps there are, the oldest first; None as long as nobody knows.
        importance: Which parameters matter.
        book: The ledger, to be read only.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.trouble: Trouble | None = None
        self.read_at = 0.0
        self.names: list[str] | None = None
        self.importance = Importance(self._changed)
        self.book = Book(place.ledger, looks=True)
        self._watching: dict[str, Watching] = {}
        self._last: dict[str, Picture] = {}
        self._broken: dict[str, str] = {}
        self._again: dict[str, float] = {}
        self._listed: dict[str, float] = {}
        self._looked: dict[str, float] = {}
        self._edition = time.time_ns() // 1_000_000  # pages outlive a board, and the next one goes on counting
        self._editions: dict[str, int] = {}
        self._wake, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)

    def start(self) -> None:
        """Begins to read, the list first."""
        self._look(LIST)
        self._thread.start()

    def close(self) -> None:
        """Reads no more."""
        self._over.set()
        self._wake.set()
        self._thread.join()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is read any more."""
        return self._over.is_set()

    # what pages ask for

    def look(self, name: str) -> Picture | None:
        """The newest picture of a sweep; None as long as there is none.

        Raises:
            LookupFailed: if there is no such sweep.
        """
        self._look(name)
        picture = self._last.get(name)
        if picture is not None and picture.is_light:
            return None
        if picture is None and self.names is not None and name not in self.names:
            known = ", ".join(self.names[-10:]) or "none yet"
            raise LookupFailed(f"there is no sweep {name!r} here; the newest are: {known}")
        return picture

    @contextmanager
    def timeline(self, name: str) -> Iterator[Timeline | None]:
        """What became of every second of a sweep, which stands still meanwhile; None as long as it is not read."""
        watching = self._watching.get(name)
        if watching is None:
            yield None
            return
        with watching.lock:
            yield watching.timeline

    def story(self, name: str, trial: int) -> list[Entry]:
        """What is told of a trial; nothing as long as its sweep is not read."""
        watching = self._watching.get(name)
        if watching is None:
            return []
        with watching.lock:
            return watching.tales.of(trial)

    def look_at_all(self) -> Mapping[str, Picture]:
        """By name the pictures of all sweeps, as far as they were read."""
        self._look(LIST)
        return dict(self._last)

    def broken(self, name: str) -> str:
        """Why the newest events of a sweep cannot be shown, in words; empty if they are."""
        return self._broken.get(name, "")

    def edition(self, name: str) -> int:
        """Grows whenever what is shown of a sweep, or of the list, has changed; asking counts as looking at it."""
        self._look(name)
        return self._editions.get(name, 0)

    def _look(self, name: str) -> None:
        is_new = time.monotonic() - self._looked.get(name, -LOOKED_AT_S) >= LOOKED_AT_S
        self._looked[name] = time.monotonic()
        if is_new:
            self._wake.set()

    # the thread

    def _run(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                is_behind = self._round()
                self._note(None)
            except Exception as error:  # whatever it is, it may be over the next time
                is_behind = False
                self._note(error)
            if not is_behind:
                self._wake.wait(max(0.05, EVERY_S - (time.monotonic() - began)))
            self._wake.clear()
            for name, at in list(self._looked.items()):
                if time.monotonic() - at > KEPT_S:
                    self._looked.pop(name, None)

    def _round(self) -> bool:
        """Reads what is new of the sweeps looked at by name, then a piece of one that is seen in the list alone.

        Returns:
            Whether there is more to read at once.
        """
        now = time.monotonic()
        wanted = [name for name, at in sorted(self._looked.items(), key=lambda item: -item[1]) if _is_recent(at, now)]
        if not wanted:
            return False
        names = self.book.sweeps()
        if names != self.names:
            self.names = names
            self._changed(LIST)
        for name in (self._last.keys() | self._watching.keys()).difference(names):
            self._drop(name)
        named = [name for name in wanted if name in names]
        is_behind = [self._refresh(name, LONG_PIECE_S) for name in named if self._may_read(name, now)]
        if LIST in wanted:
            others = [name for name in reversed(names) if name not in named and self._may_read(name, now)]
            due = [name for name in others if self._is_due(name, now)]
            for name in sorted(due, key=lambda name: name in self._last)[:1]:
                self._listed[name] = now + LISTED_EVERY_S
                is_behind += [self._refresh(name, PIECE_S), len(due) > 1]
        self._forget(now)
        return any(is_behind)

    def _may_read(self, name: str, now: float) -> bool:
        return self._again.get(name, 0.0) <= now

    def _is_due(self, name: str, now: float) -> bool:
        """Whether a sweep that is seen in the list alone is to be looked at; an ended one may be forgotten already."""
        picture = self._last.get(name)
        if picture is None or (name in self._watching and self._watching[name].is_behind):
            return True
        if now < self._listed.get(name, 0.0):
            return False
        is_due = name in self._watching or (self.book.origin(name), self.book.last(name)) != picture.place
        if not is_due:
            self._listed[name] = now + LISTED_EVERY_S
        return is_due

    def _refresh(self, name: str, most_s: float) -> bool:
        """Reads a sweep on; returns whether there is more to read at once."""
        watching, broken = self._watching.get(name), ""
        try:
            if watching is None or self.book.origin(name) != watching.origin:
                watching = self._watching[name] = Watching(self.book, name)
            watching.refresh(PIECE_S if watching.picture is None else most_s)
        except (StorageFault, OSError, sa.exc.SQLAlchemyError):
            raise
        except Exception as error:  # half-written events, or those of another version, raise anything
            self._again[name] = time.monotonic() + AGAIN_S
            why = f"an event of {name!r} cannot be read ({type(error).__name__})"
            broken = f"{why}; `podium ledger verify {name}` tells which"
        picture, before = None if watching is None else watching.picture, self._last.get(name)
        is_new = picture is not None and picture is not before and not _is_earlier(picture, before)
        if picture is not None and is_new:
            self._last[name] = picture
        if is_new or broken != self._broken.get(name, ""):
            self._broken[name] = broken
            self._changed(name)
        if watching is None or broken:
            return False
        if watching.is_torn:  # the ledger was mended: what was taken by half is read anew
            del self._watching[name]
            return True
        return watching.is_behind

    def _forget(self, now: float) -> None:
        """Keeps of sweeps that nobody has looked at for long, and that nobody drives, the summary alone."""
        for name, watching in list(self._watching.items()):
            is_old = now - self._looked.get(name, -math.inf) > KEPT_S
            picture = self._last.get(name)
            if picture is not None and is_old and not watching.is_behind and picture.summary["driver"] is None:
                del self._watching[name]
                self._last[name] = picture.lightened()

    def _drop(self, name: str) -> None:
        """Forgets a sweep that the ledger has no more."""
        for known in (self._last, self._watching, self._broken, self._again, self._listed):
            known.pop(name, None)
        self._changed(name)

    def _note(self, error: Exception | None) -> None:
        if error is None:
            self.read_at = time.time()
        text = "" if error is None else self._told(error)
        if text == ("" if self.trouble is None else self.trouble.text):
            return
        self.trouble = Trouble(text, time.time()) if text else None
        for name in [LIST, *self._last]:
            self._changed(name)

    def _told(self, error: Exception) -> str:
        address = sa.make_url(self.place.ledger)
        if address.get_backend_name() == "sqlite" and not Path(address.database or "").exists():
            return f"there is no ledger at {address.database}"
        if isinstance(error, LookupFailed):
            return ""
        return Secrets().mask(str(error) if isinstance(error, PodiumError) else f"{type(error).__name__}: {error}")

    def _changed(self, name: str) -> None:
        self._edition += 1
        self._editions[name] = self._edition
        self._editions[LIST] = self._edition


def _is_recent(at: float, now: float) -> bool:
    return now - at < LOOKED_AT_S


def _is_earlier(picture: Picture, before: Picture | None) -> bool:
    """Whether a picture shows less of the same sweep than the one before it."""
    if before is None or before.is_light or before.origin != picture.origin:
        return False
    return picture.sequence < before.sequence

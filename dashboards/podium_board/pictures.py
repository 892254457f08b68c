"""Pictures: a sweep as it stood after one of its events. Immutable: pages are drawn while the ledger is read on."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from podium.drawing.panels import Panel
from podium.ledger import Book
from podium.ledger.book import Row
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Launched
from podium.sweep.timeline import Timeline
from podium.sweep.trial import Trial
from podium.wiring import requests, summaries
from podium.wiring.stories import Telling
from podium_board.curves import Curves, Gathered
from podium_board.tales import Tales

PIECE = 500
"""Rows that are read in a row before a page may come in between."""

SUMMARY_EVERY_S = 5.0
"""How often what lies beside the events is looked at: who drives, and notes such as the registered model."""


@dataclass(frozen=True)
class Picture:
    """One sweep at one moment.

    Attributes:
        name: Of the sweep.
        launched: Its first event.
        origin: The hash of that, which tells it from others of the same name.
        sequence: The place of the last event that it shows.
        last: The place of the last event there was.
        at: When that event came, in seconds since 1970.
        summary: What `podium status --json` prints.
        standing: What may be asked of it.
        curves: Of all metrics.
        panels: What charts are drawn from, by metric and by how much each parameter matters.
        drawn: The charts that were drawn of it, by what they are.
        is_light: Whether trials and curves were dropped to save memory, so that only the summary is left.
    """

    name: str
    launched: Launched
    origin: str
    sequence: int
    last: int
    at: float
    summary: Mapping[str, Any]
    standing: requests.Standing
    curves: Curves
    panels: dict[tuple[object, ...], Panel] = field(default_factory=dict)
    drawn: dict[tuple[object, ...], str] = field(default_factory=dict)
    is_light: bool = False

    def lightened(self) -> "Picture":
        """The summary alone."""
        standing = replace(self.standing, trials={})
        return replace(self, standing=standing, curves=Curves({}, {}), panels={}, drawn={}, is_light=True)

    @property
    def spec(self) -> SweepSpec:
        """The settings."""
        return self.standing.spec

    @property
    def trials(self) -> Mapping[int, Trial]:
        """By number, all trials."""
        return self.standing.trials

    @property
    def is_whole(self) -> bool:
        """Whether the whole ledger was read."""
        return self.sequence >= self.last

    @property
    def share_read(self) -> float:
        """How much of the ledger was read, from 0 to 1."""
        return (self.sequence + 1) / (self.last + 1)

    @property
    def place(self) -> tuple[str, int]:
        """Which event of which sweep it shows last."""
        return self.origin, self.sequence

    @cached_property
    def by_state(self) -> list[tuple[str, int]]:
        """How many trials are in each state that has any."""
        counts = self.summary["trials"]
        return [(state, counts[state]) for state in counts if state not in ("total", "budget")]


class Watching:
    """Keeps the picture of one sweep up to date; of a single thread, but for the timeline and the stories.

    Attributes:
        timeline: What became of every second, up to the last row that was read; to be looked at under `lock`.
        tales: What is told of each trial, likewise.
        picture: The newest one.
        is_torn: Whether an event was taken by half, since it cannot be understood.

    Raises:
        LookupFailed: if there is no such sweep.
        StorageFault: if the ledger cannot be read for now.
    """

    def __init__(self, book: Book, name: str) -> None:
        book.require(name)
        self.name, self.origin, self.lock = name, book.origin(name), threading.Lock()
        first = next(iter(book.rows(name, most=1))).event
        assert isinstance(first, Launched)
        self._launched, self.timeline, self.tales = first, Timeline(summaries.empty(first)), Tales()
        self._telling = Telling(self.timeline.machine, self.timeline.take)
        self._book, self._curves = book, Gathered()
        self._sequence, self._last, self._at = -1, -1, 0.0
        self._driver: str | None = None
        self._looked = 0.0
        self.picture: Picture | None = None
        self.is_torn = False

    @property
    def is_behind(self) -> bool:
        """Whether there is more to read at once."""
        return self._sequence < self._last

    def refresh(self, most_s: float) -> None:
        """Reads for about so long at most, and makes another picture if there is anything new.

        An event that cannot be read or understood raises anything; what came before it is in the picture then, and
        the next time goes on at the event.

        Raises:
            StorageFault: if the ledger cannot be read for now.
        """
        until, before = time.monotonic() + most_s, self._sequence
        self._last = self._book.last(self.name)
        try:
            while self.is_behind:
                for row in self._book.rows(self.name, self._sequence, PIECE):
                    with self.lock:
                        self._take(row)
                if time.monotonic() > until:
                    break
        finally:
            is_due = time.monotonic() - self._looked > SUMMARY_EVERY_S or self._book.holder(self.name) != self._driver
            if self._sequence > before or is_due:
                self._draw()

    def _take(self, row: Row) -> None:
        try:
            for entry in self._telling.tell(row):
                self.tales.take(entry)
        except Exception:
            self.is_torn = True
            raise
        self._curves.take([row.event])
        self._sequence, self._at = row.sequence, row.at

    def _draw(self) -> None:
        machine, before = self.timeline.machine, self.picture
        summary = summaries.summarize(self._book, self.name, machine)
        self._driver, self._looked = summary["driver"], time.monotonic()
        if before is not None and before.sequence == self._sequence and before.summary == summary:
            return
        self.picture = Picture(
            name=self.name,
            launched=self._launched,
            origin=self.origin,
            sequence=self._sequence,
            last=self._last,
            at=self._at,
            summary=summary,
            standing=requests.Standing.of(machine),
            curves=self._curves.now(),
        )

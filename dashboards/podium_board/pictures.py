"""Pictures: a sweep as it stood after one of its events. Immutable: pages are drawn while the ledger is read on."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from podium.drawing.panels import Panel
from podium.ledger import Book
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Launched
from podium.sweep.timeline import Timeline
from podium.sweep.trial import Trial
from podium.wiring import requests, summaries
from podium_board.curves import Curves, Gathered

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
        edition: Grows whenever there is another picture of the sweep.
        sequence: The place of the last event that it shows.
        last: The place of the last event there was.
        at: When that event came, in seconds since 1970.
        summary: What `podium status --json` prints.
        standing: What may be asked of it.
        spec: The settings.
        trials: By number, all trials.
        curves: Of all metrics.
        panels: What charts are drawn from, by metric.
        drawn: The charts that were drawn of it, by what they are.
        is_light: Whether trials and curves were dropped to save memory, so that only the summary is left.
    """

    name: str
    launched: Launched
    origin: str
    edition: int
    sequence: int
    last: int
    at: float
    summary: Mapping[str, Any]
    standing: requests.Standing
    spec: SweepSpec
    trials: Mapping[int, Trial]
    curves: Curves
    panels: dict[str, Panel] = field(default_factory=dict)
    drawn: dict[tuple[object, ...], str] = field(default_factory=dict)
    is_light: bool = False

    def lightened(self) -> "Picture":
        """The summary alone."""
        standing = replace(self.standing, trials={})
        return replace(self, standing=standing, trials={}, curves=Curves({}, {}), panels={}, drawn={}, is_light=True)

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

    @property
    def version(self) -> str:
        """Tells pictures of all sweeps apart."""
        return f"{self.origin[:12]}-{self.edition}"

    @cached_property
    def by_state(self) -> list[tuple[str, int]]:
        """How many trials are in each state that has any, and how many of the budget are still to come."""
        counts = self.summary["trials"]
        return [(state, counts[state]) for state in counts if state not in ("total", "budget")]


class Watching:
    """Keeps the picture of one sweep up to date; of a single thread, but for the timeline.

    Attributes:
        timeline: What became of every second, up to the last row that was read; to be looked at under `lock`.
        picture: The newest one.
        since: When it began, by a clock that only runs forward.

    Raises:
        LookupFailed: if there is no such sweep.
        StorageFault: if the ledger cannot be read for now.
    """

    def __init__(self, book: Book, name: str) -> None:
        book.require(name)
        self.name, self.origin, self.lock = name, book.origin(name), threading.Lock()
        first = next(iter(book.rows(name, most=1))).event
        assert isinstance(first, Launched)
        self._launched, self.timeline = first, Timeline(summaries.empty(first))
        self._book, self._curves = book, Gathered()
        self._sequence, self._last, self._at, self._edition = -1, -1, 0.0, 0
        self._driver: str | None = None
        self._looked = 0.0
        self.picture: Picture | None = None
        self.since = time.monotonic()

    @property
    def is_behind(self) -> bool:
        """Whether there is more to read at once."""
        return self._sequence < self._last

    def refresh(self, most_s: float) -> bool:
        """Reads for so long at most; returns whether there is another picture.

        Raises:
            StorageFault: if the ledger cannot be read for now.
        """
        until, has_news = time.monotonic() + most_s, False
        self._last = max(self._last, self._book.last(self.name))
        while self.is_behind and (not has_news or time.monotonic() < until):
            rows = list(self._book.rows(self.name, self._sequence, PIECE))
            with self.lock:
                for row in rows:
                    self.timeline.take(row.at, row.event)
                    self._sequence, self._at = row.sequence, row.at
            self._curves.take(row.event for row in rows)
            has_news = True
        is_due = time.monotonic() - self._looked > SUMMARY_EVERY_S or self._book.holder(self.name) != self._driver
        return self._draw() if has_news or is_due else False

    def _draw(self) -> bool:
        machine, before = self.timeline.machine, self.picture
        summary = summaries.summarize(self._book, self.name, machine)
        self._driver, self._looked = summary["driver"], time.monotonic()
        if before is not None and before.sequence == self._sequence and before.summary == summary:
            return False
        self._edition += 1
        self.picture = Picture(
            name=self.name,
            launched=self._launched,
            origin=self.origin,
            edition=self._edition,
            sequence=self._sequence,
            last=self._last,
            at=self._at,
            summary=summary,
            standing=requests.Standing.of(machine),
            spec=machine.spec,
            trials=dict(machine.trials),
            curves=self._curves.now(),
        )
        return True

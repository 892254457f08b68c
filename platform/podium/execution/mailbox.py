"""A mailbox of events between the thread that trains and the one that answers the driver."""

import math
import threading
import time

from podium.sweep.messages import Event, LaneProgress, Progress

PROGRESS_EVERY_S = 0.5
"""How long progress may lie here before it is handed out; other events take it along at once."""


class Mailbox:
    """Events in order; progress of several epochs is handed out as one event."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._progress: list[LaneProgress] = []
        self._gang = ""
        self._last = time.monotonic()
        self._news = threading.Condition()

    def put(self, event: Event) -> None:
        """Adds an event."""
        with self._news:
            if isinstance(event, Progress):
                self._gang = event.gang
                self._progress += event.lanes
            else:
                self._flush()
                self._events.append(event)
            self._news.notify_all()

    def take(self, timeout_s: float) -> list[Event]:
        """All events so far, waiting at most `timeout_s` for the first."""
        deadline = time.monotonic() + timeout_s
        with self._news:
            while not self._events:
                now = time.monotonic()
                due = self._last + PROGRESS_EVERY_S if self._progress else math.inf
                if due <= now:
                    self._flush()
                elif deadline <= now:
                    break
                else:
                    self._news.wait(min(due, deadline) - now)
            events, self._events = self._events, []
            return events

    def _flush(self) -> None:
        if self._progress:
            self._events.append(Progress(gang=self._gang, lanes=tuple(self._progress)))
            self._progress = []
        self._last = time.monotonic()

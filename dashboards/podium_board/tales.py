"""Stories of trials, as `podium ledger show` tells them: each ledger is read once, and then what is new."""

import threading
from collections import OrderedDict

from podium.ledger import Book
from podium.wiring.stories import Entry, Telling

MOST_SWEEPS = 2
"""Of so many sweeps the stories stay in memory."""


class Tale:
    """The story of one sweep, by trial."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._telling, self._sequence = Telling(), -1
        self._of: dict[int | None, list[Entry]] = {}

    def of(self, book: Book, sweep: str, trial: int) -> list[Entry]:
        """The entries of a trial up to now."""
        with self.lock:
            rows = list(book.rows(sweep, self._sequence))
            for entry in self._telling.tell(rows):
                self._of.setdefault(entry.trial, []).append(entry)
            self._sequence = rows[-1].sequence if rows else self._sequence
            return list(self._of.get(trial, ()))


class Tales:
    """The stories of the sweeps that were asked for last."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Tale] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, book: Book, sweep: str, origin: str, trial: int) -> list[Entry]:
        """The entries of a trial of the sweep whose first event has the hash `origin`."""
        with self._lock:
            tale = self._known.setdefault(origin, Tale())
            self._known.move_to_end(origin)
            while len(self._known) > MOST_SWEEPS:
                self._known.popitem(last=False)
        return tale.of(book, sweep, trial)

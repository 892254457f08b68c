"""Watching a sweep: its ledger is read once, and from then on only what is new."""

from collections.abc import Iterator

from podium.errors import LookupFailed
from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.messages import Launched
from podium.wiring import summaries


class Watched:
    """A sweep as its ledger has it; as new as its last news.

    Attributes:
        launched: Its first event.
        machine: The state after all rows that were read.
        sequence: The place of the last of them in the ledger.

    Raises:
        LookupFailed: if there is no such sweep.
    """

    def __init__(self, book: Book, sweep: str) -> None:
        book.require(sweep)
        self._book, self._sweep = book, sweep
        first = next(book.rows(sweep, most=1)).event
        assert isinstance(first, Launched)
        self.launched, self.machine, self.sequence = first, summaries.empty(first), -1

    def news(self) -> Iterator[Row]:
        """The rows that are new, each when the machine has just taken it.

        Raises:
            StorageFault: if the ledger cannot be read for now.
        """
        for row in list(self._book.rows(self._sweep, self.sequence)):
            self.machine.handle(row.event)
            self.sequence = row.sequence
            yield row

    def driver(self) -> str | None:
        """Who drives the sweep now, in words; None if nobody does.

        Raises:
            StorageFault: if the ledger cannot be read for now.
        """
        return self._book.holder(self._sweep)


def newest_driven(book: Book) -> str:
    """The newest sweep that somebody drives now.

    Raises:
        LookupFailed: if there is none.
    """
    for sweep in reversed(book.sweeps()):
        if book.holder(sweep) is not None:
            return sweep
    raise LookupFailed("no sweep is running here; `podium list` shows all, and `podium watch NAME` how one ended")

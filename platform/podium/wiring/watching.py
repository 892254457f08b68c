"""Watching a sweep: its ledger is read once, and from then on only what is new."""

from podium.ledger import Book
from podium.ledger.book import Row
from podium.sweep.messages import Launched
from podium.wiring import summaries


class Watched:
    """A sweep as its ledger has it; as new as the last `refresh`.

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
        first = next(iter(book.rows(sweep))).event
        assert isinstance(first, Launched)
        self.launched, self.machine, self.sequence = first, summaries.empty(first), -1

    def refresh(self) -> list[Row]:
        """Reads the rows that are new, lets the machine take them, and returns them.

        Raises:
            StorageFault: if the ledger cannot be read for now.
        """
        rows = list(self._book.rows(self._sweep, self.sequence))
        for row in rows:
            self.machine.handle(row.event)
            self.sequence = row.sequence
        return rows

"""The audit: whether a sweep's rows are those that were written."""

from podium.errors import PodiumError
from podium.ledger.book import Book
from podium.ledger.schema import decode, digest


def audit(book: Book, sweep: str) -> list[str]:
    """What is wrong with the rows of a sweep, in words; empty if they are as they were written.

    Every row holds a hash over itself and the hash of the row before it, so a row that was altered, removed, added or
    moved shows. Rows removed from the end do not: nothing after them tells that they were there.
    """
    problems = []
    previous, epoch = "", 0
    for expected, row in enumerate(book.written(sweep)):
        where = f"event {row['sequence']} ({row['kind']})"
        if row["sequence"] != expected:
            problems.append(f"{where} stands where event {expected} should be: rows are missing")
            return problems
        if row["previous_hash"] != previous:
            problems.append(f"{where} does not follow the event before it: its previous_hash is another one")
        if row["hash"] != digest(row["previous_hash"], row):
            problems.append(f"{where} was altered: its hash is not that of its content")
        if row["holder_epoch"] < epoch:
            problems.append(f"{where} was written by holder {row['holder_epoch']} after holder {epoch} took over")
        previous, epoch = row["hash"], max(epoch, row["holder_epoch"])
        try:
            decode(row["body"], row["schema_version"])
        except (ValueError, KeyError, PodiumError) as error:
            problems.append(f"{where} cannot be read: {str(error).splitlines()[0]}")
    return problems

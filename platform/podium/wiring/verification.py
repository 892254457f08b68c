"""Whether a sweep's ledger can be believed: its chain of hashes, its replay, and what holds after every event."""

from podium.errors import PodiumError
from podium.ledger import Book, audit
from podium.sweep.invariants import violations
from podium.sweep.machine import Machine
from podium.sweep.messages import Launched, Progress
from podium.wiring import summaries

EVERY_EVENT = 2000
"""Up to this event the invariants are checked after every one, from then on after every hundredth and at the end:
a check looks at all trials, and what is broken once stays so."""


def verify(book: Book, sweep: str) -> list[str]:
    """What is wrong with a sweep's ledger, or a model's (`model/NAME`), in words; empty if it is whole.

    Raises:
        LookupFailed: if there is no such sweep.
    """
    if not book.has(sweep):
        book.require(sweep)
    problems = audit(book, sweep)
    is_sweep = "/" not in sweep
    if is_sweep and not any("cannot be read" in problem for problem in problems):
        problems += _replayed(book, sweep)
    return problems


def _replayed(book: Book, sweep: str) -> list[str]:
    machine: Machine | None = None
    sequence = 0
    for sequence, _, event in book.rows(sweep):
        if machine is None:
            if not isinstance(event, Launched):
                return [f"event {sequence} is {event.kind}; a ledger begins with its launch"]
            machine = summaries.empty(event)
        try:
            machine.handle(event)
        except (PodiumError, LookupError, ValueError) as error:
            return [f"event {sequence} ({event.kind}) contradicts those before it: {error}"]
        is_due = sequence < EVERY_EVENT or sequence % 100 == 0
        if is_due and not isinstance(event, Progress) and (broken := list(violations(machine))):
            return [f"after event {sequence} ({event.kind}): {problem}" for problem in broken]
    return [] if machine is None else [f"after event {sequence}: {problem}" for problem in violations(machine)]

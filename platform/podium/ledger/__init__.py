"""The append-only truth: events of sweeps in a database, under a lease."""

from podium.ledger.audit import audit
from podium.ledger.book import Book, HeldLedger, Reading, Row

__all__ = ["Book", "HeldLedger", "Reading", "Row", "audit"]

"""The ledger on PostgreSQL: a server that dies, a password that is not told, a driver that is missing."""

import signal
import sys

import pytest
from postgresql_server import PASSWORD

from podium.errors import StorageFault, UserError
from podium.ledger import Book, audit
from podium.sweep.messages import Exhausted


def test_a_server_that_dies_is_a_fault_and_then_over(postgresql):
    url = postgresql.new_database()
    book = Book(url)
    ledger = book.hold("s")
    ledger.append([Exhausted(number=0)])
    postgresql.stop(signal.SIGQUIT)
    with pytest.raises(StorageFault, match=r"://podium:\*\*\*@127\.0\.0\.1.* cannot be used for now") as fault:
        ledger.append([Exhausted(number=1)])
    assert PASSWORD not in str(fault.value)
    with pytest.raises(StorageFault, match="cannot be used for now"):
        Book(url)
    postgresql.start()
    assert ledger.append([Exhausted(number=1)]) == 1
    assert audit(book, "s") == []
    book.close()


def test_a_wrong_password_is_not_told(postgresql):
    url = postgresql.new_database().replace(PASSWORD, "wrong-secret")
    with pytest.raises(StorageFault, match="password authentication failed") as fault:
        Book(url)
    assert "wrong-secret" not in str(fault.value)


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"needs the package psycopg: pip install 'podium\[postgresql\]'"):
        Book("postgresql://podium:secret@127.0.0.1/podium")

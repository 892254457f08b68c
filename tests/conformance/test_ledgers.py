"""Every ledger against one suite."""

import pytest

from podium.ledger import Book
from podium.testing.ledgers import LedgerSuite, MemoryBook


class TestMemoryBook(LedgerSuite):
    @pytest.fixture
    def shelf(self):
        return MemoryBook()


class TestBookOnPostgreSQL(LedgerSuite):
    @pytest.fixture
    def shelf(self, postgresql):
        book = Book(postgresql.new_database())
        yield book
        book.close()


class TestBookOnSQLite(LedgerSuite):
    @pytest.fixture
    def shelf(self, tmp_path):
        book = Book.at_home(tmp_path / "home")
        yield book
        book.close()

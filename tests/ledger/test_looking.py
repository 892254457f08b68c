"""A book that is only looked at: it makes nothing, writes nothing, and sees what others write."""

import pytest

from podium.errors import StorageFault
from podium.ledger import Book
from podium.sweep.messages import Launched, Resumed, StopRequested

LAUNCHED = Launched(identity="i", spec={"sweep": "s"})


@pytest.fixture
def home(tmp_path):
    held = Book.at_home(tmp_path / "it's %41?#").hold("s")
    held.append([LAUNCHED, *(Resumed(holder=str(number)) for number in range(5))])
    held.release()
    return tmp_path / "it's %41?#"


def looking(home):
    return Book(f"sqlite:///{home / 'ledger.db'}", looks=True)


def test_it_makes_nothing(tmp_path):
    book = looking(tmp_path / "nowhere")
    with pytest.raises(StorageFault, match="unable to open"):
        book.sweeps()
    assert not (tmp_path / "nowhere").exists()


def test_it_writes_nothing(home):
    book = looking(home)
    for write in (lambda: book.request("s", StopRequested()), lambda: book.hold("s"), book.require_writable):
        with pytest.raises(StorageFault, match="readonly"):
            write()
    with pytest.raises(StorageFault, match="readonly"):
        book.facts("s").put({"a": 1})


def test_it_sees_what_others_write(home):
    book, writer = looking(home), Book.at_home(home)
    assert book.last("s") == 5
    writer.hold("s").append([Resumed(holder="later")])
    assert book.last("s") == 6
    assert book.holder("s") is not None


def test_rows_come_in_pieces(home):
    book = looking(home)
    assert [row.sequence for row in book.rows("s", most=2)] == [0, 1]
    assert [row.sequence for row in book.rows("s", 1, 3)] == [2, 3, 4]
    assert [row.sequence for row in book.rows("s", 4, 3)] == [5]


def test_the_first_row_tells_sweeps_apart(home, tmp_path):
    other = Book.at_home(tmp_path / "other")
    other.hold("s").append([LAUNCHED])
    book = looking(home)
    assert book.origin("s") == Book.at_home(home).origin("s") != other.origin("s")
    assert (book.origin("none"), book.last("none")) == ("", -1)


def test_some_facts(home):
    Book.at_home(home).facts("s").put({"a": 1, "b": [2], "c": None})
    assert looking(home).facts("s").some(["a", "c", "d"]) == {"a": 1, "c": None}

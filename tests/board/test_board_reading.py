"""The board survives what happens to its ledger, and never writes to it."""

import os
import shutil
import sqlite3
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import postgresql_server
import pytest
from boards import until, whole
from large_sweeps import Played, large_spec, play, write

from podium.errors import LookupFailed, StorageFault, UserError
from podium.ledger import Book
from podium.sweep.messages import Resumed, StopRequested
from podium.wiring import summaries
from podium.wiring.place import Place
from podium.wiring.stories import story
from podium.wiring.watching import Watched
from podium_board import pictures, promotions, reading
from podium_board.reading import Board


@pytest.fixture(scope="module")
def small():
    return play(large_spec("small", trials=12), gangs=2)


@pytest.fixture
def home(tmp_path, small):
    write(tmp_path / "home", small)
    return tmp_path / "home"


def renamed(played: Played, name: str) -> Played:
    """The same sweep under another name."""
    at, launched = played.rows[0]
    again = launched.model_copy(update={"spec": {**launched.spec, "sweep": name}, "identity": name})
    spec = played.spec.model_copy(update={"sweep": name})
    return replace(played, spec=spec, rows=[(at, again), *played.rows[1:]])


def append(home: Path, name: str, *events: object) -> None:
    """Appends events as a driver does."""
    book = Book.at_home(home)
    held = book.hold(name)
    held.append(events)
    held.release()
    book.close()


def test_an_empty_home_is_no_trouble_and_a_sweep_launched_later_comes(open_board, tmp_path, small):
    board = open_board(tmp_path / "nothing")
    until(lambda: board.trouble)
    assert "there is no ledger" in board.trouble.text
    assert not (tmp_path / "nothing").exists()  # looking makes nothing
    write(tmp_path / "nothing", small)
    assert until(lambda: board.look_at_all().get("small"))
    assert until(lambda: board.trouble is None)


def test_a_sweep_that_nobody_has(open_board, home):
    board = open_board(home)
    until(lambda: board.names)
    with pytest.raises(LookupFailed, match=r"no sweep 'smal' here; the newest are: small"):
        board.look("smal")


def test_a_deleted_ledger_leaves_the_last_picture_and_is_read_again_when_it_is_back(open_board, home):
    board = open_board(home)
    before = until(lambda: whole(board, "small"))
    kept = home.parent / "kept.db"
    shutil.move(home / "ledger.db", kept)
    until(lambda: board.look("small") and board.trouble)
    assert "there is no ledger" in board.trouble.text
    assert board.look("small").sequence == before.sequence
    assert not (home / "ledger.db").exists()
    shutil.move(kept, home / "ledger.db")
    until(lambda: board.look("small") and board.trouble is None)


def test_another_ledger_under_the_same_name_starts_anew(open_board, home, tmp_path):
    board = open_board(home)
    before = until(lambda: whole(board, "small"))
    for file in home.iterdir():
        file.unlink()
    write(home, play(large_spec("small", trials=5), gangs=1))
    after = until(lambda: (found := whole(board, "small")) and found.origin != before.origin and found)
    assert len(after.trials) == 5


def begun(lock: sqlite3.Connection) -> bool:
    """Whether the lock was had; the board may be reading."""
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def test_a_lock_is_told_and_waited_out(open_board, home, monkeypatch):
    board = open_board(home)
    before = until(lambda: whole(board, "small"))
    lock = sqlite3.connect(home / "ledger.db", isolation_level=None)
    lock.execute("PRAGMA locking_mode=EXCLUSIVE")  # a writer in WAL mode locks nobody out; this one does
    until(lambda: begun(lock))
    until(lambda: board.look("small") and board.trouble)
    assert "locked" in board.trouble.text
    assert board.look("small").sequence == before.sequence
    lock.execute("COMMIT")
    lock.close()
    until(lambda: board.look("small") and board.trouble is None)


def test_a_damaged_file_is_told(open_board, home):
    (home / "ledger.db").write_bytes(b"this is no database" * 100)
    board = open_board(home)
    until(lambda: board.trouble)
    assert "file is not a database" in board.trouble.text


def test_a_half_written_event_keeps_the_picture_before_it_and_is_read_once_mended(open_board, home, monkeypatch):
    monkeypatch.setattr(reading, "AGAIN_S", 0.2)
    board = open_board(home)
    before = until(lambda: whole(board, "small"))
    append(home, "small", Resumed(holder="somebody"))
    with sqlite3.connect(home / "ledger.db") as database:
        change = "UPDATE events SET body = ? WHERE sweep = 'small' AND kind = 'resumed'"
        [(whole_body,)] = database.execute("SELECT body FROM events WHERE kind = 'resumed'").fetchall()
        database.execute(change, ('{"kind": "resumed", "hol',))
    database.close()
    told = until(lambda: board.look("small") and board.broken("small"))
    assert "`podium ledger verify small` tells which" in told
    assert board.look("small").sequence in (before.sequence, before.sequence + 1)
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute(change, (whole_body,))
    database.close()
    after = until(lambda: (found := whole(board, "small")) and found.sequence > before.sequence and found)
    assert board.broken("small") == ""
    assert after.summary["trials"] == before.summary["trials"]


def test_a_sweep_that_is_resumed_goes_on(open_board, tmp_path, small):
    half = len(small.rows) // 2
    write(tmp_path, small, small.rows[:half])
    board = open_board(tmp_path)
    before = until(lambda: whole(board, "small"))
    assert before.summary["state"] == "interrupted"
    book = Book.at_home(tmp_path)
    held = book.hold("small")
    held.append([Resumed(holder="another")])
    after = until(lambda: (found := whole(board, "small")) and found.summary["state"] == "running" and found)
    assert after.sequence == half
    assert after.summary["driver"] == book.holder("small")
    held.release()
    until(lambda: whole(board, "small").summary["state"] == "interrupted", 40)


def test_it_never_writes(open_board, home):
    board = open_board(home)
    until(lambda: whole(board, "small"))
    with pytest.raises(StorageFault, match="readonly"):
        board.book.require_writable()


def test_a_folder_that_cannot_be_written(open_board, home, small_disk):
    """A mount that is read-only even for root."""
    there = small_disk / "home"
    there.mkdir()
    shutil.copy(home / "ledger.db", there / "ledger.db")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert not os.access(there, os.W_OK)
    board = open_board(there)
    assert len(until(lambda: whole(board, "small")).trials) == 12
    assert board.trouble is None


@pytest.mark.slow
def test_postgresql_that_goes_away_and_comes_back(tmp_path, small):
    binaries = postgresql_server.find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed; tests/services.sh installs it on Debian, as root")
    with postgresql_server.running(binaries) as server:
        url = server.new_database()
        held = Book(url).hold("small")
        held.append([event for _, event in small.rows])
        held.release()
        board = Board(Place.of(tmp_path, ledger=url))
        board.start()
        before = until(lambda: whole(board, "small"))
        with pytest.raises(UserError, match="read-only"):
            board.book.request("small", StopRequested())
        server.stop()
        until(lambda: board.look("small") and board.trouble)
        assert board.look("small").sequence == before.sequence
        assert postgresql_server.PASSWORD not in board.trouble.text
        server.start()
        until(lambda: board.look("small") and board.trouble is None)
        board.close()


def test_sweeps_that_nobody_looks_at_are_forgotten_but_for_their_summary(open_board, home, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_S", 0.1)
    monkeypatch.setattr(reading, "LOOKED_AT_S", 0.2)
    board = open_board(home)
    until(lambda: board.look_at_all().get("small") and not board.look_at_all()["small"].trials)
    assert board.look_at_all()["small"].summary["trials"]["total"] == 12
    monkeypatch.setattr(reading, "KEPT_S", 900.0)
    assert len(until(lambda: whole(board, "small")).trials) == 12


def test_names_that_somebody_made_up_are_forgotten(open_board, home, monkeypatch):
    monkeypatch.setattr(reading, "KEPT_S", 0.1)
    board = open_board(home)
    for number in range(100):
        assert board.edition(f"none-{number}") == 0
    until(lambda: not [name for name in list(board._looked) if name.startswith("none")])


def test_all_kinds_of_sweeps_are_listed(board, prepared):
    assert set(board.look_at_all()) == set(prepared[1])


def unstarted(home: Path) -> Board:
    """A board whose rounds the test makes."""
    return Board(Place.of(home))


def test_what_is_looked_at_is_read_before_the_list(tmp_path, small):
    for number in range(4):
        write(tmp_path, renamed(small, f"sweep-{number}"))
    board = unstarted(tmp_path)
    board.look_at_all()
    assert board._round()
    assert set(board.look_at_all()) == {"sweep-3"}, "one piece of one sweep, the newest first"
    board.look("sweep-0")
    assert board._round()
    assert list(board.look_at_all()) == ["sweep-3", "sweep-0", "sweep-2"]
    while board._round():
        pass
    assert len(board.look_at_all()) == 4


def test_of_what_the_list_alone_shows_the_summary_stays(tmp_path, small):
    for name in ("seen", "listed"):
        write(tmp_path, renamed(small, name))
    board = unstarted(tmp_path)
    board.look_at_all()
    board.look("seen")
    while board._round():
        pass
    pictures = board.look_at_all()
    assert {name: picture.is_light for name, picture in pictures.items()} == {"seen": False, "listed": True}
    assert pictures["listed"].summary["trials"]["total"] == 12
    assert set(board._watching) == {"seen"}


def test_a_sweep_that_the_ledger_has_no_more_is_shown_no_more(home, small):
    board = unstarted(home)
    board.look("small")
    board._round()
    assert whole(board, "small")
    edition = board.edition("small")
    for file in home.iterdir():
        file.unlink()
    write(home, renamed(small, "other"))
    board._round()
    with pytest.raises(LookupFailed, match="the newest are: other"):
        board.look("small")
    assert "small" not in board.look_at_all()
    assert board.edition("small") > edition, "an open page hears of it"


@pytest.mark.parametrize(
    "body", ['{"kind": "resumed", "hol', '{"kind": "launched", "identity": "x", "spec": {}, "text": ""}']
)
def test_an_event_that_cannot_be_taken_neither_flaps_nor_has_all_read_again(home, small, monkeypatch, body):
    monkeypatch.setattr(reading, "AGAIN_S", 0.0)
    asked = []
    rows = Book.rows
    monkeypatch.setattr(Book, "rows", lambda book, *where, **most: asked.append(where) or rows(book, *where, **most))
    board = unstarted(home)
    append(home, "small", Resumed(holder="somebody"), Resumed(holder="another"))
    change(home, len(small.rows), body)
    board.look("small")
    board._round()
    told, picture, edition = board.broken("small"), board.look("small"), board.edition("small")
    assert "cannot be read" in told
    assert picture.sequence == len(small.rows) - 1, "what came before is shown"
    asked.clear()
    for _ in range(3):
        board._round()
    assert (board.broken("small"), board.look("small"), board.edition("small")) == (told, picture, edition)
    assert asked == [("small", len(small.rows) - 1, pictures.PIECE)] * 3
    change(home, len(small.rows), Resumed(holder="somebody").model_dump_json())
    while board._round():
        pass
    assert board.broken("small") == ""
    assert whole(board, "small").sequence == len(small.rows) + 1


def change(home: Path, sequence: int, body: str) -> None:
    """Writes something else into an event."""
    with sqlite3.connect(home / "ledger.db") as database:
        database.execute("UPDATE events SET body = ? WHERE sequence = ?", (body, sequence))
    database.close()


def test_the_next_board_counts_editions_on(home):
    before = unstarted(home)
    before.look("small")
    before._round()
    time.sleep(0.01)
    after = unstarted(home)
    after.look("small")
    after._round()
    assert after.edition("small") > before.edition("small")


def test_stories_are_those_of_the_ledger(board, prepared):
    for name in ("troubled", "finished", "interrupted"):
        whole_story = list(story(board.book, name))
        for number in until(lambda name=name: whole(board, name)).trials:
            assert board.story(name, number) == [entry for entry in whole_story if entry.trial == number]


def test_first_rows_are_asked_for_alone(board, prepared, monkeypatch):
    """Some databases send all rows before the first one is seen."""
    machine, asked = summaries.load(board.book, "finished"), []
    rows = Book.rows
    monkeypatch.setattr(Book, "rows", lambda book, *where, **most: asked.append(most) or rows(book, *where, **most))
    mine = Book.at_home(prepared[0])
    summaries.summarize(mine, "finished", machine)
    Watched(mine, "finished")
    assert promotions._promoting(mine, "finished") is None
    assert asked == [{"most": 1}, {"most": 1}, {"most": 2}]
    mine.close()

"""The book on SQLite: the chain of hashes, leases between processes, and what a killed process leaves."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa

from podium.errors import LeaseLost, LookupFailed, StorageFault, UserError
from podium.ledger import Book, audit, database, lease
from podium.ledger.schema import EVENTS, LEASES
from podium.sweep import messages
from podium.sweep.messages import Exhausted, Launched, StopRequested, TimeSpent
from podium.testing.ledgers import ONE_OF_EACH

APPEND_FOR_EVER = """
import itertools, sys, time
from pathlib import Path
from podium.ledger import Book
from podium.sweep.messages import TimeSpent
ledger = Book.at_home(Path(sys.argv[1])).hold("s")
for number in itertools.count():
    ledger.append([TimeSpent(seconds=2 * number), TimeSpent(seconds=2 * number + 1)])
    print(number, flush=True)
    time.sleep(0.005)
"""

HOLD_AND_WAIT = """
import sys
from pathlib import Path
from podium.ledger import Book
ledger = Book.at_home(Path(sys.argv[1])).hold("s")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def shelf(tmp_path):
    shelf = Book.at_home(tmp_path)
    yield shelf
    shelf.close()


@pytest.fixture
def spawn(tmp_path):
    """Starts a script on the same home folder in another process."""
    children = []

    def start(script):
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def raw(tmp_path, table=EVENTS):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(table).order_by(*table.primary_key)).mappings().all()
    engine.dispose()
    return rows


def test_every_row_is_chained_to_the_one_before(shelf, tmp_path):
    ledger = shelf.hold("s")
    ledger.append(ONE_OF_EACH[:3])
    ledger.append(ONE_OF_EACH[3:])
    ledger.release()
    shelf.hold("s").append([TimeSpent(seconds=1.0)])
    rows = raw(tmp_path)
    assert audit(shelf, "s") == []
    assert [row["kind"] for row in rows] == [event.kind for event in ONE_OF_EACH] + ["time_spent"]
    assert [row["holder_epoch"] for row in rows] == [1] * len(ONE_OF_EACH) + [2]
    assert {row["schema_version"] for row in rows} == {1}


FORGED = {"body": '{"kind":"exhausted","number":7}', "at": 7.0, "kind": "saved", "holder_epoch": 0, "schema_version": 2}


@pytest.mark.parametrize("column", [*FORGED, "previous_hash", "hash"])
def test_an_altered_row_shows(shelf, tmp_path, column):
    shelf.hold("s").append([Exhausted(number=number) for number in range(4)])
    change(tmp_path, EVENTS.update().where(EVENTS.c.sequence == 1).values({column: FORGED.get(column, "0" * 64)}))
    assert any("event 1 " in problem or "event 2 " in problem for problem in audit(shelf, "s"))


def test_a_missing_a_moved_and_an_added_row_show(shelf, tmp_path):
    shelf.hold("s").append([Exhausted(number=number) for number in range(4)])
    whole = raw(tmp_path)
    change(tmp_path, EVENTS.delete().where(EVENTS.c.sequence == 1))
    assert audit(shelf, "s") == ["event 2 (exhausted) stands where event 1 should be: rows are missing"]
    change(tmp_path, EVENTS.update().where(EVENTS.c.sequence == 2).values(sequence=1))
    assert audit(shelf, "s")
    change(tmp_path, EVENTS.delete())
    change(tmp_path, EVENTS.insert().values([dict(row) for row in whole]))
    assert audit(shelf, "s") == []
    change(tmp_path, EVENTS.insert().values({**whole[3], "sequence": 4}))
    assert len(audit(shelf, "s")) == 2


def change(tmp_path, statement):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(statement)
    engine.dispose()


def test_rows_are_read_from_where_one_left_off(shelf):
    shelf.hold("s").append([Exhausted(number=number) for number in range(5)])
    assert [row.event.number for row in shelf.rows("s", after=2)] == [3, 4]
    assert [row.sequence for row in shelf.rows("s")] == [0, 1, 2, 3, 4]
    assert all(row.at > 1.7e9 for row in shelf.rows("s"))


def test_knows_its_sweeps_oldest_first(shelf):
    for name in ("b", "a"):
        shelf.hold(name).append([Exhausted(number=0)])
    shelf.hold("empty")
    assert shelf.sweeps() == ["b", "a"]
    assert (shelf.has("a"), shelf.has("empty"), shelf.has("c")) == (True, False, False)
    shelf.require("a")
    with pytest.raises(LookupFailed, match="no sweep 'c' here; known sweeps: b, a"):
        shelf.require("c")


def test_facts_are_kept_by_sweep_and_replaced_by_key(shelf):
    facts = shelf.facts("s")
    facts.put({"run_id": "abc", "startup_s": 1.5})
    facts.put({"run_id": "def", "nested": {"list": [1, None]}})
    assert facts.all() == {"run_id": "def", "startup_s": 1.5, "nested": {"list": [1, None]}}
    assert (facts.get("run_id"), facts.get("unknown")) == ("def", None)
    assert shelf.facts("t").all() == {}


# leases


def test_the_holder_is_named(shelf):
    assert shelf.holder("s") is None
    ledger = shelf.hold("s")
    assert f"process {os.getpid()} on" in shelf.holder("s")
    ledger.release()
    assert shelf.holder("s") is None


def test_another_process_is_refused_until_the_holder_dies(shelf, spawn):
    child = spawn(HOLD_AND_WAIT)
    assert child.stdout.readline() == "held\n"
    with pytest.raises(LeaseLost, match=f"'s' is already driven by process {child.pid} on .*podium status s"):
        shelf.hold("s")
    child.kill()
    child.wait()
    assert shelf.holder("s") is None
    assert shelf.hold("s").epoch == 2


def test_the_lease_of_a_busy_driver_is_kept_by_its_thread(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "RENEW_S", 0.05)
    ledger = shelf.hold("s")
    alter(tmp_path, expires=1.0)
    wait_until(lambda: raw(tmp_path, LEASES)[0]["expires"] > time.time())
    alter(tmp_path, holder_epoch=2)
    wait_until(lambda: is_lost(ledger))
    with pytest.raises(LeaseLost, match="taken over by process"):
        ledger.append([Exhausted(number=0)])
    with pytest.raises(LeaseLost, match="taken over by process"):
        ledger.check()
    assert list(shelf.rows("s")) == []


def test_a_released_lease_is_not_renewed(shelf, monkeypatch, tmp_path):
    monkeypatch.setattr(lease, "RENEW_S", 0.02)
    shelf.hold("s").release()
    time.sleep(0.2)
    assert raw(tmp_path, LEASES)[0]["expires"] == 0


def is_lost(ledger):
    try:
        ledger.renew()
    except LeaseLost:
        return True
    return False


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alter(tmp_path, **values):
    change(tmp_path, LEASES.update().values(**values))


# faults


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1] + "/ledger.db", isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_locked_file_is_a_fault_and_then_over(tmp_path, spawn, monkeypatch):
    monkeypatch.setattr(database, "BUSY_S", 0.2)
    shelf = Book.at_home(tmp_path)
    ledger = shelf.hold("s")
    ledger.append([Exhausted(number=0)])
    child = spawn(LOCK)
    assert child.stdout.readline() == "locked\n"
    with pytest.raises(StorageFault, match=rf"{tmp_path}/ledger\.db cannot be used for now: database is locked"):
        ledger.append([Exhausted(number=1)])
    assert [row.event.number for row in shelf.rows("s")] == [0], "readers do not wait for writers"
    child.kill()
    child.wait()
    assert ledger.append([Exhausted(number=1)]) == 1
    assert audit(shelf, "s") == []
    shelf.close()


def test_a_full_disk_is_a_fault_and_then_over(small_disk):
    shelf = Book.at_home(small_disk)
    ledger = shelf.hold("s")
    ledger.append([Exhausted(number=0)])
    ballast = small_disk / "ballast"
    fill(ballast)
    big = Launched(identity="i", spec={}, text="x" * 1_000_000)
    with pytest.raises(StorageFault, match=r"ledger\.db cannot be used for now: .*full.*podium resume"):
        ledger.append([big])
    ballast.unlink()
    assert ledger.append([Exhausted(number=1)]) == 1
    assert [row.event.number for row in shelf.rows("s")] == [0, 1]
    assert audit(shelf, "s") == []
    shelf.close()


def fill(path):
    """Takes all the space that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "ledger.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match=r"cannot be read as a ledger: file is not a database\. Move it away"):
        Book.at_home(tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "cannot be read; write postgresql://"),
        (
            "mysql://user:secret@host/db",
            r"cannot be on mysql: mysql://user:\*\*\*@host/db; it is on sqlite or postgresql",
        ),
    ],
)
def test_an_address_of_another_kind_is_refused(url, said):
    with pytest.raises(UserError, match=said):
        Book(url)


# processes


def test_a_killed_process_leaves_whole_transactions(shelf, spawn, tmp_path):
    child = spawn(APPEND_FOR_EVER)
    acknowledged = [int(child.stdout.readline()) for _ in range(20)][-1]
    os.kill(child.pid, signal.SIGKILL)
    rest, _ = child.communicate()
    acknowledged = max([acknowledged, *map(int, rest.split())])
    ledger = shelf.hold("s")
    seconds = [event.seconds for event in ledger.events()]
    assert len(seconds) % 2 == 0
    assert seconds == list(range(len(seconds)))
    assert len(seconds) // 2 - 1 in (acknowledged, acknowledged + 1)
    assert ledger.append([TimeSpent(seconds=-1)]) == len(seconds)
    assert audit(shelf, "s") == []


def test_others_read_and_ask_while_one_process_writes(shelf, spawn):
    child = spawn(APPEND_FOR_EVER)
    child.stdout.readline()
    lengths = []
    for _ in range(20):
        lengths.append(sum(1 for _ in shelf.rows("s")))
        shelf.request("s", StopRequested(trial=len(lengths)))
    assert lengths == sorted(lengths)
    assert all(length % 2 == 0 for length in lengths)
    child.kill()
    child.communicate()
    assert [request.trial for request in shelf.hold("s").requests()] == list(range(1, 21))


def test_readings_of_a_test_split_are_those_of_all_sweeps(shelf):
    reads = {
        name: [messages.TestRead(data=data, samples=9, trial=trial, model="m") for trial, data in enumerate(sets)]
        for name, sets in {"z": ("a", "b"), "a": ("a", "c"), "b": ("a",)}.items()
    }
    for name, events in reads.items():
        ledger = shelf.hold(name)
        ledger.append([TimeSpent(seconds=1), *events])
        ledger.release()
    found = shelf.readings("a")
    assert [(reading.sweep, reading.event) for reading in found] == [(name, reads[name][0]) for name in ("z", "a", "b")]
    assert [reading.at for reading in found] == sorted(reading.at for reading in found)
    assert shelf.readings("no such test set") == []

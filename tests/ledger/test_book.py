"""The book on SQLite: the chain of hashes, leases between processes, and what a killed process leaves."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
import sqlalchemy as sa

from podium.errors import LeaseLost, LookupFailed
from podium.ledger import Book, book
from podium.ledger.schema import EVENTS, LEASES, digest
from podium.sweep.messages import Exhausted, StopRequested, TimeSpent
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


def raw(tmp_path):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.connect() as connection:
        rows = connection.execute(sa.select(EVENTS).order_by(EVENTS.c.sweep, EVENTS.c.sequence)).mappings().all()
    engine.dispose()
    return rows


def assert_chained(rows):
    previous = ""
    for sequence, row in enumerate(rows):
        assert (row["sequence"], row["previous_hash"]) == (sequence, previous)
        previous = digest(previous, row)
        assert row["hash"] == previous


def test_every_row_is_chained_to_the_one_before(shelf, tmp_path):
    ledger = shelf.hold("s")
    ledger.append(ONE_OF_EACH[:3])
    ledger.append(ONE_OF_EACH[3:])
    ledger.release()
    shelf.hold("s").append([TimeSpent(seconds=1.0)])
    rows = raw(tmp_path)
    assert_chained(rows)
    assert [row["kind"] for row in rows] == [event.kind for event in ONE_OF_EACH] + ["time_spent"]
    assert [row["holder_epoch"] for row in rows] == [1] * len(ONE_OF_EACH) + [2]
    assert {row["schema_version"] for row in rows} == {1}


@pytest.mark.parametrize("column", ["body", "at", "kind", "holder_epoch"])
def test_an_altered_row_breaks_the_chain(shelf, tmp_path, column):
    shelf.hold("s").append([Exhausted(number=1), Exhausted(number=2)])
    rows = [dict(row) for row in raw(tmp_path)]
    rows[0][column] = '{"kind":"exhausted","number":3}' if column == "body" else 7
    with pytest.raises(AssertionError):
        assert_chained(rows)


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


def test_a_process_that_took_the_dead_holders_number_holds_nothing(shelf, tmp_path):
    shelf.hold("s")
    holder = f"{book.socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time() - 100:.2f}"
    alter(tmp_path, holder=holder)
    assert shelf.hold("s").epoch == 2


def test_a_lease_on_another_host_lasts_until_it_expires(shelf, tmp_path):
    stale = shelf.hold("s")
    alter(tmp_path, holder="elsewhere:1:1.0")
    with pytest.raises(LeaseLost, match="process 1 on elsewhere"):
        shelf.hold("s")
    alter(tmp_path, expires=1.0)
    assert shelf.hold("s").epoch == 2
    with pytest.raises(LeaseLost, match="taken over"):
        stale.append([Exhausted(number=0)])
    assert list(shelf.rows("s")) == []


def test_renewing_extends_the_lease_and_notices_a_takeover(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(book, "RENEW_S", 0.0)
    ledger = shelf.hold("s")
    alter(tmp_path, expires=1.0)
    ledger.renew()
    with pytest.raises(LeaseLost):
        shelf.hold("s")
    alter(tmp_path, expires=1.0)
    shelf.hold("s")
    with pytest.raises(LeaseLost, match="taken over"):
        ledger.renew()


def test_a_lease_is_not_renewed_more_often_than_needed(shelf, tmp_path):
    ledger = shelf.hold("s")
    alter(tmp_path, expires=1.0)
    ledger.renew()
    assert shelf.hold("s").epoch == 2


def alter(tmp_path, **values):
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(LEASES.update().values(**values))
    engine.dispose()


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
    assert_chained(raw(tmp_path))


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

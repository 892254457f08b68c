"""The ledger on PostgreSQL: a server that dies, a password that is not told, a driver that is missing."""

import gc
import signal
import sys
import time

import mlflow
import psycopg
import pytest
from postgresql_server import PASSWORD
from wiring_cases import podium, podium_here, write_quick

from podium.errors import StorageFault, UserError
from podium.ledger import Book, audit
from podium.ledger.database import shown
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


def test_a_book_that_nobody_has_any_more_leaves_no_connection(postgresql):
    url = postgresql.new_database()
    assert Book(url).sweeps() == []
    gc.collect()
    deadline = time.monotonic() + 60
    with psycopg.connect(postgresql.address("postgres"), autocommit=True) as connection:
        query = "select count(*) from pg_stat_activity where datname = %s"
        while connection.execute(query, [url.rpartition("/")[2]]).fetchone() != (0,):
            assert time.monotonic() < deadline, "the server still has its connection"
            time.sleep(0.05)


def test_a_wrong_password_is_not_told(postgresql):
    url = postgresql.new_database().replace(PASSWORD, "wrong-secret")
    with pytest.raises(StorageFault, match="password authentication failed") as fault:
        Book(url)
    assert "wrong-secret" not in str(fault.value)


def test_a_password_in_the_query_is_not_told():
    assert shown("postgresql://me@db/x?password=other-secret") == "postgresql://me@db/x?password=***"


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(UserError, match=r"needs the package psycopg: pip install 'podium\[postgresql\]'"):
        Book("postgresql://podium:secret@127.0.0.1/podium")


@pytest.mark.slow
def test_a_sweep_is_launched_and_gone_on_with(postgresql, tmp_path):
    write_quick(tmp_path)
    where = ("--ledger", postgresql.new_database())
    launched = podium(tmp_path, "launch", "sweep.yaml", "--cluster", "inline", "--json", *where)
    assert launched.code == 0, launched.problems
    assert launched.json["trials"] == {"total": 6, "budget": 6, **launched.json["trials"]}
    assert not (tmp_path / ".podium" / "ledger.db").exists()
    more = podium(tmp_path, "launch", "sweep.yaml", "budget.trials=7", "--cluster", "inline", "--json", *where)
    assert (more.code, more.json["trials"]["total"]) == (0, 7), more.problems
    client = mlflow.MlflowClient(tracking_uri=more.json["tracking_uri"])
    experiment = client.get_run(more.json["parent_run_id"]).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{more.json['parent_run_id']}'")
    assert len(children) == 7
    assert podium_here(tmp_path, "ledger", "verify", "quick", *where).code == 0
    told = [launched.output, launched.problems, more.output, more.problems]
    told += [path.read_text(errors="replace") for path in tmp_path.rglob("*.log")]
    assert not [text for text in told if PASSWORD in text]

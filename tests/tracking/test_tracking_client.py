import os
import sqlite3
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from requests import HTTPError, Response

from podium.errors import StorageFault
from podium.masking import without_logins
from podium.tracking.client import EXPLANATION_LIMIT, RETRIES, connect, explain, is_fault, is_refusal, once


def answered(status: int) -> HTTPError:
    response = Response()
    response.status_code = status
    return HTTPError(f"{status}", response=response)


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (MlflowException("API request failed"), False),
        (MlflowException("no", error_code=PERMISSION_DENIED), True),
        (RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such run"}), True),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": "database is locked"}), False),
        (RestException({"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slowly"}), False),
        (answered(413), True),
        (answered(408), False),
        (answered(503), False),
        (OSError("No space left on device"), False),
        (StorageFault("the ledger is away"), False),
    ],
)
def test_what_is_a_fault_and_which_will_not_pass(error: Exception, refused: bool) -> None:
    assert is_fault(error)
    assert is_refusal(error) == refused


def test_a_mistake_of_ours_is_no_fault() -> None:
    assert not is_fault(KeyError("run"))


def raised(tracking_uri: str) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of what kind is what the tests ask
        connect(tracking_uri).get_experiment_by_name("any")
    return caught.value


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRIES, "0")
    error = raised("http://user:secret@127.0.0.1:9")
    assert is_fault(error)
    assert not is_refusal(error)
    assert explain(error) == "[Errno 111] Connection refused"


def test_an_address_that_never_works() -> None:
    error = raised("htp://nowhere")
    assert is_refusal(error)
    assert "unsupported URI 'htp://nowhere'" in explain(error)
    assert len(explain(error)) <= EXPLANATION_LIMIT


def test_a_file_that_cannot_be_opened_is_not_tried_for_minutes(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    error = raised(f"sqlite:///{tmp_path}/mlflow.db")
    assert is_fault(error)
    assert explain(error) == "unable to open database file"


def test_a_damaged_file_will_not_heal(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1000)
    error = raised(f"sqlite:///{tmp_path}/mlflow.db")
    assert is_fault(error)
    assert isinstance(error.__cause__, sqlite3.DatabaseError)


def test_calls_that_make_something_are_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRIES, "4")
    with once():
        assert os.environ[RETRIES] == "0"
    assert os.environ[RETRIES] == "4"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://user:secret@host:5000/mlflow", "http://***@host:5000/mlflow"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("postgresql://me:p/ss@host/runs?sslpassword=x", "postgresql://***@host/runs?sslpassword=***"),
        ("postgresql://me:p@ss@host/runs", "postgresql://***@host/runs"),
    ],
)
def test_an_address_is_printed_without_its_password(address: str, shown: str) -> None:
    assert without_logins(address) == shown

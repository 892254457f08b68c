"""The connection to MLflow: quiet, without telemetry or long retries; its SQLite file takes small commits."""

import functools
import logging
import os
import sqlite3
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from podium.errors import PodiumError, StorageFault
from podium.masking import without_logins

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    RETRIES: "1",
}
"""What MLflow is told by its environment, unless the user told it something else; its own retries take minutes."""

REQUEST_TIMEOUT, TOO_MANY_REQUESTS = 408, 429


EXPLANATION_LIMIT = 400
"""Characters of an error that a user is shown."""


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of a server (`http://…`) or of a SQLite file (`sqlite:////absolute/path.db`).

    The first connection to a new file writes its schema, which takes about two seconds. A SQLite file is set to
    write-ahead logging, synced at its checkpoints: a trial's run costs half the time, readers do not wait for
    writers, and what a crash of the whole machine may lose is shown again from the ledger.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    address = urlsplit(tracking_uri)
    if address.scheme == "sqlite":
        _prepare(Path(unquote(address.path[1:])).resolve())
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def once() -> Iterator[None]:
    """Within, the client repeats no call: one that makes a run, and whose answer was lost, would make a second one."""
    before = os.environ[RETRIES]
    os.environ[RETRIES] = "0"
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def is_fault(error: BaseException) -> bool:
    """Whether an error comes from MLflow, the network, a disk or a database, and not from a mistake of ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError

    return isinstance(error, MlflowException | DBAPIError | OSError | StorageFault)


def is_refusal(error: BaseException) -> bool:
    """Whether MLflow said no to a call that it understood: an address, a right or a value that will not do."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, MlflowException):
        status: int = error.get_http_status_code()  # type: ignore[no-untyped-call]
    elif isinstance(error, HTTPError) and error.response is not None:
        status = error.response.status_code
    else:
        return False
    return 400 <= status < 500 and status not in (REQUEST_TIMEOUT, TOO_MANY_REQUESTS)


def explain(error: BaseException) -> str:
    """What went wrong in one line, without passwords: what was refused, or the first of the errors that led to it."""
    while not (isinstance(error, PodiumError) or is_refusal(error)):
        earlier = error.__cause__ or error.__context__
        if earlier is None:
            break
        error = earlier
    return textwrap.shorten(without_logins(str(error)) or type(error).__name__, EXPLANATION_LIMIT)


@functools.cache
def _prepare(database: Path) -> None:
    from mlflow.store.db import utils
    from sqlalchemy import Engine, event

    utils.MAX_RETRY_COUNT = 1  # a file that cannot be opened would be tried for two minutes

    def relax(connection: object, _: object) -> None:
        if not isinstance(connection, sqlite3.Connection):  # the ledger's, on PostgreSQL, in the same process
            return
        if any(file and Path(file).resolve() == database for _, _, file in connection.execute("PRAGMA database_list")):
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

    database.parent.mkdir(parents=True, exist_ok=True)
    event.listen(Engine, "connect", relax)

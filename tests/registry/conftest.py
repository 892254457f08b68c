"""A registry of its own for each test."""

import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from podium.registry.client import connect

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    import mlflow.pyfunc  # noqa: F401  it warns of hints in its own code


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its schema, which takes seconds to write."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    connect(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def registry_uri(empty_registry: Path, tmp_path: Path) -> str:
    with closing(sqlite3.connect(empty_registry)) as source, closing(sqlite3.connect(tmp_path / "mlflow.db")) as copy:
        source.backup(copy)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    client: MlflowClient = connect(address)
    client.create_experiment("shapes", artifact_location=str(tmp_path / "runs"))
    return address


@pytest.fixture
def make_run(registry_uri: str) -> Callable[[], str]:
    client: MlflowClient = connect(registry_uri)

    def make() -> str:
        experiment = client.get_experiment_by_name("shapes")
        run_id = str(client.create_run(experiment.experiment_id).info.run_id)
        client.set_terminated(run_id)
        return run_id

    return make

"""A registry of its own for each test."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from empty_runs import make_empty_runs
from mlflow import MlflowClient

from podium.registry.client import connect

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)
    import mlflow.pyfunc  # noqa: F401  it warns of hints in its own code


@pytest.fixture
def registry_uri(tmp_path: Path) -> str:
    address = make_empty_runs(tmp_path / "mlflow.db")
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

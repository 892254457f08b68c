from collections.abc import Callable

import pytest
from mlflow import MlflowClient

from podium.errors import LookupFailed
from podium.registry.promotion import history, promote, rollback


@pytest.fixture
def name(registry_uri: str, make_run: Callable[[], str]) -> str:
    client = MlflowClient(registry_uri, registry_uri)
    client.create_registered_model("digits")
    for _ in range(3):
        client.create_model_version("digits", "/nowhere", run_id=make_run())
    return "digits"


def champion(registry_uri: str, name: str) -> str:
    version = MlflowClient(registry_uri, registry_uri).get_model_version_by_alias(name, "champion").version
    return str(version)


def test_promote_and_roll_back(registry_uri: str, name: str) -> None:
    assert promote(registry_uri, name, "1", by="ann") == {"name": name, "version": "1", "previous": None}
    assert promote(registry_uri, name, "3", by="ben") == {"name": name, "version": "3", "previous": "1"}
    assert champion(registry_uri, name) == "3"
    assert [(entry["version"], entry["by"]) for entry in history(registry_uri, name)] == [("1", "ann"), ("3", "ben")]
    assert rollback(registry_uri, name) == {"name": name, "version": "1", "previous": "3"}
    assert champion(registry_uri, name) == "1"
    with pytest.raises(LookupFailed, match=r"has had 1 champion\(s\)"):
        rollback(registry_uri, name)


def test_the_champion_may_be_promoted_again(registry_uri: str, name: str) -> None:
    promote(registry_uri, name, "1", by="ann")
    promote(registry_uri, name, "2", by="ann")
    promote(registry_uri, name, "2", by="ann")
    assert rollback(registry_uri, name)["version"] == "1"


@pytest.mark.parametrize("version", ["4", "latest", ""])
def test_a_version_that_is_not_there(registry_uri: str, name: str, version: str) -> None:
    with pytest.raises(LookupFailed, match=f"no version '{version}'; it has 1, 2, 3"):
        promote(registry_uri, name, version, by="ann")


def test_a_model_that_is_not_there(registry_uri: str, name: str) -> None:
    for call in (rollback, history):
        with pytest.raises(LookupFailed, match="no registered model 'letters'; there are: digits"):
            call(registry_uri, "letters")
    assert history(registry_uri, name) == []

"""Promotion: which version of a registered model is the champion, and which ones were before it."""

import json
import time
from typing import TYPE_CHECKING, Any

from podium.errors import LookupFailed
from podium.registry.client import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

CHAMPION = "champion"
_HISTORY = "podium.champions"


def promote(tracking_uri: str, name: str, version: str, *, by: str) -> dict[str, Any]:
    """Makes a version the champion; making the champion champion again changes nothing.

    Args:
        tracking_uri: A server or a SQLite file.
        name: The registered model.
        version: Its version.
        by: Who decided.

    Returns:
        `name`, `version` and `previous` (the version before it, None if there was none).

    Raises:
        LookupFailed: if there is no such model or version.
    """
    client = connect(tracking_uri)
    model = _model(client, name)
    versions = sorted(int(one.version) for one in client.search_model_versions(f"name = '{name}'"))
    if not version.isdecimal() or int(version) not in versions:
        raise LookupFailed(
            f"the model {name!r} has no version {version!r}; it has {', '.join(map(str, versions)) or 'none'}"
        )
    past = _past(model)
    if not past or past[-1]["version"] != version:
        past.append({"version": version, "by": by, "at": time.time()})
    _crown(client, name, past)
    return {"name": name, "version": version, "previous": past[-2]["version"] if len(past) > 1 else None}


def rollback(tracking_uri: str, name: str) -> dict[str, Any]:
    """Makes the champion before this one the champion again.

    Returns:
        `name`, `version` (in force now) and `previous` (the one that was taken back).

    Raises:
        LookupFailed: if there is no such model, or nothing to go back to.
    """
    client = connect(tracking_uri)
    past = _past(_model(client, name))
    if len(past) < 2:
        raise LookupFailed(
            f"the model {name!r} has had {len(past)} champion(s), so there is none to go back to; "
            "promote another version first"
        )
    retired = past.pop()
    _crown(client, name, past)
    return {"name": name, "version": past[-1]["version"], "previous": retired["version"]}


def history(tracking_uri: str, name: str) -> list[dict[str, Any]]:
    """The champions so far, the one in force last: `version`, `by`, and `at` in Unix seconds.

    Raises:
        LookupFailed: if there is no such model.
    """
    return _past(_model(connect(tracking_uri), name))


def _model(client: "MlflowClient", name: str) -> "RegisteredModel":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        known = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise LookupFailed(
            f"there is no registered model {name!r}; there are: {known}. A sweep registers its best model when it ends"
        ) from None


def _past(model: "RegisteredModel") -> list[dict[str, Any]]:
    return list(json.loads(model.tags.get(_HISTORY, "[]")))


def _crown(client: "MlflowClient", name: str, past: list[dict[str, Any]]) -> None:
    """Writes the history first: a crash before the alias moves is repaired by repeating the command."""
    client.set_registered_model_tag(name, _HISTORY, json.dumps(past))
    client.set_registered_model_alias(name, CHAMPION, past[-1]["version"])

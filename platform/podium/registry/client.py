"""The connection to MLflow's model registry: quiet, without telemetry."""

import logging
import os
from typing import TYPE_CHECKING

from podium.errors import LookupFailed, UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel


def connect(tracking_uri: str) -> "MlflowClient":
    """A client of a server (`http://…`) or of a SQLite file (`sqlite:////absolute/path.db`)."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def registered(client: "MlflowClient", name: str) -> "RegisteredModel":
    """The registered model of a name.

    Raises:
        LookupFailed: if there is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        known = ", ".join(model.name for model in client.search_registered_models()) or "none"
        raise LookupFailed(
            f"there is no registered model {name!r}; there are: {known}. A sweep registers its best model when it ends"
        ) from None


def require_name(name: str) -> None:
    """Refuses a name that a registered model cannot have.

    Raises:
        UserError: if MLflow does not take it, or it could not be told from an alias in `MODEL@ALIAS`.
    """
    if not name.strip() or set(name) & set("/:@'") or name == "." or name.startswith(".."):
        raise UserError(
            f"{name!r} cannot be the name of a registered model; give one without / : @ and quotes, such as digits"
        )

"""Promoting a sweep's model, taking a promotion back, and showing runs and models."""

import getpass
import os
import sys
from typing import Any, NoReturn

from podium.errors import LookupFailed
from podium.wiring import summaries, tracker
from podium.wiring.place import Place


def promote(place: Place, sweep: str) -> dict[str, Any]:
    """Gives the alias `champion` to the registered version of the sweep's best model.

    Raises:
        LookupFailed: if the sweep or its model does not exist.
    """
    from podium.registry import promotion

    book = place.book()
    summary = summaries.summarize(book, sweep)
    model = summary["model"]
    if model is None:
        raise LookupFailed(
            f"sweep {sweep!r} ({summary['state']}) has no registered model: it must have ended, with a task that "
            "Podium trains and tracking.model left on"
        )
    tracker.require_answer(place.tracking_uri)
    done = promotion.promote(place.tracking_uri, model["name"], model["version"], by=getpass.getuser())
    return {**done, "message": f"champion of {model['name']} is version {model['version']}"}


def rollback(place: Place, model: str) -> dict[str, Any]:
    """Gives the alias back to the version that had it before.

    Raises:
        LookupFailed: if the model does not exist or had no champion before.
    """
    from podium.registry import promotion

    tracker.require_answer(place.tracking_uri)
    done = promotion.rollback(place.tracking_uri, model)
    return {**done, "message": f"champion of {model} is version {done['version']} again"}


def serve_ui(place: Place, port: int) -> NoReturn:
    """Becomes the MLflow server, on loopback: whoever ends this process ends the server."""
    server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", place.tracking_uri, "--default-artifact-root", str(place.artifacts)]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*server, *stores], {**os.environ, **settings})  # noqa: S606

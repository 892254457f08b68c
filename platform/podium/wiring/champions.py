"""Promoting a sweep's model, taking a promotion back, and showing runs and models."""

import getpass
import os
import subprocess
import sys
from typing import Any

from podium.errors import LookupFailed
from podium.wiring import summaries
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
    done = promotion.promote(place.tracking_uri, model["name"], model["version"], by=getpass.getuser())
    return {**done, "message": f"champion of {model['name']} is version {model['version']}"}


def rollback(place: Place, model: str) -> dict[str, Any]:
    """Gives the alias back to the version that had it before.

    Raises:
        LookupFailed: if the model does not exist or had no champion before.
    """
    from podium.registry import promotion

    done = promotion.rollback(place.tracking_uri, model)
    return {**done, "message": f"champion of {model} is version {done['version']} again"}


def serve_ui(place: Place, port: int) -> int:
    """Runs the MLflow server on loopback until it is ended; returns its exit code."""
    arguments = ["--backend-store-uri", place.tracking_uri, "--default-artifact-root", str(place.artifacts)]
    return subprocess.call(  # noqa: S603 - our own command line
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *arguments],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )

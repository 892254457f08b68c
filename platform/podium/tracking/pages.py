"""Addresses of the MLflow UI's pages, from `#` on, so that they hold on whichever server shows the runs."""

import json
from collections.abc import Iterable
from urllib.parse import quote, urlencode

TRAINING_VIEW = "workflowType=machine_learning"
"""Part of an address of the MLflow UI, which otherwise opens its pages for chat applications."""

UI = "http://127.0.0.1:5000"
"""Where `podium ui` shows what no server does."""


def run(experiment: str, run_id: str) -> str:
    """The page of one run."""
    return f"#/experiments/{experiment}/runs/{run_id}?{TRAINING_VIEW}"


def file(experiment: str, run_id: str, path: str) -> str:
    """A file of a run, or a folder, among its artifacts."""
    return f"#/experiments/{experiment}/runs/{run_id}/artifactPath/{quote(path)}?{TRAINING_VIEW}"


def view(experiment: str, key: str) -> str:
    """The table of an experiment's runs as a saved view shows it."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={key}&{TRAINING_VIEW}"


def comparison(runs: Iterable[str], experiments: Iterable[str]) -> str:
    """Several runs side by side."""
    lists = {"runs": list(runs), "experiments": list(experiments)}
    query = urlencode({key: json.dumps(ids, separators=(",", ":")) for key, ids in lists.items()})
    return f"#/compare-runs?{query}&{TRAINING_VIEW}"


def version(name: str, number: str) -> str:
    """One version of a registered model."""
    return f"#/models/{quote(name, safe='')}/versions/{number}?{TRAINING_VIEW}"

"""A sweep's experiment in MLflow: found or made, with a description and views of its own; its runs and models."""

from typing import TYPE_CHECKING

from podium.spec.sweep import SweepSpec
from podium.tracking import notes
from podium.tracking.views import views

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Tells the MLflow UI that its pages for training fit, so that it need not guess."""


def ensure(client: "MlflowClient", spec: SweepSpec, artifacts: str | None, at_ms: int) -> str:
    """Finds or makes the experiment; returns its id.

    Args:
        client: MLflow.
        spec: The sweep; the experiment has its name.
        artifacts: Where runs' files are kept; None leaves it to the server.
        at_ms: When the sweep was launched, in milliseconds.
    """
    ours = views(spec, at_ms)
    once = {notes.KEY: notes.experiment(spec), **KIND}
    found = client.get_experiment_by_name(spec.sweep)
    if found is None:
        location = f"{artifacts}/{spec.sweep}" if artifacts else None
        return str(client.create_experiment(spec.sweep, location, {**once, **ours}))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    missing = {key: value for key, value in once.items() if key not in found.tags}
    changed = {key: value for key, value in ours.items() if found.tags.get(key) != value}
    for key, value in (missing | changed).items():
        client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


def runs(client: "MlflowClient", experiment: str, identity: str, *, only_running: bool = False) -> "list[Run]":
    """The runs that MLflow has of the sweep whose `podium.sweep_id` is `identity`, the oldest first."""
    condition = " and attributes.status = 'RUNNING'" if only_running else ""
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            f"tags.`podium.sweep_id` = '{identity}'{condition}",
            max_results=1000,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found


def link(client: "MlflowClient", run_id: str, model_id: str, step: int) -> None:
    """Shows a model that is logged already on the page of another run, too; once, for MLflow refuses it twice."""
    from mlflow.entities import LoggedModelOutput

    outputs = client.get_run(run_id).outputs
    if model_id not in {one.model_id for one in (outputs.model_outputs if outputs else ())}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step)])

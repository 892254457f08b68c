"""The best model as plain MLflow: an exported network, its description as JSON, and code that needs no Podium."""

import hashlib
import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from podium.registry.client import connect
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from torch.nn import Module

CODE = Path(__file__).with_name("predict.py")
NAME = "best"
"""What the model is called beside its run."""

NEEDS = ("mlflow", "torch", "numpy")
"""What a champion is served with."""


class Schema(Protocol):
    """What a sample looks like (`data.manifest.Schema` is one).

    Attributes:
        inputs: Shape of a sample, channels first.
        input_dtype: As stored.
        targets: Shape of a target; `()` for one number.
        classes: Number of classes; 0 for regression.
        mean: Mean of each channel or feature.
        std: Standard deviation likewise.
        normalize: Whether the network takes normalized inputs.
    """

    @property
    def inputs(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def input_dtype(self) -> str: ...  # noqa: D102
    @property
    def targets(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def classes(self) -> int: ...  # noqa: D102
    @property
    def mean(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def std(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def normalize(self) -> bool: ...  # noqa: D102


def log_best(
    module: "Module",
    schema: Schema,
    *,
    run_id: str,
    spec: SweepSpec,
    trial: Trial,
    tracking_uri: str,
    registered_name: str,
) -> dict[str, str]:
    """Logs a network with a trial's run and registers it; a trial that is registered already is left alone.

    Args:
        module: In eval mode; from `[B, *schema.inputs]` float32, normalized, to logits or values.
        schema: What a sample looks like.
        run_id: The trial's run.
        spec: The sweep.
        trial: The trial.
        tracking_uri: A server or a SQLite file.
        registered_name: The model's name in the registry.

    Returns:
        `name`, `version` and `model_id`.
    """
    client = connect(tracking_uri)
    registered = _registered(client, registered_name, run_id)
    if registered is not None:
        return registered
    model_id = _logged(client, run_id)
    if model_id is None:
        with tempfile.TemporaryDirectory() as folder:
            network = Path(folder) / "network.pt2"
            answers = export(module, schema, network)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # MLflow warns of hints in its own code
                model_id = _log(client, _Export(network, answers, schema, spec, trial), run_id)
    _ensure_name(client, registered_name, spec)
    # a file's registry looks `models:/` up at MLflow's global address, which is not ours to set
    is_server = tracking_uri.startswith(("http:", "https:"))
    version = client.create_model_version(
        registered_name,
        f"models:/{model_id}" if is_server else client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        model_id=model_id,
        tags={"podium.sweep": spec.sweep, "podium.trial": str(trial.number), "podium.model_id": model_id},
    )
    return {"name": registered_name, "version": str(version.version), "model_id": model_id}


def export(module: "Module", schema: Schema, path: Path) -> tuple[int, ...]:
    """Writes a network as a pt2 archive for any batch size; the example batch is 2, since 1 would be frozen in.

    `torch.export.load` unpickles part of such an archive: load it only after comparing its checksum, as
    `predict.py` does.

    Returns:
        The shape of one answer.
    """
    import torch

    example = torch.zeros(2, *schema.inputs)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module.eval(), (example,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    with torch.inference_mode():
        return tuple(module(example).shape[1:])


def _registered(client: "MlflowClient", name: str, run_id: str) -> dict[str, str] | None:
    for version in client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        return {"name": name, "version": str(version.version), "model_id": version.tags["podium.model_id"]}
    return None


def _logged(client: "MlflowClient", run_id: str) -> str | None:
    """The id of the run's model, if whoever logged it was cut off before registering it; deletes half a one."""
    experiment = client.get_run(run_id).info.experiment_id
    whole = None
    for model in client.search_logged_models([experiment], f"name = '{NAME}' AND source_run_id = '{run_id}'"):
        if model.status == "READY":
            whole = str(model.model_id)
        else:
            client.delete_logged_model(model.model_id)
    return whole


@dataclass(frozen=True)
class _Export:
    """An exported network and what it is; `answers` is the shape of one answer."""

    network: Path
    answers: tuple[int, ...]
    schema: Schema
    spec: SweepSpec
    trial: Trial

    def describe(self) -> dict[str, Any]:
        """What `predict.py` reads, and where the network comes from."""
        return {
            "sha256": hashlib.sha256(self.network.read_bytes()).hexdigest(),
            "inputs": list(self.schema.inputs),
            "input_dtype": self.schema.input_dtype,
            "targets": list(self.schema.targets),
            "classes": self.schema.classes,
            "normalize": self.schema.normalize,
            "mean": list(self.schema.mean),
            "std": list(self.schema.std),
            "task": self.spec.task,
            "sweep": self.spec.sweep,
            "trial": self.trial.number,
            "epoch": self.trial.best_epoch,
            "parameters": dict(self.trial.parameters),
        }


def _log(client: "MlflowClient", export: _Export, run_id: str) -> str:
    """Keeps the model beside its run; returns its id."""
    import numpy as np
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model, ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import Schema as Columns
    from mlflow.types import TensorSpec

    folder, schema = export.network.parent, export.schema
    (folder / "description.json").write_text(json.dumps(export.describe(), indent=2) + "\n")
    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=NAME, source_run_id=run_id, model_type="pyfunc"
    )
    save_model(
        folder / "model",
        python_model=str(CODE),
        artifacts={"network": str(export.network), "description": str(folder / "description.json")},
        signature=ModelSignature(
            Columns([TensorSpec(np.dtype(schema.input_dtype), (-1, *schema.inputs))]),
            Columns([TensorSpec(np.dtype(np.float32), (-1, *export.answers))]),
        ),
        input_example=np.zeros((2, *schema.inputs), dtype=schema.input_dtype),
        pip_requirements=[f"{package}=={metadata.version(package).partition('+')[0]}" for package in NEEDS],
        mlflow_model=Model(run_id=run_id, model_id=model.model_id, artifact_path=model.artifact_location),
    )
    client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=export.trial.best_epoch)])
    return str(model.model_id)


def _ensure_name(client: "MlflowClient", name: str, spec: SweepSpec) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"podium.sweep": spec.sweep})
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise

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
from podium.registry.digest import TAG, digest_of
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial
from podium.tracking import pages

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature
    from torch.nn import Module

CODE = Path(__file__).with_name("predict.py")
NAME = "best"
"""What the model is called beside its run."""

NEEDS = ("mlflow", "torch", "numpy", "scipy")
"""What a champion is served with."""


class Schema(Protocol):
    """What a sample looks like (`data.manifest.Schema` is one).

    Attributes:
        inputs: Shape of a sample, channels first.
        input_dtype: As stored.
        targets: Shape of a target; `()` for one number.
        classes: Number of classes; 0 for regression.
        class_names: What the classes are called; empty if they are numbered.
        mean: Mean of each channel or feature.
        std: Standard deviation likewise.
        normalize: Whether the network takes normalized inputs.
        series: Whether samples are series, `[steps, features]` with any number of steps.
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
    def class_names(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def mean(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def std(self) -> Sequence[float]: ...  # noqa: D102
    @property
    def normalize(self) -> bool: ...  # noqa: D102
    @property
    def series(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class Model:
    """A network, and what goes before and after it.

    Attributes:
        module: In eval mode; from `[B, *schema.inputs]` float32, normalized, to outputs `[B, ...]`.
        schema: What a sample looks like.
        link: What makes answers of the outputs: `softmax` over dimension 1, `sigmoid`, `identity`, or `heads`.
        resize: Height and width that raw images are brought to; None if samples come as they are.
        threshold: From which probabilities on a class or label is present: one, or one for each label.
        takes_lengths: Whether the network is called with the lengths of series, too, `[B]` int64.
        heads: Name and link of each of several heads, and where among the outputs it begins, and ends before.
    """

    module: "Module"
    schema: Schema
    link: str
    resize: tuple[int, int] | None = None
    threshold: tuple[float, ...] = (0.5,)
    takes_lengths: bool = False
    heads: tuple[tuple[str, str, int, int], ...] = ()


def log_best(
    model: Model,
    *,
    run_id: str,
    spec: SweepSpec,
    trial: Trial,
    tracking_uri: str,
    registered_name: str,
) -> dict[str, str]:
    """Logs a network with a trial's run and registers it; a trial that is registered already is left alone.

    Args:
        model: The network, and what goes before and after it.
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
            answers = export(model, spec.postprocessing.window, network)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # MLflow warns of hints in its own code
                model_id = _log(client, _Export(network, answers, model, spec, trial), run_id)
    _ensure_name(client, registered_name, spec)
    # a file's registry looks `models:/` up at MLflow's global address, which is not ours to set
    is_server = tracking_uri.startswith(("http:", "https:"))
    version = client.create_model_version(
        registered_name,
        f"models:/{model_id}" if is_server else client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        model_id=model_id,
        description=_description(client.get_run(run_id).info.experiment_id, run_id, spec, trial),
        tags={
            "podium.sweep": spec.sweep,
            "podium.trial": str(trial.number),
            "podium.model_id": model_id,
            TAG: client.get_logged_model(model_id).tags[TAG],
        },
    )
    return {"name": registered_name, "version": str(version.version), "model_id": model_id}


def export(model: Model, window: int | None, path: Path) -> tuple[int, ...]:
    """Writes a network as a pt2 archive for any batch size; the example batch is 2, since 1 would be frozen in.

    `torch.export.load` unpickles part of such an archive: load it only after comparing its checksum, as
    `predict.py` does.

    Args:
        model: The network. One that takes the lengths of series is written for the longest that is known, to which
            others can be filled up, since exporting recurrent layers settles their steps; others for any.
        window: Side of the images that it is written for; None for the samples' own size.
        path: The archive.

    Returns:
        The shape of one answer, for samples of the schema's shape or of the window.
    """
    import torch
    from torch.export import Dim

    inputs = model.schema.inputs if window is None else (model.schema.inputs[0], window, window)
    example = [torch.zeros(2, *inputs)]
    batch = Dim("batch", min=1)
    has_free_steps = model.schema.series and not model.takes_lengths
    free = [{0: batch, 1: Dim("steps", min=1)} if has_free_steps else {0: batch}]
    if model.takes_lengths:
        example.append(torch.full((2,), inputs[0], dtype=torch.int64))
        free.append({0: batch})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attributes .* were assigned during export")  # by recurrent layers
        program = torch.export.export(model.module.eval(), tuple(example), dynamic_shapes=tuple(free))
    torch.export.save(program, path)
    with torch.inference_mode():
        return tuple(model.module(*example).shape[1:])


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
    model: Model
    spec: SweepSpec
    trial: Trial

    @property
    def is_map(self) -> bool:
        """Whether images are answered with maps as large or whole times as large, so that windows may go over them."""
        if len(self.model.schema.inputs) != 3 or len(self.answers) != 3:
            return False
        factors = {divmod(answer, side) for answer, side in zip(self.answers[1:], self.window, strict=True)}
        return len(factors) == 1 and factors.pop()[1] == 0

    @property
    def window(self) -> tuple[int, ...]:
        """Height and width of the images that the network is written for."""
        window = self.spec.postprocessing.window
        return self.model.schema.inputs[1:] if window is None else (window, window)

    @property
    def free(self) -> list[int]:
        """The axes of a sample along which it may have any size."""
        if self.model.schema.series:
            return [0]
        return [1, 2] if self.is_map or self.model.resize else []

    def describe(self) -> dict[str, Any]:
        """What `predict.py` reads, and where the network comes from."""
        schema, after = self.model.schema, self.spec.postprocessing
        windows = {"size": self.window, "overlap": after.overlap, "blending": after.blending}
        return {
            "sha256": hashlib.sha256(self.network.read_bytes()).hexdigest(),
            "inputs": list(schema.inputs),
            "input_dtype": schema.input_dtype,
            "series": schema.series,
            "takes_lengths": self.model.takes_lengths,
            "free": self.free,
            "resize": self.model.resize,
            "targets": list(schema.targets),
            "classes": schema.classes,
            "class_names": list(schema.class_names),
            "normalize": schema.normalize,
            "mean": list(schema.mean),
            "std": list(schema.std),
            "link": self.model.link,
            "heads": self.model.heads,
            "windows": windows if self.is_map else None,
            "answer": after.answer,
            "threshold": list(self.model.threshold),
            "smallest": after.smallest,
            "task": self.spec.task,
            "sweep": self.spec.sweep,
            "trial": self.trial.number,
            "epoch": self.trial.best_epoch,
            "parameters": dict(self.trial.parameters),
        }

    def signature(self) -> "ModelSignature":
        """What the model takes and gives, as MLflow checks it; series whose lengths count are given with these."""
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema as Columns
        from mlflow.types import TensorSpec

        schema = self.model.schema
        shape = [-1, *(-1 if axis in self.free else side for axis, side in enumerate(schema.inputs))]
        stored = np.dtype(schema.input_dtype)
        taken: list[Any] = [TensorSpec(stored, shape)]
        if self.model.takes_lengths:
            taken = [TensorSpec(stored, shape, "inputs"), TensorSpec(np.dtype(np.int64), (-1,), "lengths")]
        if self.model.heads:
            return ModelSignature(Columns(taken), Columns([self._of_head(*head) for head in self.model.heads]))
        is_class = self.spec.postprocessing.answer == "class" and self.model.link != "identity"
        answers = [-1] * len(self.answers[1:]) if self.free else list(self.answers[1:])
        is_one = self.model.link == "softmax" or (self.is_map and self.answers[0] == 1)
        if not (is_class and is_one):
            answers = [self.answers[0], *answers]
        given = TensorSpec(np.dtype(np.int64 if is_class else np.float32), (-1, *answers))
        return ModelSignature(Columns(taken), Columns([given]))

    def _of_head(self, name: str, link: str, first: int, end: int) -> Any:
        import numpy as np
        from mlflow.types import TensorSpec

        is_class = self.spec.postprocessing.answer == "class" and link != "identity"
        shape = (-1,) if is_class and link == "softmax" else (-1, end - first)
        return TensorSpec(np.dtype(np.int64 if is_class else np.float32), shape, name)

    def example(self) -> Any:
        """Two samples of zeros."""
        import numpy as np

        schema = self.model.schema
        samples = np.zeros((2, *schema.inputs), dtype=schema.input_dtype)
        if not self.model.takes_lengths:
            return samples
        return {"inputs": samples, "lengths": np.full(2, schema.inputs[0], dtype=np.int64)}


def _log(client: "MlflowClient", export: _Export, run_id: str) -> str:
    """Keeps the model beside its run; returns its id."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.models import Model as Folder
    from mlflow.pyfunc import save_model

    folder = export.network.parent
    (folder / "description.json").write_text(json.dumps(export.describe(), indent=2) + "\n")
    model = client.create_logged_model(
        client.get_run(run_id).info.experiment_id, name=NAME, source_run_id=run_id, model_type="pyfunc"
    )
    save_model(
        folder / "model",
        python_model=str(CODE),
        artifacts={"network": str(export.network), "description": str(folder / "description.json")},
        signature=export.signature(),
        input_example=export.example(),
        pip_requirements=[f"{package}=={metadata.version(package).partition('+')[0]}" for package in NEEDS],
        mlflow_model=Folder(run_id=run_id, model_id=model.model_id, artifact_path=model.artifact_location),
    )
    client.set_logged_model_tags(model.model_id, {TAG: digest_of(folder / "model")})
    client.log_model_artifacts(model.model_id, str(folder / "model"))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=export.trial.best_epoch)])
    return str(model.model_id)


def _ensure_name(client: "MlflowClient", name: str, spec: SweepSpec) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, tags={"podium.sweep": spec.sweep}, description=_about(spec))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _about(spec: SweepSpec) -> str:
    goals = " and ".join(f"{one.direction} {one.metric}" for one in spec.search.objectives)
    about = f"The best of the sweep {spec.sweep}: {goals}. The alias `champion` is moved by `podium promote` alone."
    return f"{spec.note}\n\n{about}".strip()


def _description(experiment: str, run_id: str, spec: SweepSpec, trial: Trial) -> str:
    """What a version is, with a link to its run, and how to ask it."""
    pairs = zip(spec.search.objectives, trial.last_values, strict=False)
    values = ", ".join(f"{one.metric} **{value:.6g}**" for one, value in pairs if value is not None)
    link = f"[trial {trial.number} of {spec.sweep}]({pages.run(experiment, run_id)})"
    return f"The network of {link} at epoch {trial.best_epoch}: {values}, on validation data."

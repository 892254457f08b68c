import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from torch import nn

from podium.errors import ModelError
from podium.registry.models import Model, log_best
from podium.registry.serving import Version, folder_of, load
from podium.spec.postprocessing import PostprocessingSettings
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState


@dataclass(frozen=True)
class Schema:
    inputs: tuple[int, ...]
    input_dtype: str
    targets: tuple[int, ...]
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalize: bool
    series: bool = False
    class_names: tuple[str, ...] = ()


IMAGES = Schema((2, 8, 8), "uint8", (), 4, (100.0, 120.0), (50.0, 60.0), True)
VECTORS = Schema((5,), "float32", (3,), 0, (1.0, 2.0, 3.0, 4.0, 5.0), (1.0, 2.0, 1.0, 2.0, 1.0), True)
RAW = Schema((5,), "float32", (), 0, (1.0,) * 5, (2.0,) * 5, False)


MASKS = Schema((1, 8, 8), "uint8", (8, 8), 2, (100.0,), (50.0,), False)


class Pixelwise(nn.Module):
    """Two classes: whether a pixel is brighter than 127.5."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.cat([127.5 - images, images - 127.5], dim=1) / 100


def convnet() -> nn.Module:
    layers = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(36, 4)).eval()


def perceptron(answers: int) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, answers)).eval()


def expected(module: nn.Module, schema: Schema, samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    inputs = torch.from_numpy(samples.astype(np.float64))
    if schema.normalize:
        shape = (-1,) + (1,) * (len(schema.inputs) - 1)
        inputs = (inputs - torch.tensor(schema.mean).reshape(shape)) / torch.tensor(schema.std).reshape(shape)
    outputs = module.double()(inputs)
    return (outputs.softmax(-1) if schema.classes else outputs).detach().numpy()


PREDICT = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "podium":
            raise ImportError("podium is not to be had here")

sys.meta_path.insert(0, Blocker())
try:
    import podium
except ImportError:
    pass
else:
    raise AssertionError("podium could be imported")
import mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
for version in sys.argv[2:]:
    champion = mlflow.pyfunc.load_model(f"models:/shapes/{version}")
    numpy.save(f"answers-{version}.npy", champion.predict(numpy.load(f"samples-{version}.npy")))
"""


@pytest.fixture
def spec() -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "sweep": "shapes",
            "task": "train.py:train",
            "search": {"objective": {"metric": "loss", "direction": "minimize"}},
            "budget": {"trials": 1, "epochs": {"max": 1}},
        }
    )


@pytest.fixture
def log(registry_uri: str, make_run: Callable[[], str], spec: SweepSpec) -> Callable[..., dict[str, str]]:
    trial = Trial(number=3, parameters={"rate": 0.1}, seed=1, state=TrialState.COMPLETE, best_epoch=2)

    def log(module: nn.Module, schema: Schema, run_id: str = "", **after: Any) -> dict[str, str]:
        model = Model(module, schema, "softmax" if schema.classes else "identity")
        changed = spec.model_copy(update={"postprocessing": PostprocessingSettings(**after)})
        options: dict[str, Any] = {"spec": changed, "trial": trial, "tracking_uri": registry_uri}
        return log_best(model, run_id=run_id or make_run(), registered_name="shapes", **options)

    return log


@pytest.mark.slow
def test_a_champion_needs_no_podium(log: Callable[..., dict[str, str]], registry_uri: str, tmp_path: Path) -> None:
    """Of classes, several numbers, one raw number, a mask: each answers in a process that cannot import Podium."""
    cases = [(convnet(), IMAGES), (perceptron(3), VECTORS), (perceptron(1), RAW)]
    asked = {}
    for module, schema in cases:
        version = log(module, schema)["version"]
        samples = np.random.default_rng(0).uniform(0, 255, (5, *schema.inputs)).astype(schema.input_dtype)
        np.save(tmp_path / f"samples-{version}.npy", samples)
        asked[version] = expected(module, schema, samples)
    version = log(Pixelwise(), MASKS, answer="class", overlap=4)["version"]
    image = np.random.default_rng(0).integers(0, 255, (1, 1, 11, 13)).astype(np.uint8)
    np.save(tmp_path / f"samples-{version}.npy", image)
    asked[version] = (image > 127)[:, 0].astype(np.int64)
    environment = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", PREDICT, registry_uri, *asked]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(asked) == len(cases) + 1
    for version, answers_expected in asked.items():
        answers = np.load(tmp_path / f"answers-{version}.npy")
        assert answers.dtype == (np.int64 if answers_expected.dtype == np.int64 else np.float32)
        np.testing.assert_allclose(answers, answers_expected, atol=1e-4)


def test_whoever_was_cut_off_is_completed(
    log: Callable[..., dict[str, str]], registry_uri: str, make_run: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, client = make_run(), MlflowClient(registry_uri, registry_uri)
    experiment = client.get_run(run_id).info.experiment_id

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("cut off")

    for last_call in ("finalize_logged_model", "create_model_version"):
        with monkeypatch.context() as patched:
            patched.setattr(MlflowClient, last_call, fail)
            with pytest.raises(ConnectionError):
                log(convnet(), IMAGES, run_id)
    model = log(convnet(), IMAGES, run_id)
    assert [one.model_id for one in client.search_logged_models([experiment])] == [model["model_id"]]
    assert [one.version for one in client.search_model_versions(f"name = '{model['name']}'")] == [1]


def test_what_is_registered(
    log: Callable[..., dict[str, str]], registry_uri: str, make_run: Callable[[], str], tmp_path: Path
) -> None:
    run_id = make_run()
    model = log(convnet(), IMAGES, run_id)
    client = MlflowClient(registry_uri, registry_uri)
    version = client.get_model_version(model["name"], model["version"])
    assert (version.run_id, version.tags["podium.trial"]) == (run_id, "3")
    logged = client.get_logged_model(model["model_id"])
    assert (logged.source_run_id, str(logged.status)) == (run_id, "READY")
    assert [output.model_id for output in client.get_run(run_id).outputs.model_outputs] == [model["model_id"]]
    assert client.get_run(run_id).info.status == "FINISHED"
    kept = Path(logged.artifact_location.removeprefix("file://"))
    assert json.loads((kept / "artifacts" / "description.json").read_text())["parameters"] == {"rate": 0.1}
    assert "podium" not in (kept / "requirements.txt").read_text()
    assert (kept / "input_example.json").is_file()


def test_a_trial_is_registered_once(log: Callable[..., dict[str, str]], make_run: Callable[[], str]) -> None:
    first, second = make_run(), make_run()
    model = log(perceptron(1), RAW, first)
    assert log(perceptron(1), RAW, first) == model
    assert log(perceptron(1), RAW, second)["version"] == "2"


def test_an_altered_network_is_refused(log: Callable[..., dict[str, str]], registry_uri: str) -> None:
    import mlflow.pyfunc

    model = log(perceptron(1), RAW)
    location = MlflowClient(registry_uri).get_logged_model(model["model_id"]).artifact_location
    network = Path(location.removeprefix("file://")) / "artifacts" / "network.pt2"
    network.write_bytes(network.read_bytes() + b"\0")
    with pytest.raises(ValueError, match="was altered"):
        mlflow.pyfunc.load_model(location)


def test_altered_code_of_a_model_is_not_run(
    log: Callable[..., dict[str, str]], registry_uri: str, tmp_path: Path
) -> None:
    version = Version("shapes", log(perceptron(1), RAW)["version"])
    assert load(registry_uri, version).about["sweep"] == "shapes"
    with folder_of(registry_uri, version) as folder:
        code = folder / "predict.py"
    code.write_text(f"open({str(tmp_path / 'was-run')!r}, 'w').close()\n{code.read_text()}")
    with pytest.raises(ModelError, match=r"shapes version 1 cannot be loaded: the model was altered: .* nothing of it"):
        load(registry_uri, version)
    assert not (tmp_path / "was-run").exists()

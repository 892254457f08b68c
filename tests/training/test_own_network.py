"""`network: file.py:function`: networks of the user's own with a built-in task."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from training_bench import Bench, make_spec

import podium
from podium.data.manifest import Schema
from podium.data.reader import Reader
from podium.errors import SpecError, TaskError
from podium.spec.files import read_sweep
from podium.spec.schema import json_schema
from podium.spec.space import signature
from podium.sweep.messages import Advance, Lane
from podium.training.live import make_network
from podium.training.preflight import measure
from podium.training.tasks import TASKS
from podium.training.trainer import load_task

NET = """\
import math
from torch import nn
from parts import hidden


def build(parameters, inputs, outputs):
    if parameters["units"] == 13:
        raise ValueError("no luck")
    if parameters["units"] == 14:
        return "a network"
    size = math.prod(inputs)
    return nn.Sequential(nn.Flatten(), *hidden(size, parameters["units"]), nn.Linear(parameters["units"], outputs))
"""
PARTS = """\
from torch import nn


def hidden(size, units):
    return nn.Linear(size, units), nn.ReLU()
"""
SEARCH = {
    "objective": {"metric": "validation/accuracy", "direction": "maximize"},
    "space": {"units": {"choice": [4, 8, 13, 14]}},
}


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


def own(**settings: Any) -> Any:
    return make_spec(network="net.py:build", **{"search": SEARCH, **settings})


def lane(number: int, units: int = 8) -> Lane:
    return Lane(trial=number, parameters={"units": units}, seed=number)


def test_it_is_trained_by_the_built_in_task_alone_and_in_a_stack(
    bench: Callable[..., Bench], blobs: Path, code: Path
) -> None:
    spec = own(fuse=2, budget={"trials": 4, "epochs": {"max": 8}})
    plain, stack = bench(spec, data=blobs, code=code), bench(spec, data=blobs, code=code)
    reports = stack.trainer.advance(Advance(key="key", gang="gang", until=8, lanes=(lane(0), lane(1))))
    assert [report.width for report in reports] == [2, 2]
    for number in range(2):
        report = plain.advance(8, lane(number))
        assert report.metrics["parameters"] == 36 * 8 + 8 + 8 * 3 + 3
        assert report.metrics["validation/accuracy"] > 0.8
        assert stack.curve(number)[8] == pytest.approx(plain.curve(number)[8], rel=1e-3)


def test_its_weights_stay_as_they_are_unless_an_initializer_is_asked_for(blobs: Path, code: Path) -> None:
    schema = Reader(blobs).schema
    networks = {}
    for name, settings in {"own": {}, "zero": {"initializer": {"scheme": "small_normal", "scale": 1e-9}}}.items():
        spec = own(**settings)
        task = load_task(spec, code)
        networks[name] = [make_network(spec, task, schema, lane(seed)) for seed in (0, 0, 1)]
    first, same, other = (each[1].weight for each in networks["own"])
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert float(first.detach().std()) == pytest.approx(1 / np.sqrt(3 * 36), rel=0.1), "torch's own"
    assert float(networks["zero"][0][1].weight.detach().abs().max()) < 1e-7


def test_it_makes_a_structure_of_its_own() -> None:
    spec = own()
    assert dict(signature({"units": 4}, spec.fixed()))["network"] == "net.py:build"
    assert not any(key.startswith("network.") for key in spec.fixed())


def test_what_goes_wrong_in_it_is_told_with_its_line(blobs: Path, code: Path) -> None:
    spec = own()
    where = NET.splitlines().index('        raise ValueError("no luck")') + 1
    with pytest.raises(TaskError, match=rf"^net\.py:{where}: net\.py:build failed: ValueError: no luck"):
        measure(spec, code=code, data=blobs, parameters={"units": 13})
    with pytest.raises(TaskError, match=r"net\.py:build returned str; it has to return an nn\.Module"):
        measure(spec, code=code, data=blobs, parameters={"units": 14})
    with pytest.raises(TaskError, match=r"did you mean 'build'"):
        load_task(make_spec(network="net.py:built"), code)


def test_dense_tasks_take_it_too() -> None:
    asked = []

    def build(parameters: Any, inputs: Any, outputs: Any) -> nn.Module:
        asked.append((inputs, outputs))
        return nn.Conv2d(inputs[0], outputs, 1)

    schema = Schema(
        inputs=(2, 8, 8),
        targets=(8, 8),
        classes=5,
        input_dtype="float32",
        target_dtype="int64",
        mean=(),
        std=(),
        normalize=False,
    )
    task = TASKS["segmentation"]()
    task.own_network = build
    assert task.network({"network": "net.py:build"}, schema)(torch.zeros(3, 2, 8, 8)).shape == (3, 5, 8, 8)
    assert asked == [((2, 8, 8), 5)]


SWEEP = """\
sweep: own
task: classification
data: {source: digits, batch_size: 64, share: 0.3}
network: net.py:build
parameters: {units: 4}
optimizer: {learning_rate: 0.03}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    units: {choice: [4, 8]}
budget: {trials: 2, epochs: {max: 3}}
tracking: {plots: false, model: false}
"""


def test_a_sweep_brings_its_code_along(code: Path) -> None:
    (code / "sweep.yaml").write_text(SWEEP)
    result = podium.launch(podium.load_sweep(code / "sweep.yaml"), home=code / "home", cluster="inline")
    assert result.summary["state"] == "finished"
    assert {row["params.units"] for _, row in result.trials().iterrows()} <= {4, 8}
    assert result.best is not None
    assert result.best["value"] > 0.3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("net.py:build", "missing.py:build", r"there is no file missing\.py"),
        ("net.py:build", "resnet", r"network: is 'resnet'; write the settings of a built-in network"),
        ("units: {choice", "network.depth: {choice", r"search keys of its own, such as depth"),
        ("network: net.py:build\n", "", r"'units' is not|units: is not a setting that can be searched"),
    ],
)
def test_mistakes_are_told_before_anything_starts(code: Path, old: str, new: str, problem: str) -> None:
    assert old in SWEEP
    (code / "sweep.yaml").write_text(SWEEP.replace(old, new))
    with pytest.raises(SpecError, match=problem):
        read_sweep(code / "sweep.yaml")


def test_a_training_function_makes_its_network_itself(code: Path) -> None:
    (code / "train.py").write_text("def train(trial):\n    trial.report(1, {'validation/accuracy': 0.5})\n")
    with pytest.raises(SpecError, match="makes its network itself") as caught:
        load_task(own(task="train.py:train"), code)
    assert caught.value.key == "network"


def test_the_schema_takes_either() -> None:
    schema = json_schema()
    kinds = schema["properties"]["network"]["oneOf"]
    assert [each.get("type", each.get("$ref")) for each in kinds] == ["string", "#/$defs/NetworkSettings"]
    assert "network.depth" in schema["$defs"]["SearchSettings"]["properties"]["space"]["properties"]

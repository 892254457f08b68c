"""How a step is computed: in parts that add up to the whole batch, and in numbers of half the size."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from training_bench import DOUBLE, Bench, make_spec

from podium.errors import SpecError, TaskError
from podium.sweep.messages import Advance, Lane, Report
from podium.training.preflight import measure
from podium.training.trainer import load_task

CODE = (
    DOUBLE
    + """
import torch

class Torchs(Classification):
    def network(self, parameters, schema):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

class Whole(Classification):
    batch_loss = True

    def losses(self, outputs, batch):
        return super().losses(outputs, batch).mean()

class Halves(Classification):
    def losses(self, outputs, batch):
        assert outputs.dtype is torch.bfloat16, outputs.dtype
        return super().losses(outputs, batch)
"""
)
LANES = tuple(Lane(trial=n, parameters={"optimizer.learning_rate": 0.01 * (n + 1)}, seed=n) for n in range(2))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "task.py").write_text(CODE)
    return tmp_path / "code"


def trained(spec: Any, blobs: Path, code: Path, store: Path) -> tuple[Bench, dict[int, Report]]:
    bench = Bench(spec, store, data=blobs, code=code, holder=1)
    reports = bench.trainer.advance(Advance(key="key", gang="gang", until=3, lanes=LANES))
    return bench, {report.trial: report for report in reports}


@pytest.mark.parametrize("fuse", ["off", 2])
@pytest.mark.parametrize("task", ["Double", "Weighted"])
def test_microbatches_add_up_to_the_batch(fuse: Any, task: str, blobs: Path, code: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "task": f"task.py:{task}",
        "fuse": fuse,
        "initializer": {"scheme": "he_normal"},
        "network": {"width": 6, "norm": "layer", "dropout": 0.3},
        "optimizer": {"kind": "sgd", "clip": 0.5},
        "penalty": {"l2": 1e-3},
        "tracking": {"diagnosis": False},  # it is of what goes through the network at once
    }
    whole, _ = trained(make_spec(**settings), blobs, code, tmp_path / "whole")
    for size in (1, 5, 16, 100):
        spec = make_spec(**settings, compute={"microbatch": size})
        parts, reports = trained(spec, blobs, code, tmp_path / str(size))
        assert {report.width for report in reports.values()} == {1 if fuse == "off" else 2}
        for trial in (0, 1):
            for epoch, metrics in whole.curve(trial).items():
                assert parts.curve(trial)[epoch] == pytest.approx(metrics, abs=1e-9)


def test_microbatches_need_less_memory(blobs: Path) -> None:
    def bytes_of(**compute: int) -> int:
        spec = make_spec(network={"kind": "convnet", "channels": 64, "depth": 1, "width": 2}, compute=compute)
        return measure(spec, code=None, data=blobs, parameters={}).memory_bytes

    assert bytes_of(microbatch=2) < 0.7 * bytes_of()


@pytest.mark.parametrize(
    "settings", [{"network": {"width": 6, "norm": "batch"}}, {"task": "task.py:Torchs"}], ids=["ours", "torch's"]
)
def test_norms_over_parts_of_a_batch_have_to_be_asked_for(
    settings: dict[str, Any], blobs: Path, code: Path, tmp_path: Path
) -> None:
    refused = make_spec(**settings, compute={"microbatch": 4})
    with pytest.raises(TaskError, match=r"is a batch norm, and compute\.microbatch has batches go through it in parts"):
        measure(refused, code=code, data=blobs, parameters={})
    with pytest.raises(TaskError, match=r"`compute\.norm: microbatch`"):
        trained(refused, blobs, code, tmp_path / "refused")
    for compute in ({"microbatch": 16}, {"microbatch": 4, "norm": "microbatch"}):
        _, reports = trained(make_spec(**settings, compute=compute), blobs, code, tmp_path / str(len(compute)))
        assert {report.ending for report in reports.values()} == {"until"}


def test_a_training_function_computes_its_steps_itself(code: Path) -> None:
    (code / "train.py").write_text("def train(trial):\n    trial.report(1, {})\n")
    with pytest.raises(SpecError, match=r"is for tasks, and train\.py:train is a training function") as refused:
        load_task(make_spec(task="train.py:train", compute={"precision": "bfloat16"}), code)
    assert refused.value.key == "compute"


def test_a_loss_of_the_whole_batch_is_not_taken_apart(code: Path) -> None:
    with pytest.raises(SpecError, match=r"is 4; task\.py:Whole says batch_loss") as refused:
        load_task(make_spec(task="task.py:Whole", compute={"microbatch": 4}), code)
    assert refused.value.key == "compute.microbatch"


def test_bfloat16_is_what_products_are_computed_in_and_nothing_else(blobs: Path, code: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "network": {"kind": "convnet", "channels": 4, "depth": 1, "width": 16, "kernel": 3, "norm": "batch"},
        "initializer": {"scheme": "he_normal"},
        "checkpoints": {"every_s": 1e9},
    }
    half = {"compute": {"precision": "bfloat16"}, "task": "task.py:Halves"}
    exact, _ = trained(make_spec(**settings, fuse="off"), blobs, code, tmp_path / "exact")
    curves = []
    for fuse, width in (("off", 1), (2, 2)):
        bench, reports = trained(make_spec(**settings, **half, fuse=fuse), blobs, code, tmp_path / str(fuse))
        assert {report.width for report in reports.values()} == {width}
        for saved in bench.saved:
            tensors = load_file(tmp_path / str(fuse) / saved.folder / "state.safetensors")
            assert {str(value.dtype) for value in tensors.values() if value.is_floating_point()} <= {
                "torch.float32",
                "torch.float64",
            }
        curves.append(bench.curve(0))
    for curve in curves:
        for epoch, metrics in exact.curve(0).items():
            assert curve[epoch]["train/loss"] != metrics["train/loss"]
            assert curve[epoch]["train/loss"] == pytest.approx(metrics["train/loss"], rel=0.1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, while it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler (g++)")
def test_compiled_networks_have_the_same_curves(blobs: Path, code: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "task": "task.py:Double",
        "fuse": 2,
        "initializer": {"scheme": "he_normal"},
        "network": {"width": 6, "norm": "batch", "dropout": 0.3},
    }
    eager, reports = trained(make_spec(**settings), blobs, code, tmp_path / "eager")
    assert {report.width for report in reports.values()} == {2}
    counters["frames"].clear()
    spec = make_spec(**settings, compute={"compile": True})
    compiled, reports = trained(spec, blobs, code, tmp_path / "compiled")
    assert {report.width for report in reports.values()} == {1}
    assert counters["frames"]["ok"] > 0
    for trial in (0, 1):
        for epoch, metrics in eager.curve(trial).items():
            assert compiled.curve(trial)[epoch] == pytest.approx(metrics, abs=1e-9)
    measured = measure(spec, code=code, data=blobs, parameters={}, mate={})
    assert "compute.compile" in measured.obstacle


def test_compiling_without_a_compiler_is_refused_before_anything_starts(
    blobs: Path, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    spec = make_spec(task="task.py:Double", compute={"compile": True}, resources={"gpus": 0})
    with pytest.raises(SpecError, match=r"^compute\.compile: is on, and torch\.compile needs a C\+\+ compiler"):
        measure(spec, code=code, data=blobs, parameters={})

"""The tasks of several labels and of several outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score
from training_bench import Bench, make_spec, prepare_arrays

from podium.errors import SpecError
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, Measured
from podium.training.plain import mean_of, weighted_sum
from podium.training.preflight import measure
from podium.training.task import Batch
from podium.training.tasks import MultiLabel, MultiOutput
from podium.training.tasks.multi_label import label_metrics

MakeBench = Callable[..., Bench]
OBJECTIVE = {"metric": "validation/loss", "direction": "minimize"}
HEADS = {
    "side": {"kind": "classification", "targets": [0], "classes": 3, "loss": {"class_weights": [1, 2, 1]}},
    "signs": {"kind": "multi_label", "targets": "1:3", "weight": 0.5},
    "size": {"kind": "regression", "targets": [3], "loss": {"kind": "huber", "delta": 0.5}},
}


@pytest.fixture(scope="module")
def targets() -> Any:
    """One of three classes, two labels, a number; 150 of them, of five numbers each."""
    draws = np.random.default_rng(0)
    inputs = draws.normal(size=(150, 5)).astype(np.float32)
    signs = inputs[:, :2] > 0
    columns = [np.digitize(inputs[:, 2], [-0.4, 0.4]), signs[:, 0], signs[:, 1], inputs @ np.arange(5.0)]
    return inputs, np.stack(columns, axis=1).astype(np.float64)


@pytest.fixture(scope="module")
def columns(targets: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_arrays(tmp_path_factory.mktemp("columns"), *targets)


@pytest.fixture(scope="module")
def labels(targets: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_arrays(tmp_path_factory.mktemp("labels"), targets[0], targets[1][:, 1:3])


def spec_of(task: str, **settings: Any) -> SweepSpec:
    return make_spec(task=task, search={"objective": OBJECTIVE}, optimizer={"learning_rate": 0.02}, **settings)


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    draws = np.random.default_rng(0)
    targets = (draws.random((400, 4)) < [0.5, 0.1, 0.02, 0.0]).astype(np.float32)
    scores = (2 * targets + draws.normal(size=(400, 4), scale=2)).astype(np.float32)
    on_bins = np.floor(scores * 32) / 32 + 1 / 64
    for given, near in ((on_bins, 1e-9), (scores, 2e-3)):
        metrics = label_metrics(4)
        other = label_metrics(4)
        for metric, one, rows in ((metrics, other, slice(0, 250)), (other, metrics, slice(250, 400))):
            batch = Batch(torch.empty(0), torch.from_numpy(targets[rows]), {})
            for each in metric.values():
                each.update(torch.from_numpy(given[rows]), batch)
            assert one is not metric
        for name, each in metrics.items():
            each.merge(other[name])
        expected = average_precision_score(targets[:, :3], given[:, :3], average="macro")
        assert metrics["mean_average_precision"].compute() == pytest.approx(expected, abs=near)
        assert metrics["f1"].compute() == pytest.approx(f1_score(targets, given > 0, average="micro"))
        right = ((given > 0) == (targets > 0)).all(axis=1).mean()
        assert metrics["subset_accuracy"].compute() == pytest.approx(right)


def test_scores_beyond_the_bins_are_counted_in_the_last_ones() -> None:
    metric = label_metrics(1)["mean_average_precision"]
    scores = torch.tensor([[-1e30], [1e30], [torch.inf], [torch.nan]])
    metric.update(scores, Batch(scores, torch.tensor([[0.0], [1.0], [1.0], [0.0]]), {}))
    assert metric.compute() == 1


def test_labels_are_learned(labels: Path, bench: MakeBench) -> None:
    trained = bench(spec_of("multi_label", budget={"trials": 1, "epochs": {"max": 8}}), data=labels)
    metrics = trained.advance(8).metrics
    assert metrics["validation/mean_average_precision"] > 0.9
    assert metrics["validation/f1"] > 0.8
    assert metrics["validation/subset_accuracy"] > 0.6


def test_the_loss_of_several_outputs_is_the_weighted_sum_of_their_own(columns: Path, bench: MakeBench) -> None:
    spec = spec_of("multi_output", heads=HEADS)
    task = MultiOutput.made_for(spec)
    outputs = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0.0, 1, 0, 0.3], [2, 1, 1, 9], [1, 0, 0, -3], [1, 1, 0, 0], [0, 0, 1, 1], [2, 0, 0, 2]])
    batch = Batch(targets, targets, spec.head_weights({"heads.size.weight": 3.0}))
    weights = torch.tensor([1.0, 2.0, 1.0])[targets[:, 0].long()]
    functional = torch.nn.functional
    expected = (
        (weights * functional.cross_entropy(outputs[:, :3], targets[:, 0].long(), reduction="none")).mean()
        + 0.5 * functional.binary_cross_entropy_with_logits(outputs[:, 3:5], targets[:, 1:3])
        + 3.0 * functional.huber_loss(outputs[:, 5], targets[:, 3], delta=0.5)
    )
    torch.testing.assert_close(mean_of(*weighted_sum(task, outputs, batch)), expected)


def test_heads_have_metrics_of_their_own_in_a_stack_as_alone(columns: Path, tmp_path: Path) -> None:
    budget, network = {"trials": 2, "epochs": {"max": 8}}, {"width": 32}
    spec = spec_of("multi_output", heads=HEADS, fuse=2, budget=budget, network=network)
    lanes = tuple(Lane(trial=n, parameters={"heads.side.weight": float(n)}, seed=n) for n in (0, 1))
    together = Bench(spec, tmp_path / "together", data=columns, code=None, holder=1)
    reports = together.trainer.advance(Advance(key="key", gang="gang", until=8, lanes=lanes))
    assert {report.width for report in reports} == {2}
    assert not [event for event in together.events if isinstance(event, Measured)], "nothing was found unstackable"
    blind, seeing = (report.metrics for report in reports)
    assert blind["validation/side/accuracy"] < seeing["validation/side/accuracy"] > 0.6  # its loss was nothing to it
    assert seeing["validation/signs/mean_average_precision"] > 0.85
    assert {name for name in seeing if name.startswith("validation/size/")} == {
        "validation/size/loss",
        "validation/size/mean_absolute_error",
        "validation/size/rmse",
    }
    own = [seeing[f"validation/{head}/loss"] for head in ("side", "signs", "size")]
    assert seeing["validation/loss"] == pytest.approx(own[0] + 0.5 * own[1] + own[2])
    alone = Bench(spec, tmp_path / "alone", data=columns, code=None, holder=1)
    alone.advance(8, lanes[1])
    assert alone.curve(1)[8] == pytest.approx(together.curve(1)[8], rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "key", "problem"),
    [
        (
            {"side": {"kind": "classification", "targets": [0], "classes": 2}},
            "heads.side.classes",
            "is 2, .*target is 2",
        ),
        ({"side": {"kind": "classification", "targets": [3], "classes": 9}}, "heads.side.classes", "whole numbers"),
        ({"signs": {"kind": "multi_label", "targets": [1, 3]}}, "heads.signs.kind", "targets are 0 and 1"),
        ({"size": {"kind": "regression", "targets": "3:5"}}, "heads.size.targets", "names column 4"),
        (
            {"size": {"kind": "regression", "targets": [3], "loss": {"kind": "focal"}}},
            "heads.size.loss.kind",
            "mse, l1, huber",
        ),
    ],
)
def test_heads_that_do_not_fit_the_targets_are_refused_when_first_tried(
    settings: dict[str, Any], key: str, problem: str, columns: Path
) -> None:
    with pytest.raises(SpecError, match=problem) as refused:
        measure(spec_of("multi_output", heads=settings), code=None, data=columns, parameters={})
    assert refused.value.key == key


def test_targets_that_are_no_labels_are_refused_when_first_tried(columns: Path, blobs: Path, labels: Path) -> None:
    with pytest.raises(SpecError, match="targets are 0 and 1, and one holds"):
        measure(spec_of("multi_label"), code=None, data=columns, parameters={})
    with pytest.raises(SpecError, match="targets are 3 classes"):
        measure(spec_of("multi_label"), code=None, data=blobs, parameters={})
    assert measure(spec_of("multi_label"), code=None, data=labels, parameters={}).obstacle == ""
    assert MultiLabel().metrics().keys() == {"mean_average_precision", "subset_accuracy", "f1"}

"""Law 4 for losses with weights: neither lane mates nor microbatches change a trial's curve."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_bench import DOUBLE, Bench, make_spec, prepare_arrays

from podium.errors import SpecError
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, Measured
from podium.training.preflight import measure

MakeBench = Callable[..., Bench]

MASKS = """
from podium.training.tasks import Segmentation

class Masks(Segmentation):
    def network(self, parameters, schema):
        return Wide(super().network(parameters, schema))
"""


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "task.py").write_text(DOUBLE + MASKS)
    return folder


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8 x 8, bright where the second class is; the third one, a frame, is nowhere else; 60 samples."""
    draws = np.random.default_rng(0)
    targets = (draws.random((60, 8, 8)) < 0.2).astype(np.uint8)
    inputs = (targets + 0.3 * draws.normal(size=targets.shape)).astype(np.float32)[:, None]
    targets[:20, 0] = 2
    targets[20] = 2
    return prepare_arrays(tmp_path_factory.mktemp("masks"), inputs, targets)


def require_alike(spec: SweepSpec, searched: tuple[str, tuple[float, float]], data: Path, code: Path, at: Path) -> None:
    """Trains two trials as a stack in parts of three samples, and each alone in whole batches."""
    lanes = tuple(Lane(trial=n, parameters={searched[0]: searched[1][n]}, seed=n) for n in (0, 1))
    parts = spec.model_copy(update={"compute": spec.compute.model_copy(update={"microbatch": 3})})
    together = Bench(parts, at / "together", data=data, code=code, holder=1)
    reports = together.trainer.advance(Advance(key="key", gang="gang", until=2, lanes=lanes))
    assert {report.width for report in reports} == {2}
    assert not [event for event in together.events if isinstance(event, Measured)], "nothing was found unstackable"
    for lane in lanes:
        alone = Bench(spec, at / f"alone-{lane.trial}", data=data, code=code, holder=1)
        alone.advance(2, lane)
        for epoch, metrics in alone.curve(lane.trial).items():
            other = together.curve(lane.trial)[epoch]
            # a diagnosis is of as many samples as go through the network at once
            names = [name for name in metrics if not name.startswith("diagnosis/")]
            assert [metrics[name] for name in names] == pytest.approx([other[name] for name in names], abs=1e-9)


@pytest.mark.parametrize(
    ("loss", "searched", "augmentation"),
    [
        ({"kind": "focal", "class_weights": "balanced"}, ("loss.gamma", (0.5, 3.0)), {}),
        ({"ignore": 1, "class_weights": (1.0, 1.0, 3.0)}, ("loss.label_smoothing", (0.0, 0.2)), {"mixup": 0.4}),
    ],
)
def test_a_stack_in_parts_is_each_trial_alone(
    loss: dict[str, Any],
    searched: tuple[str, tuple[float, float]],
    augmentation: dict[str, Any],
    blobs: Path,
    double: Path,
    tmp_path: Path,
) -> None:
    spec = make_spec(task="task.py:Double", loss=loss, augmentation=augmentation, fuse=2)
    require_alike(spec, searched, blobs, double, tmp_path)


@pytest.mark.parametrize("kind", ["dice_cross_entropy", "focal"])
def test_a_stack_of_segmentations_is_each_trial_alone(kind: str, masks: Path, double: Path, tmp_path: Path) -> None:
    spec = make_spec(
        task="task.py:Masks",
        loss={"kind": kind, "class_weights": "balanced", "ignore": 2},
        network={"kind": "fcn", "depth": 1, "channels": 2, "kernel": 3},
        search={"objective": {"metric": "validation/loss", "direction": "minimize"}},
        fuse=2,
    )
    require_alike(spec, ("optimizer.learning_rate", (1e-3, 1e-2)), masks, double, tmp_path)


def test_what_is_ignored_does_not_count(blobs: Path, double: Path, bench: MakeBench) -> None:
    optimizer = {"learning_rate": 0.02}
    spec = make_spec(task="task.py:Double", loss={"ignore": 2}, optimizer=optimizer)
    trained = bench(spec, data=blobs, code=double)
    trained.advance(4)
    last = trained.curve()[4]
    assert last["validation/loss"] is not None
    assert last["validation/loss"] < 0.3
    assert last["validation/accuracy"] is not None
    assert last["validation/accuracy"] > 0.9, "samples of the third class would all be wrong"


def test_a_loss_of_other_targets_is_refused_when_it_is_first_tried(blobs: Path, line: Path) -> None:
    with pytest.raises(SpecError, match="cross_entropy, focal"):
        measure(make_spec(), code=None, data=blobs, parameters={"loss.kind": "huber"})
    regression = make_spec(
        task="regression",
        search={"objective": {"metric": "validation/loss", "direction": "minimize"}},
    )
    with pytest.raises(SpecError, match="mse, l1, huber"):
        measure(regression, code=None, data=line, parameters={"loss.kind": "focal"})
    measured = measure(regression, code=None, data=line, parameters={"loss.kind": "huber"})
    assert measured.obstacle == ""

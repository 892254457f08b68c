"""Segmentation and image_to_image: metrics, patches slid over images, and stacks that equal plain training."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d
from sklearn.metrics import confusion_matrix, f1_score, jaccard_score
from torch import Tensor, nn
from training_bench import Bench, make_spec

from podium.data.manifest import Schema
from podium.data.prepare import prepare
from podium.errors import SpecError
from podium.spec.networks import NetworkSettings
from podium.sweep.messages import Advance, Lane
from podium.training.loop import validation_batch
from podium.training.task import Batch
from podium.training.tasks import TASKS
from podium.training.toolbox.chance import Dropout, begin_epoch, begin_step, sites
from podium.training.toolbox.confusion import Accuracy, Dice, MeanIoU
from podium.training.toolbox.networks.patches import Slid
from podium.training.toolbox.similarity import psnr, ssim

IMAGES = Schema((1, 12, 16), "float32", (12, 16), "uint8", 3, (0.0,), (1.0,), normalize=False)


def batch_of(targets: Tensor, class_weights: Tensor | None = None) -> Batch:
    return Batch(torch.zeros(len(targets), 1), targets, {"loss.label_smoothing": 0.0}, class_weights=class_weights)


@pytest.mark.parametrize("classes", [2, 4])
def test_metrics_of_masks_are_those_of_scikit_learn(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    outputs = torch.randn(5, classes, 6, 7, generator=generator)
    targets = torch.randint(0, classes, (5, 6, 7), generator=generator, dtype=torch.uint8)
    found = {kind: [kind(classes), kind(classes)] for kind in (MeanIoU, Dice, Accuracy)}
    for one, other in found.values():
        one.update(outputs[:2], batch_of(targets[:2]))
        other.update(outputs[2:], batch_of(targets[2:]))
        one.merge(other)
    wanted, given = targets.flatten().numpy(), outputs.argmax(dim=1).flatten().numpy()
    assert np.array_equal(found[Dice][0].state["confusion"].numpy(), confusion_matrix(wanted, given))
    assert found[MeanIoU][0].compute() == pytest.approx(jaccard_score(wanted, given, average="macro"))
    assert found[Accuracy][0].compute() == pytest.approx(float((wanted == given).mean()))
    average = "binary" if classes == 2 else "macro"
    assert found[Dice][0].compute() == pytest.approx(f1_score(wanted, given, average=average))


def test_classes_that_stand_nowhere_do_not_count() -> None:
    outputs, targets = torch.zeros(1, 3, 2, 2), torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)
    outputs[:, 0] = 1
    iou, dice = MeanIoU(3), Dice(3)
    for metric in (iou, dice):
        metric.update(outputs, batch_of(targets))
    assert iou.compute() == pytest.approx((0.5 + 0) / 2)
    assert dice.compute() == pytest.approx((2 * 2 / (2 * 2 + 2) + 0) / 2)


def test_pixels_of_a_class_that_weighs_nothing_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 4, 6, 7, generator=generator)
    targets = torch.randint(0, 4, (3, 6, 7), generator=generator, dtype=torch.uint8)
    iou, accuracy = MeanIoU(4), Accuracy(4)
    for metric in (iou, accuracy):
        metric.update(outputs, batch_of(targets, torch.tensor([1.0, 0.5, 0.0, 2.0])))
    outputs[:, 2] = -9
    is_counted = (targets != 2).flatten().numpy()
    wanted, given = (each.flatten().numpy()[is_counted] for each in (targets, outputs.argmax(dim=1)))
    assert iou.compute() == pytest.approx(jaccard_score(wanted, given, average="macro"))
    assert accuracy.compute() == pytest.approx(float((wanted == given).mean()))


def test_psnr_is_ten_log_ten_of_the_span_over_the_error() -> None:
    targets = torch.zeros(2, 4, 4, dtype=torch.float64)
    outputs = torch.stack([targets[0] + 0.1, targets[1] + 0.01]).unsqueeze(1)
    assert psnr(outputs, targets, 1.0).tolist() == pytest.approx([20, 40])
    assert psnr(255 * outputs, 255 * targets, 255.0).tolist() == pytest.approx([20, 40])


def reference_ssim(one: Any, two: Any, span: float) -> float:
    point = np.zeros((11, 11))
    point[5, 5] = 1
    window = gaussian_filter(point, 1.5, truncate=10, mode="constant")
    window /= window.sum()

    def mean(image: Any) -> Any:
        return convolve2d(image, window, mode="valid")

    first, second = mean(one), mean(two)
    v1, v2, c = mean(one**2) - first**2, mean(two**2) - second**2, mean(one * two) - first * second
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    found = (2 * first * second + c1) * (2 * c + c2) / ((first**2 + second**2 + c1) * (v1 + v2 + c2))
    return float(found.mean())


def test_ssim_is_that_of_the_paper() -> None:
    draws = np.random.default_rng(0)
    targets = draws.uniform(size=(3, 20, 17))
    outputs = targets + 0.2 * draws.normal(size=targets.shape)
    expected = [reference_ssim(one, two, 1.0) for one, two in zip(outputs, targets, strict=True)]
    found = ssim(torch.tensor(outputs).unsqueeze(1), torch.tensor(targets), 1.0)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    assert ssim(torch.tensor(targets), torch.tensor(targets), 1.0).tolist() == pytest.approx([1, 1, 1])
    assert math.isfinite(float(ssim(torch.rand(1, 5, 5), torch.rand(1, 5, 5), 1.0)))


class Centre(nn.Module):
    """Says of a patch the pixels in its middle, one after the other."""

    def forward(self, patches: Tensor) -> Tensor:
        half = patches.shape[-1] // 2
        return patches[:, 0, half - 1 : half + 1, half - 1 : half + 1].mean(dim=(1, 2)).unsqueeze(1)


@pytest.mark.parametrize(("patch", "stride"), [(6, 2), (4, 4), (8, 4), (10, 2)])
@pytest.mark.parametrize("sides", [(12, 16), (13, 15)])
def test_patches_lie_around_their_cells(patch: int, stride: int, sides: tuple[int, int]) -> None:
    settings = NetworkSettings(kind="convnet", patch=patch, stride=stride)
    rows, columns = (torch.arange(side, dtype=torch.float64) for side in sides)
    slope = (3 * rows[:, None] + columns[None, :])[None, None]
    made = Slid(Centre(), settings, (1, *sides))(slope)
    assert made.shape == slope.shape
    inner = (..., slice(stride, -2 * stride), slice(stride, -2 * stride))
    torch.testing.assert_close(made[inner], slope[inner], msg="a slope is interpolated exactly")


def test_each_patch_draws_for_itself_by_the_position_of_its_image() -> None:
    settings = NetworkSettings(kind="mlp", patch=4, stride=4)
    network = Slid(nn.Sequential(Centre(), Dropout(0.5)), settings, (1, 32, 32))
    places = sites(network)
    begin_epoch(places, 1, 0)

    def drawn(positions: list[int]) -> Tensor:
        begin_step(places, torch.tensor(positions))
        return network(torch.ones(len(positions), 1, 32, 32))

    together = drawn([3, 8])
    torch.testing.assert_close(together[[1]], drawn([8]))
    assert not torch.equal(together[0], together[1])
    assert len(together[0].unique()) > 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch": 4, "stride": 5}, r"network.stride: is 5, and patches have a side of 4"),
        ({"patch": 40, "stride": 2}, r"network.patch: is 40, too much for images of 12 x 16"),
    ],
)
def test_patches_that_do_not_fit_are_refused(settings: dict[str, int], message: str) -> None:
    parameters = {"network.kind": "convnet", **{f"network.{key}": value for key, value in settings.items()}}
    with pytest.raises(SpecError, match=message):
        TASKS["segmentation"]().network(parameters, IMAGES)


def schema(inputs: tuple[int, ...], targets: tuple[int, ...], classes: int = 0) -> Schema:
    kind = "uint8" if classes else "float32"
    return Schema(inputs, "float32", targets, kind, classes, (0.0,) * inputs[0], (1.0,) * inputs[0], normalize=False)


@pytest.mark.parametrize(
    ("task", "given", "kind", "message"),
    [
        ("segmentation", schema((1, 8, 8), (), 3), "unet", r"task: is segmentation, .*\(1, 8, 8\), targets \(\)"),
        ("segmentation", schema((1, 8, 8), (8, 8)), "unet", r"targets \(8, 8\) \(float32 numbers\)"),
        ("image_to_image", schema((1, 8, 8), (8, 8), 3), "unet", r"task: is image_to_image, .* save them as floats"),
        ("image_to_image", schema((1, 8, 8), (1, 8, 12)), "unet", r"whole multiple of both, .*\(1, 8, 12\)"),
        ("image_to_image", schema((1, 8, 8), (1, 8, 8)), "mlp", r"network.kind: is mlp, which gives no images"),
        ("image_to_image", schema((3, 8, 8), (1, 8, 8)), "residual", r"network.residual: is on, and inputs with 3"),
        ("regression", schema((1, 8, 8), (4,)), "unet", r"network.kind: is unet, which gives a map for each sample"),
    ],
)
def test_what_does_not_fit_is_refused(task: str, given: Schema, kind: str, message: str) -> None:
    parameters = {"network.kind": "unet", "network.residual": True} if kind == "residual" else {"network.kind": kind}
    with pytest.raises(SpecError, match=message):
        TASKS[task]().network(parameters, given)


def test_a_residual_is_added_to_the_input_as_it_is_stored_and_enlarged() -> None:
    given = Schema((1, 4, 5), "uint8", (8, 10), "float32", 0, (100.0,), (50.0,), normalize=True)
    network = TASKS["image_to_image"]().network({"network.kind": "srcnn", "network.residual": True}, given)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    stored = torch.rand(2, 1, 4, 5) * 255
    wanted = nn.functional.interpolate(stored, scale_factor=2, mode="bicubic")
    torch.testing.assert_close(network((stored - 100) / 50), wanted, rtol=1e-4, atol=1e-3)


def test_validation_batches_are_bounded_in_bytes() -> None:
    assert validation_batch((1, 28, 28)) == 256
    assert validation_batch((3, 180, 240)) == 8
    assert validation_batch((3, 2000, 3000)) == 1


DOUBLE = """
from torch import nn
from podium.training.tasks import ImageToImage, Segmentation

class Wide(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner.double()

    def forward(self, inputs):
        return self.inner(inputs.double())

class Segments(Segmentation):
    def network(self, parameters, schema):
        return Wide(super().network(parameters, schema))

class Improves(ImageToImage):
    def network(self, parameters, schema):
        return Wide(super().network(parameters, schema))
"""


@pytest.fixture(scope="module")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tasks in float64."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "task.py").write_text(DOUBLE)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Bright squares: masks of them, and images of them with less noise."""
    draws, made = np.random.default_rng(0), {}
    squares = np.zeros((60, 12, 12), np.float32)
    for square, (top, left) in zip(squares, draws.integers(0, 7, (60, 2)), strict=True):
        square[top : top + 5, left : left + 5] = 1
    noisy = (squares + 0.3 * draws.normal(size=squares.shape)).astype(np.float32)[:, None]
    for task, targets in (("Segments", squares.astype(np.int64)), ("Improves", squares)):
        folder = tmp_path_factory.mktemp(task)
        np.savez(folder / "blobs.npz", x=noisy, y=targets)
        data = make_spec().data
        assert data is not None
        made[task] = prepare(data, base=folder, store=str(folder), cache=folder / "cache")
    return made


@pytest.mark.parametrize(
    ("task", "network", "metric"),
    [
        ("Segments", {"kind": "unet", "depth": 1, "spatial_dropout": 0.2}, "dice"),
        ("Segments", {"kind": "convnet", "patch": 6, "stride": 2, "depth": 1, "width": 4, "dropout": 0.3}, "mean_iou"),
        ("Improves", {"kind": "rednet", "depth": 2, "residual": True}, "psnr"),
    ],
)
def test_a_stack_is_plain_training_and_learns(
    tmp_path: Path, double: Path, shards: dict[str, Path], task: str, network: dict[str, Any], metric: str
) -> None:
    spec = make_spec(
        task=f"task.py:{task}",
        fuse=2,
        network={"channels": 2, "kernel": 3, **network},
        loss={"class_weights": "balanced" if task == "Segments" else "none"},
        search={"objective": {"metric": f"validation/{metric}", "direction": "maximize"}},
    )
    lanes = [Lane(trial=n, parameters={"optimizer.learning_rate": 0.01 * (n + 1)}, seed=n) for n in range(2)]
    stacked = Bench(spec, tmp_path / "stacked", data=shards[task], code=double, holder=1)
    reports = stacked.trainer.advance(Advance(key="key", gang="gang", until=3, lanes=tuple(lanes)))
    assert [report.width for report in reports] == [2, 2]
    for lane in lanes:
        alone = Bench(spec, tmp_path / f"{lane.trial}", data=shards[task], code=double, holder=1)
        alone.advance(3, lane)
        for epoch, metrics in alone.curve(lane.trial).items():
            assert stacked.curve(lane.trial)[epoch] == pytest.approx(metrics, rel=1e-7, abs=1e-9)
        losses = [metrics["validation/loss"] or 0 for metrics in alone.curve(lane.trial).values()]
        assert losses[2] < losses[0]

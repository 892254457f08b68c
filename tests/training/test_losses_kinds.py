from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.components import LossSettings
from podium.training.plain import mean_of, weighted_sum
from podium.training.task import Batch
from podium.training.tasks import Classification
from podium.training.toolbox.losses import class_losses, class_weights, dice, label_losses, number_losses

GENERATOR = torch.Generator().manual_seed(3)
VECTORS = torch.randn(6, 4, dtype=torch.float64, generator=GENERATOR), torch.tensor([0, 3, 1, 1, 2, 0])
MAPS = (
    torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=GENERATOR),
    torch.randint(0, 3, (2, 4, 5), generator=GENERATOR, dtype=torch.uint8),
)
WEIGHTS = (0.5, 2.0, 1.0, 3.0)


def batch_of(targets: Tensor, classes: int = 1, **settings: Any) -> Batch:
    loss = LossSettings.model_validate(settings)
    values = {f"loss.{name}": getattr(loss, name) for name in ("label_smoothing", "delta", "gamma")}
    return Batch(targets, targets, values, loss=loss, class_weights=class_weights(loss, classes, ()))


def mean(outputs: Tensor, batch: Batch) -> Tensor:
    return mean_of(*weighted_sum(Classification(), outputs, batch))


@pytest.mark.parametrize("data", [VECTORS, MAPS], ids=["vectors", "maps"])
@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({}, {}),
        ({"class_weights": WEIGHTS}, {"weight": WEIGHTS}),
        ({"ignore": 1}, {"ignore_index": 1}),
        ({"ignore": 1, "class_weights": WEIGHTS}, {"ignore_index": 1, "weight": WEIGHTS}),
        ({"label_smoothing": 0.2}, {"label_smoothing": 0.2}),
        ({"label_smoothing": 0.2, "ignore": 0}, {"label_smoothing": 0.2, "ignore_index": 0}),
        ({"kind": "focal", "gamma": 0.0, "class_weights": WEIGHTS}, {"weight": WEIGHTS}),
    ],
)
def test_cross_entropy_over_a_batch_is_that_of_torch(
    data: tuple[Tensor, Tensor], settings: dict[str, Any], reference: dict[str, Any]
) -> None:
    outputs, targets = data
    classes = outputs.shape[1]
    if "weight" in reference:
        settings = settings | {"class_weights": WEIGHTS[:classes]}
        reference = reference | {"weight": torch.tensor(WEIGHTS[:classes], dtype=torch.float64)}
    expected = functional.cross_entropy(outputs, targets.long(), **reference)
    torch.testing.assert_close(mean(outputs, batch_of(targets, classes, **settings)), expected)


def test_a_sample_weighs_what_its_places_do_on_average_also_where_labels_are_smoothed() -> None:
    outputs, targets = VECTORS
    losses, weights = class_losses(outputs, batch_of(targets, 4, class_weights=WEIGHTS, label_smoothing=0.3))
    expected = functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.3)
    torch.testing.assert_close(losses, expected)
    assert weights.tolist() == [0.5, 3.0, 2.0, 2.0, 1.0, 0.5]
    masks = torch.tensor([[[0, 0], [1, 2]], [[1, 1], [1, 1]]])
    losses, weights = class_losses(MAPS[0][:, :, :2, :2], batch_of(masks, 3, class_weights=(1.0, 0.0, 4.0)))
    assert weights.tolist() == [1.5, 0.0]
    assert losses[1] == 0


@pytest.mark.parametrize("kind", ["cross_entropy", "focal", "dice", "dice_cross_entropy"])
def test_a_batch_of_which_nothing_counts_is_no_division_by_zero(kind: str) -> None:
    outputs = MAPS[0].clone().requires_grad_()
    loss = mean(outputs, batch_of(torch.ones(2, 4, 5, dtype=torch.int64), 3, kind=kind, ignore=1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert outputs.grad is not None
    assert not outputs.grad.any()


def test_focal_loss_is_its_formula_and_has_a_slope_where_the_class_is_certain() -> None:
    outputs, targets = VECTORS
    chosen = outputs.softmax(dim=1)[torch.arange(6), targets]
    expected = (1 - chosen) ** 1.5 * -chosen.log()
    torch.testing.assert_close(class_losses(outputs, batch_of(targets, kind="focal", gamma=1.5)), expected)
    certain = torch.tensor([[80.0, 0.0]], requires_grad=True)
    losses = class_losses(certain, batch_of(torch.tensor([0]), kind="focal", gamma=0.5))
    assert isinstance(losses, Tensor)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert certain.grad is not None
    assert torch.isfinite(certain.grad).all()


def test_dice_loss_is_one_computed_by_hand() -> None:
    # probabilities of the second class: 1/2, 1/2, 4/5, 1/5; it stands at the last two of four places
    odds = torch.tensor([1.0, 1.0, 4.0, 0.25], dtype=torch.float64)
    outputs = torch.stack([torch.zeros_like(odds), odds.log()]).view(1, 2, 2, 2)
    targets = torch.tensor([[[0, 0], [1, 1]]])
    squares = 0.25 + 0.25 + 0.64 + 0.04
    second = (2 * (0.8 + 0.2) + 1) / (squares + 2 + 1)
    first = (2 * (0.5 + 0.5) + 1) / (squares + 2 + 1)
    assert dice(outputs, targets).item() == pytest.approx(1 - (first + second) / 2)
    # the class at the first two places is left out, so that of the second's two places one is right
    alone = (2 * (0.8 + 0.2) + 1) / (0.64 + 0.04 + 2 + 1)
    assert dice(outputs, targets, torch.tensor([0.0, 3.0], dtype=torch.float64)).item() == pytest.approx(1 - alone)


def test_dice_and_cross_entropy_add_up() -> None:
    outputs, targets = MAPS
    expected = dice(outputs, targets.long()) + functional.cross_entropy(outputs, targets.long(), reduction="none").mean(
        dim=(1, 2)
    )
    torch.testing.assert_close(class_losses(outputs, batch_of(targets, kind="dice_cross_entropy")), expected)


@pytest.mark.parametrize(
    ("settings", "reference"),
    [({}, functional.mse_loss), ({"kind": "l1"}, functional.l1_loss), ({"kind": "huber", "delta": 0.7}, None)],
)
def test_losses_of_numbers_are_those_of_torch(settings: dict[str, Any], reference: Any) -> None:
    outputs, targets = MAPS[0], MAPS[0].flip(0)
    if reference is None:
        expected = functional.huber_loss(outputs, targets, reduction="none", delta=0.7)
    else:
        expected = reference(outputs, targets, reduction="none")
    torch.testing.assert_close(number_losses(outputs, batch_of(targets, **settings)), expected.flatten(1).mean(dim=1))


def test_losses_of_labels_are_those_of_torch() -> None:
    outputs, targets = VECTORS[0], (VECTORS[0].flip(0) > 0).float()
    expected = functional.binary_cross_entropy_with_logits(outputs, targets.double(), reduction="none")
    torch.testing.assert_close(label_losses(outputs, batch_of(targets)), expected.mean(dim=1))
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    torch.testing.assert_close(
        label_losses(outputs, batch_of(targets, 4, class_weights=WEIGHTS)), (expected * weights).sum(dim=1) / 6.5
    )
    right = torch.where(targets == 1, outputs.sigmoid(), 1 - outputs.sigmoid())
    torch.testing.assert_close(
        label_losses(outputs, batch_of(targets, kind="focal")), ((1 - right) ** 2 * expected).mean(dim=1)
    )


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [10, 3, 7])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    found = class_weights(LossSettings(class_weights="balanced"), 3, (10, 3, 7))
    torch.testing.assert_close(found, torch.from_numpy(expected).float())
    # a class that is ignored, and one that nothing has, leave the others balanced
    found = class_weights(LossSettings(class_weights="balanced", ignore=1), 5, (10, 50, 3, 7, 0))
    assert found is not None
    torch.testing.assert_close(found[[0, 2, 3]], torch.from_numpy(expected).float())
    assert found[[1, 4]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "counts", "key", "problem"),
    [
        ({"class_weights": (1.0, 2.0)}, (1, 1, 1), "loss.class_weights", "has 2 weights, and there are 3 classes"),
        ({"class_weights": "balanced"}, (), "loss.class_weights", "no classes that could be counted"),
        ({"class_weights": (0.0, 1.0, 0.0), "ignore": 1}, (1, 1, 1), "loss.class_weights", "no class a weight above 0"),
        ({"ignore": 3}, (1, 1, 1), "loss.ignore", "is 3, and the classes are 0 to 2"),
    ],
)
def test_settings_that_do_not_fit_the_classes_are_refused(
    settings: dict[str, Any], counts: tuple[int, ...], key: str, problem: str
) -> None:
    with pytest.raises(SpecError, match=problem) as refused:
        class_weights(LossSettings.model_validate(settings), 3, counts)
    assert refused.value.key == key


@pytest.mark.parametrize(
    ("losses", "targets", "settings", "key", "allowed"),
    [
        (class_losses, VECTORS[1], {"kind": "mse"}, "loss.kind", "cross_entropy, focal$"),
        (class_losses, VECTORS[1], {"kind": "dice"}, "loss.kind", "cross_entropy, focal$"),
        (class_losses, MAPS[1], {"kind": "binary"}, "loss.kind", "focal, dice, dice_cross_entropy$"),
        (number_losses, VECTORS[0], {"kind": "focal"}, "loss.kind", "mse, l1, huber$"),
        (number_losses, VECTORS[0], {"ignore": 0}, "loss.ignore", "for classes"),
        (number_losses, VECTORS[0], {"class_weights": (1.0,)}, "loss.class_weights", "for classes"),
        (label_losses, VECTORS[0], {"kind": "cross_entropy"}, "loss.kind", "binary, focal$"),
    ],
)
def test_losses_of_other_targets_are_refused(
    losses: Any, targets: Tensor, settings: dict[str, Any], key: str, allowed: str
) -> None:
    outputs = VECTORS[0] if targets.dim() < 3 else MAPS[0]
    with pytest.raises(SpecError, match=allowed) as refused:
        losses(outputs, batch_of(targets, **settings))
    assert refused.value.key == key

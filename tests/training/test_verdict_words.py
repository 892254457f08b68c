"""Verdicts: what was measured, and what is said of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from podium.spec.components import Components
from podium.training.verdict import Layer, Moment, hopeless, verdict

SETTINGS = Components()


def moment(gradients: Sequence[float | None], epoch: int = 3, loss: float | None = 1.0, **others: Any) -> Moment:
    """Layers of weight 1 with these gradients; other keywords give each layer's value."""
    layers = tuple(
        Layer(str(number), gradient, 1.0, **{name: values[number] for name, values in others.items()})
        for number, gradient in enumerate(gradients)
    )
    return Moment(epoch, loss, layers)


def said(*moments: Moment, diverged: bool = False, built_in: bool = True, **settings: Any) -> str:
    given = Components.model_validate(settings)
    return verdict(moments, given, is_built_in=built_in, has_diverged=diverged)


WELL = moment([0.5, 0.6, 0.7], update=[1e-3] * 3, dead=[0.1, 0.2, None], activation=[1.0, 1.1, 0.9])
START = Moment(0, 2.5, WELL.layers, chance=2.3)


def test_nothing_is_said_of_a_network_that_learns() -> None:
    assert said() == ""
    assert said(START, WELL) == ""


@pytest.mark.parametrize(
    ("last", "settings", "expected"),
    [
        (
            moment([1e-6, 1e-5, 1e-4, 1e-4, 0.1, 1.0]),
            {"network": {"activation": "sigmoid", "depth": 8}, "initializer": {"scheme": "small_normal"}},
            "vanishing gradients in layers 1 to 4: sigmoid at depth 8, small_normal; "
            "try relu, he_normal, network.norm: batch or a residual network",
        ),
        (
            moment([1e-6, 1.0]),
            {"network": {"kind": "resnet", "norm": "batch"}, "initializer": {"scheme": "he_normal"}},
            "vanishing gradients in layer 1: relu at depth 2, he_normal",
        ),
        (
            moment([1e4, 1e3, 1.0]),
            {"network": {"norm": "batch"}, "initializer": {"scheme": "orthogonal"}},
            "exploding gradients: those of layer 1 are over 1,000 times those of layer 3: relu at depth 2, orthogonal; "
            "try he_normal or a clip",
        ),
        (
            moment([1.0, 1.0, 1.0], activation=[1.0, 1e-2, 1e-4]),
            {"network": {"activation": "tanh", "norm": "layer"}},
            "a vanishing signal: layer 3 give less than a thousandth of the first one's: tanh at depth 2, he_normal; "
            "try relu or a residual network",
        ),
        (
            moment([1.0, 1.0, 1.0], dead=[0.1, 0.9, None]),
            {},
            "up to 90% dead units in layer 2; try a smaller learning rate or leaky_relu",
        ),
        (
            moment([1.0, 1.0, 1.0], saturated=[0.95, 0.9, None]),
            {"network": {"activation": "tanh"}},
            "up to 95% saturated outputs in layers 1 to 2; try a smaller learning rate, relu or a norm",
        ),
        (
            moment([1.0, 1.0], loss=2.31),
            {},
            "nothing learned by epoch 3: a loss of 2.31, and 2.3 at chance",
        ),
    ],
)
def test_what_ails_a_network_is_said(last: Moment, settings: dict[str, Any], expected: str) -> None:
    start = Moment(0, 2.3, START.layers, chance=2.3)
    assert said(start, last, **settings) == expected


def test_of_a_users_own_network_no_setting_is_blamed() -> None:
    assert said(START, moment([1e-6, 1e-2, 1.0]), built_in=False) == "vanishing gradients in layer 1"


def test_without_classes_the_first_loss_is_what_is_known_beforehand() -> None:
    first = moment([1.0], epoch=0, loss=0.8)
    assert said(first, moment([1.0], loss=0.79)) == (
        "the loss has hardly fallen by epoch 3: 0.79, and 0.8 at the beginning"
    )
    assert said(first, moment([1.0], loss=0.7)) == ""


def test_the_first_loss_says_nothing_where_inputs_get_noise_that_is_not_measured() -> None:
    first = moment([1.0], epoch=0, loss=0.1)
    assert said(first, moment([1.0], loss=0.2), augmentation={"noise": 0.1}) == ""
    assert said(first, moment([1.0], loss=0.2)).startswith("the loss has hardly fallen")


def test_a_loss_above_chance_that_falls_is_slow() -> None:
    assert said(Moment(0, 4.0, START.layers, chance=2.3), moment([1.0], loss=3.0)) == (
        "not better than chance by epoch 3, though the loss falls: a loss of 3, and 2.3 at chance; "
        "try a larger learning rate"
    )


def test_large_steps_are_blamed_where_a_trial_diverged_or_learned_nothing_and_nowhere_else() -> None:
    leap = moment([0.5, 0.6], epoch=0, loss=2.3, update=[0.1, 1.5])
    expected = (
        "too large steps: one changed the weights of layer 2 by 150% of their size; try a tenth of the learning rate, "
        "0.1"
    )
    settings = {"optimizer": {"learning_rate": 1.0}}
    assert said(leap, diverged=True, **settings) == expected
    assert said(leap, moment([0.5, 0.6], loss=2.3), **settings).endswith(expected)
    assert said(leap, moment([0.5, 0.6], loss=1.0), **settings) == ""


def test_what_is_not_finite_is_told_from_when_on() -> None:
    bad = moment([None, 1.0], epoch=3, loss=None)
    assert said(START, bad, diverged=True) == "the loss is not finite from epoch 3 on"
    assert said(START, moment([None, 1.0], epoch=3)).startswith("gradients are not finite from epoch 3 on")


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        (WELL, ""),
        (moment([1e-9, 1.0]), ""),
        (moment([1.0], loss=None), "the loss of the first batch is not finite"),
        (moment([None, 1.0]), "gradients of the first batch are not finite"),
        (moment([0.0, 0.0]), "all gradients of the first batch are zero"),
        (moment([0.0, 0.0, 0.0], dead=[0.0, 1.0, None]), "all units of layer 2 are zero for the whole first batch"),
        (moment([1e-14, 1.0]), "gradients of the first batch vanish: layer 1 has 1e-14 of the largest layer's"),
    ],
)
def test_what_one_batch_shows_to_be_hopeless(first: Moment, expected: str) -> None:
    assert hopeless(first) == expected


def test_the_summary_has_the_extremes() -> None:
    one = moment([0.5, 2.0, None], update=[0.1, 0.3, None], dead=[0.2, 0.4, None])
    assert one.summary() == {
        "diagnosis/gradient_ratio": 0.25,
        "diagnosis/update_ratio": 0.3,
        "diagnosis/dead": 0.4,
    }

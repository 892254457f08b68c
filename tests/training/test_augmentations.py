from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor
from torch.nn import functional
from training_bench import DOUBLE, Bench, make_spec

from podium.data.manifest import Schema
from podium.data.reader import Batch
from podium.errors import SpecError
from podium.spec.components import AugmentationSettings
from podium.sweep.messages import Advance, Lane
from podium.training import draws
from podium.training.plain import weighted_sum
from podium.training.preflight import measure
from podium.training.samples import Samples, to_device
from podium.training.tasks import Classification
from podium.training.toolbox.augmentations import Augmentation, erased, mirrored, shifted, turned

SHAPE = (2, 5, 7)
ALL = {"flip": "both", "rotation": 20.0, "shift": 2, "erasing": 0.2, "noise": 0.1}


def schema(inputs: tuple[int, ...] = SHAPE, targets: tuple[int, ...] = ()) -> Schema:
    return Schema(inputs, "float32", targets, "int64", 3, (0.0,), (1.0,), True)


def augmentation(seed: int = 0, **changes: Any) -> Augmentation:
    return Augmentation(AugmentationSettings(**changes), seed, schema())


def a_batch(count: int) -> Samples:
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(count, *SHAPE)).astype(np.float32), random.integers(0, 3, count)
    return to_device(Batch(inputs, targets, np.arange(100, 100 + count)), torch.device("cpu"))


def at(samples: Samples, rows: list[int]) -> Samples:
    return Samples(samples.inputs[rows], samples.targets[rows], samples.positions[rows])


def test_images_are_mirrored() -> None:
    images = torch.arange(12.0).view(2, 1, 2, 3)
    which = torch.tensor([False, True])
    assert mirrored(images, which, -1).tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[8, 7, 6], [11, 10, 9]]]]
    assert mirrored(images, which, -2).tolist() == [[[[0, 1, 2], [3, 4, 5]]], [[[9, 10, 11], [6, 7, 8]]]]


def test_images_are_shifted_and_what_comes_in_is_zero() -> None:
    images = torch.arange(1.0, 13.0).view(2, 1, 2, 3)
    moved = shifted(images, torch.tensor([1, 0]), torch.tensor([-1, 2]))
    assert moved.tolist() == [[[[0, 0, 0], [2, 3, 0]]], [[[0, 0, 7], [0, 0, 10]]]]


def test_images_are_turned_around_their_centre() -> None:
    images = torch.rand(3, 2, 4, 4)
    quarter, half, none = turned(images, torch.tensor([90.0, 180.0, 0.0]))
    torch.testing.assert_close(quarter, images[0].rot90(-1, (-2, -1)))
    torch.testing.assert_close(half, images[1].flip((-2, -1)))
    torch.testing.assert_close(none, images[2])


def test_images_that_are_no_squares_keep_their_proportions_when_turned() -> None:
    images = torch.tensor([[[[0.0, 0, 0, 0, 0], [1, 2, 3, 4, 5], [0, 0, 0, 0, 0]]]])
    (turned_once,) = turned(images, torch.tensor([90.0]))
    torch.testing.assert_close(turned_once[0], torch.tensor([[0.0, 0, 2, 0, 0], [0, 0, 3, 0, 0], [0, 0, 4, 0, 0]]))


def test_masks_stay_whole_numbers() -> None:
    masks = torch.randint(0, 5, (8, 1, 9, 9)).to(torch.uint8)
    found = turned(masks, torch.linspace(-40, 40, 8))
    assert found.dtype == torch.uint8
    assert set(found.unique().tolist()) <= set(range(5))


def test_a_rectangle_is_erased() -> None:
    images = torch.ones(1, 2, 3, 4)
    found = erased(images, torch.tensor([1]), torch.tensor([2]), 2, 1)
    assert found[0, 0].tolist() == [[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 0, 1]]
    assert (found[0, 0] == found[0, 1]).all()


def test_what_happens_to_a_sample_is_a_hash_of_its_position() -> None:
    samples = a_batch(64)
    found = augmentation(7, flip="horizontal")(samples, 3).inputs
    for row, position in enumerate(samples.positions):
        is_mirrored = int(draws.bits(draws.fold(7, "augmentation", "flip", 3), position[None])) < 0
        assert torch.equal(found[row], samples.inputs[row].flip(-1) if is_mirrored else samples.inputs[row])


@settings(deadline=None)
@given(
    rows=st.lists(st.integers(0, 15), min_size=1, max_size=20),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 100),
)
def test_a_sample_is_changed_alike_whatever_batch_it_comes_in(rows: list[int], seed: int, epoch: int) -> None:
    samples, augment = a_batch(16), augmentation(seed, **ALL)
    assert torch.equal(augment(at(samples, rows), epoch).inputs, augment(samples, epoch).inputs[rows])


@pytest.mark.parametrize("name", ALL)
def test_epochs_and_seeds_differ_and_what_is_not_asked_for_stays(name: str) -> None:
    samples, change = a_batch(16), {name: ALL[name]}
    found = augmentation(**change)(samples, 0)
    assert torch.equal(found.inputs, augmentation(**change)(samples, 0).inputs)
    others = samples, augmentation(**change)(samples, 1), augmentation(1, **change)(samples, 0)
    assert not any(torch.equal(found.inputs, other.inputs) for other in others)
    assert torch.equal(found.targets, samples.targets)
    assert torch.equal(found.positions, samples.positions)
    assert found.inputs.stride() == samples.inputs.stride()
    assert augmentation()(samples, 0) is samples


def test_amounts_are_what_the_settings_say() -> None:
    ones = torch.ones(4000, 1, 10, 10)
    samples = Samples(ones, torch.zeros(4000), torch.arange(4000))

    def changed(**changes: Any) -> Tensor:
        return Augmentation(AugmentationSettings(**changes), 0, schema((1, 10, 10)))(samples, 0).inputs[:, 0]

    erasing = 1 - changed(erasing=0.25)
    assert (erasing.sum((1, 2)) == 25).all()
    assert (erasing.sum(0) > 0).all()
    noise = changed(noise=0.5) - 1
    assert float(noise.std()) == pytest.approx(0.5, abs=0.005)
    assert float(noise.mean()) == pytest.approx(0, abs=0.005)
    rows = changed(shift=2).amax(2).sum(1)
    counts = torch.bincount(rows.long(), minlength=11)[8:]
    assert torch.allclose(counts / 4000, torch.tensor([2 / 5, 2 / 5, 1 / 5]), atol=0.03)


def test_masks_move_with_their_images() -> None:
    images = (torch.rand(32, 1, 6, 6) > 0.5).float()
    samples = Samples(images, images[:, 0].to(torch.uint8), torch.arange(32))
    settings = AugmentationSettings(flip="both", shift=2)
    found = Augmentation(settings, 0, schema((1, 6, 6), (6, 6)))(samples, 0)
    assert found.targets.dtype == torch.uint8
    assert torch.equal(found.inputs[:, 0], found.targets.float())
    assert not torch.equal(found.targets, samples.targets)


def test_what_fills_series_up_stays_zero_however_long_the_batch_is() -> None:
    settings, lengths = AugmentationSettings(noise=1.0), torch.tensor([2, 5])
    long, longer = (
        Augmentation(settings, 0, schema((9, 3)))(
            Samples(torch.zeros(2, longest, 3), torch.zeros(2), torch.arange(2), lengths), 0
        ).inputs
        for longest in (5, 8)
    )
    assert not long[0, 2:].any()
    assert not longer[1, 5:].any()
    assert long[0, :2].all()
    assert torch.equal(long, longer[:, :5])


def test_what_the_samples_do_not_allow_is_refused() -> None:
    with pytest.raises(SpecError, match=r"augmentation\.flip: is both, which needs images.*\(5,\)") as refusal:
        Augmentation(AugmentationSettings(flip="both"), 0, schema((5,)))
    assert "\n" not in str(refusal.value)
    Augmentation(AugmentationSettings(noise=0.1), 0, schema((5,)))


def test_the_preflight_refuses_it_before_anything_starts(line: Path) -> None:
    objective = {"metric": "validation/rmse", "direction": "minimize"}
    spec = make_spec(task="regression", augmentation={"rotation": 5.0}, search={"objective": objective})
    with pytest.raises(SpecError, match=r"augmentation\.rotation: is 5\.0, which needs images"):
        measure(spec, code=None, data=line, parameters={})


def test_train_batches_are_augmented_and_validation_batches_are_not(bench: Callable[..., Bench], blobs: Path) -> None:
    still = {"optimizer": {"learning_rate": 1e-30}}
    plain, changed = (
        bench(make_spec(**still, **more), data=blobs).advance(until=1).metrics
        for more in ({}, {"augmentation": {"noise": 3.0}})
    )
    assert plain["validation/loss"] == pytest.approx(changed["validation/loss"], abs=1e-6)
    assert plain["train/loss"] != pytest.approx(changed["train/loss"], rel=1e-3)


def test_targets_that_cannot_move_along_are_refused() -> None:
    for targets in ((3, 3), (6, 6, 1)):
        with pytest.raises(SpecError, match=r"augmentation\.flip: is both, which moves images.*cannot be moved along"):
            Augmentation(AugmentationSettings(flip="both"), 0, schema((1, 6, 6), targets))
    Augmentation(AugmentationSettings(erasing=0.2), 0, schema((1, 6, 6), (3, 3)))
    Augmentation(AugmentationSettings(flip="both"), 0, schema((1, 6, 6), (4,)))


def test_what_fills_series_up_stays_zero() -> None:
    inputs, lengths = torch.ones(3, 5, 2), torch.tensor([2, 5, 3])
    samples = Samples(inputs, torch.zeros(3), torch.arange(3), lengths)
    noisy = Augmentation(AugmentationSettings(noise=0.5), 0, schema((5, 2)))(samples, 0).inputs - inputs
    for length, noise in zip(lengths.tolist(), noisy, strict=True):
        assert (noise[:length] != 0).all()
        assert not noise[length:].any()


def test_a_shift_beyond_the_image_empties_it() -> None:
    assert not shifted(torch.ones(1, 1, 3, 4), torch.tensor([3]), torch.tensor([0])).any()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_those_of_the_beta_distribution(alpha: float) -> None:
    share = draws.beta_at(draws.fold(1, "mixup"), torch.arange(20_000), alpha)
    assert stats.kstest(share.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3
    part = draws.beta_at(draws.fold(1, "mixup"), torch.arange(100, 200), alpha)
    assert torch.allclose(share[100:200], part, rtol=1e-12, atol=0)


def test_samples_losses_and_partners_are_mixed_by_one_share() -> None:
    inputs, targets = torch.rand(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    turned_on = torch.tensor([2, 3, 4, 5, 0, 1])
    partner = Samples(inputs[turned_on], targets[turned_on], turned_on)
    samples = Samples(inputs, targets, torch.arange(6), partner=partner)
    mixed = Augmentation(AugmentationSettings(mixup=0.7), 0, schema((4,)))(samples, 3)
    share = mixed.share
    assert share is not None
    assert float(share.std()) > 0.1
    assert torch.allclose(mixed.inputs, share[:, None] * inputs + (1 - share)[:, None] * inputs[turned_on])
    outputs = torch.rand(6, 3)
    total, weight = weighted_sum(Classification(), outputs, mixed.batch({"loss.label_smoothing": 0.0}))
    each = [functional.cross_entropy(outputs, wanted, reduction="none") for wanted in (targets, targets[turned_on])]
    assert float(total) == pytest.approx(float((share * each[0] + (1 - share) * each[1]).sum()), rel=1e-6)
    assert float(weight) == pytest.approx(6, rel=1e-6)
    parts = mixed.parts(4)
    assert [len(part.positions) for part in parts] == [4, 2]
    sums = [
        weighted_sum(Classification(), outputs[n : n + 4], part.batch({"loss.label_smoothing": 0.0}))[0]
        for n, part in zip((0, 4), parts, strict=True)
    ]
    assert float(sum(sums)) == pytest.approx(float(total), rel=1e-6)


@pytest.mark.parametrize("settings", [{"fuse": 2}, {"fuse": "off", "compute": {"microbatch": 5}}])
def test_mixing_does_not_depend_on_stacks_and_microbatches(settings: Any, blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "task.py").write_text(DOUBLE)
    lanes = tuple(Lane(trial=n, parameters={"optimizer.learning_rate": 0.01 * (n + 1)}, seed=n) for n in range(2))
    curves = []
    for number, own in enumerate(({"fuse": "off"}, settings)):
        spec = make_spec(
            task="task.py:Double",
            network={"width": 6, "norm": "layer"},
            augmentation={"mixup": 0.4},
            tracking={"diagnosis": False},  # it is of what goes through the network at once
            **own,
        )
        bench = Bench(spec, tmp_path / str(number), data=blobs, code=tmp_path / "code", holder=1)
        bench.trainer.advance(Advance(key="key", gang="gang", until=3, lanes=lanes))
        curves.append([bench.curve(lane.trial) for lane in lanes])
    for one, other in zip(*curves, strict=True):
        for epoch, metrics in one.items():
            assert other[epoch] == pytest.approx(metrics, abs=1e-9)


def test_what_cannot_be_mixed_is_refused() -> None:
    series = replace(schema((5, 2)), series=True)
    with pytest.raises(SpecError, match=r"augmentation\.mixup: is 0\.4, and series of different lengths"):
        Augmentation(AugmentationSettings(mixup=0.4), 0, series)

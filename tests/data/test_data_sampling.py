from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.data.reader import Reader
from podium.data.sampling import Classes, Weighted
from podium.errors import DataError
from podium.spec.data import WeightedSampling

WEIGHTS = st.lists(st.sampled_from([0.0, 0.1, 1.0, 1e6]), min_size=1, max_size=5).filter(any)


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_classes_know_their_samples(labels: list[int]) -> None:
    classes = Classes(np.array(labels))
    for number, (first, count) in enumerate(zip(classes.firsts, classes.counts, strict=True)):
        assert classes.rows[first : first + count].tolist() == [row for row, at in enumerate(labels) if at == number]


@given(weights=WEIGHTS, seed=st.integers(0, 2**70), epoch=st.integers(0, 100), data=st.data())
def test_a_draw_depends_on_its_position_alone_and_is_of_a_class_with_weight(
    weights: list[float], seed: int, epoch: int, data: st.DataObject
) -> None:
    labels = np.array([*range(len(weights)), 0, 0, 0])
    first = data.draw(st.integers(0, 90))
    last = data.draw(st.integers(first, 100))
    whole = Weighted(Classes(labels), weights, seed, epoch).rows(0, 100)
    assert (Weighted(Classes(labels), weights, seed, epoch).rows(first, last) == whole[first:last]).all()
    assert all(weights[label] for label in labels[whole])


def test_draws_never_change_between_versions() -> None:
    classes = Classes(np.array([0, 0, 0, 1, 1, 2]))
    assert Weighted(classes, (1, 1, 1), 0, 0).rows(0, 8).tolist() == [0, 0, 5, 2, 5, 0, 3, 5]
    assert Weighted(classes, (1, 0, 5), 7, 3).rows(0, 8).tolist() == [5, 5, 5, 5, 5, 5, 5, 5]


def test_classes_come_as_often_as_their_weights_say_and_their_samples_evenly() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    rows = Weighted(Classes(labels), (1.0, 2.0, 1.0), 0, 0).rows(0, 40_000)
    assert np.bincount(labels[rows]) / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.01)
    of_one = np.bincount(rows, minlength=100)[90:99]
    expected = of_one.sum() / 9
    assert ((of_one - expected) ** 2 / expected).sum() < 26.1  # p = 0.001 at 8 degrees of freedom


def test_a_balanced_epoch_draws_from_the_train_split_alone(make_shards: Callable[..., Path]) -> None:
    x = np.random.default_rng(0).normal(size=(400, 2))
    folder = make_shards(x, (np.arange(400) % 10 == 0).astype(int))
    reader, every = Reader(folder, sampling="balanced"), Reader(folder)
    drawn = np.concatenate(
        [batch.targets for epoch in range(9) for batch in reader.epoch("train", batch_size=32, seed=0, epoch=epoch)]
    )
    assert len(drawn) == 9 * reader.size("train")
    assert drawn.mean() == pytest.approx(0.5, abs=0.05)
    both = [each.epoch("validation", batch_size=1000, seed=0, epoch=0) for each in (reader, every)]
    (one,), (other,) = both
    assert (one.inputs == other.inputs).all()


def test_classes_that_are_left_out_are_not_drawn(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(np.random.default_rng(0).normal(size=(90, 2)), np.arange(90) % 3)
    reader = Reader(folder, sampling=WeightedSampling(weights=[1, 0, 3]))
    (batch,) = reader.epoch("train", batch_size=1000, seed=0, epoch=0)
    assert set(batch.targets.tolist()) == {0, 2}


def test_only_classes_have_weights(make_shards: Callable[..., Path]) -> None:
    numbers = make_shards(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0))
    with pytest.raises(DataError, match=r"data\.sampling draws samples by class, and the targets are numbers"):
        Reader(numbers, sampling="balanced")
    classes = make_shards(np.random.default_rng(0).normal(size=(90, 2)), np.arange(90) % 3)
    with pytest.raises(DataError, match=r"data\.sampling\.weights has 2 weights, and there are 3 classes"):
        Reader(classes, sampling=WeightedSampling(weights=[1, 2]))
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 4, 4), dtype=np.uint8)
    masks = make_shards(images, images[:, 0] // 128)
    with pytest.raises(DataError, match="the targets are masks"):
        Reader(masks, sampling="balanced")


@pytest.mark.parametrize("weights", [[1], [0, 0], [1, -1], [1, float("nan")], ["a", 1]])
def test_weights_that_make_no_sense_are_refused(weights: list[object]) -> None:
    with pytest.raises(ValueError, match="weights"):
        WeightedSampling(weights=weights)

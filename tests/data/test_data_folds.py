"""Folds: every record that does not test validates once, and trains in all other folds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.data.manifest import load_manifest
from podium.data.reader import Reader
from podium.data.splits import content_digests, divide
from podium.errors import DataError
from podium.spec.data import SplitSettings

FOLDS = 4


def images(count: int = 160) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return generator.integers(0, 256, (count, 3, 5, 5), dtype=np.uint8), np.arange(count) % 4


def content(reader: Reader, split: str) -> set[bytes]:
    return {image.tobytes() for inputs, _ in reader.stored(split) for image in inputs}


@pytest.mark.parametrize("by", ["content", "stratified"])
def test_every_record_validates_once_and_trains_otherwise(by: str, make_shards: Callable[..., Path]) -> None:
    x, y = images()
    folder = make_shards(x, y, split={"folds": FOLDS, "by": by})
    whole = Reader(folder, purpose="promotion")
    assert whole.num_folds == FOLDS
    test, validations = content(whole, "test"), []
    for fold in range(FOLDS):
        reader = whole.fold(fold)
        train, validation = content(reader, "train"), content(reader, "validation")
        assert not train & validation
        assert train | validation | test == {image.tobytes() for image in x}
        assert (reader.size("train"), reader.size("validation")) == (len(train), len(validation))
        values = np.stack([np.frombuffer(each, np.uint8).reshape(3, 5, 5) for each in train]).astype(np.float64)
        assert reader.schema.mean == pytest.approx(values.mean(axis=(0, 2, 3)), rel=1e-12)
        assert reader.schema.std == pytest.approx(values.std(axis=(0, 2, 3)), rel=1e-12)
        validations.append(validation)
    assert sum(map(len, validations)) == len(set.union(*validations)) == len(x) - len(test)
    assert list(load_manifest(folder).rows) == ["fold-0", "fold-1", "fold-2", "fold-3", "test"]


@given(count=st.integers(50, 300), folds=st.integers(2, 6), test=st.sampled_from([0.0, 0.2]))
def test_groups_stay_in_one_fold(count: int, folds: int, test: float) -> None:
    settings = SplitSettings(folds=folds, by="group", column="who", train=0.8 - test, validation=0.2, test=test)
    groups = np.random.default_rng(count).integers(0, 40, count)
    numbers = divide(settings, content_digests(np.arange(count)), None, groups)
    assert numbers.max() <= folds
    assert all(len(set(numbers[groups == group])) == 1 for group in np.unique(groups))
    assert (numbers == folds).any() <= (test > 0)


def test_a_class_that_one_fold_alone_has_is_refused(make_shards: Callable[..., Path]) -> None:
    x, y = images(80)
    y[:] = np.arange(80) % 2
    y[0] = 2
    with pytest.raises(DataError, match="class 2 is missing from the train split"):
        make_shards(x, y, split={"folds": 3})


@pytest.mark.parametrize("split", [{"by": "time", "column": "hour"}, {"by": "given"}])
def test_what_makes_no_folds_is_refused(split: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="which makes no folds"):
        SplitSettings(folds=3, **split)

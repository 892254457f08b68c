"""Groups in shards: which patient a piece of a record is of, so that items can be sliced and left out by group."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data import build
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.errors import Refused
from podium.spec.data import DataSettings

SPLITS = ("train", "validation", "test")
BY_GROUP = {"by": "group", "column": "who", "train": 0.4, "validation": 0.3, "test": 0.3}
IMAGES = """
import numpy as np
def records():
    for n in range(120):
        image = np.full((1, 4, 6), n, np.uint8)
        yield {"input": image, "target": n % 2, "who": f"ärztin {n // 5}"}
"""
SERIES = """
import numpy as np
def records():
    for n in range(120):
        yield {"input": np.full((1 + n % 4, 2), n, np.float32), "target": n % 2, "who": 7 * (n // 5)}
"""
Read = Callable[..., Reader]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def prepared(code: str, **settings: Any) -> Reader:
        (tmp_path / "task.py").write_text(code)
        data = DataSettings.model_validate({"source": "task.py:records", "normalize": False, **settings})
        folder = prepare(data, base=tmp_path, store=str(tmp_path), cache=tmp_path)
        return Reader(folder, purpose="promotion")

    return prepared


def record_numbers(reader: Reader, split: str) -> list[int]:
    """Each sample's record, which its first number tells."""
    return [int(np.ravel(sample)[0]) for inputs, _ in reader.stored(split) for sample in inputs]


@pytest.mark.parametrize("shard_bytes", [100, 2**20])
def test_pieces_have_the_group_of_their_record(read: Read, monkeypatch: pytest.MonkeyPatch, shard_bytes: int) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", shard_bytes)
    reader = read(IMAGES, split=BY_GROUP, steps=[{"kind": "crop", "height": 4, "width": 4, "overlap": 1}])
    assert (len(reader.manifest.shards) > 3) == (shard_bytes == 100)
    found = {}
    for split in SPLITS:
        numbers, groups = record_numbers(reader, split), reader.groups(split)
        assert groups is not None
        assert groups.tolist() == [f"ärztin {number // 5}" for number in numbers]
        assert len(numbers) == 2 * len(set(numbers)) == reader.size(split)
        found[split] = set(groups.tolist())
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 24


def test_series_and_folds_have_groups(read: Read) -> None:
    split = {"by": "group", "column": "who", "folds": 3, "train": 0.6, "validation": 0.2, "test": 0.2}
    reader = read(SERIES, split=split, series=True)
    for name in SPLITS:
        groups = reader.groups(name)
        assert groups is not None
        assert groups.tolist() == [str(7 * (number // 5)) for number in record_numbers(reader, name)]


def test_other_splits_keep_no_groups(read: Read) -> None:
    assert read(IMAGES).groups("test") is None


def test_the_groups_of_the_test_split_are_for_promotion_alone(read: Read) -> None:
    folder = read(IMAGES, split=BY_GROUP)._folder
    assert Reader(folder).groups("validation") is not None
    with pytest.raises(Refused, match="read by promotion alone"):
        Reader(folder).groups("test")

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from podium.data.compare import common, count_common, differences, is_equal
from podium.data.manifest import load_manifest

POINTS = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
CLASSES = np.arange(120) % 3
FEW = st.lists(st.integers(0, 5), max_size=20)


@given(FEW, FEW)
def test_what_lists_have_in_common_counts_as_often_as_both_have_it(one: list[int], other: list[int]) -> None:
    found = count_common(np.array(one, np.uint64), np.array(other, np.uint64))
    assert found == sum((Counter(one) & Counter(other)).values())


def test_a_data_set_has_everything_in_common_with_itself(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(POINTS, CLASSES)
    manifest = load_manifest(folder)
    assert differences(manifest, manifest) == {}
    rows = manifest.rows
    assert common(folder, folder) == {
        "train": {"train": rows["train"], "validation": 0},
        "validation": {"train": 0, "validation": rows["validation"]},
    }
    assert is_equal(manifest, manifest, "test")


def test_samples_that_changed_their_split_are_told(make_shards: Callable[..., Path]) -> None:
    one = make_shards(POINTS[:90], CLASSES[:90])
    other = make_shards(POINTS[30:], CLASSES[30:], split={"train": 0.3, "validation": 0.6, "test": 0.1})
    before, after = load_manifest(one), load_manifest(other)
    found = differences(before, after)
    assert found["split.train"] == (0.7, 0.3)
    assert found["rows.train"] == (before.rows["train"], after.rows["train"])
    assert {"fingerprint", "schema.mean", "classes.train"} <= set(found)
    assert not {"digest", "schema.inputs", "records", "split.by"} & set(found)
    moved = common(one, other)
    assert moved["train"]["validation"] > 20
    assert moved["validation"]["train"] == 0
    assert sum(map(sum, (counts.values() for counts in moved.values()))) <= 60


def test_the_test_split_is_compared_by_its_checksums_alone(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(POINTS, CLASSES)
    other = make_shards(POINTS * 2, CLASSES)
    manifest = load_manifest(folder)
    (shard,) = (each for each in manifest.shards if each.split == "test")
    (folder / shard.name).write_bytes(bytes(shard.bytes))
    assert common(folder, other)["train"] == {"train": 0, "validation": 0}
    assert not is_equal(manifest, load_manifest(other), "test")

"""Test samples that another model has seen, by content and by group."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data.manifest import load_manifest
from podium.data.overlap import overlap
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.errors import Refused
from podium.spec.data import DataSettings

POINTS = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32)
CLASSES = np.arange(150) % 3
GROUPED = {"split": {"by": "group", "column": "who", "train": 0.4, "validation": 0.3, "test": 0.3}}
Make = Callable[..., Path]


@pytest.fixture
def make_table(tmp_path: Path) -> Make:
    """Prepares rows with a group of three each, and gives the folder of their shards."""

    def make(points: Any, first: int = 0, column: str = "who", **settings: Any) -> Path:
        rows = [f"{a},{b},{number % 2},p{(first + number) // 3}" for number, (a, b) in enumerate(points)]
        (tmp_path / "rows.csv").write_text("\n".join([f"a,b,label,{column}", *rows]))
        source = {"kind": "csv", "path": "rows.csv", "targets": "label", "inputs": ["a", "b"]}
        data = DataSettings.model_validate({"source": source, **settings})
        return prepare(data, base=tmp_path, store=str(tmp_path), cache=tmp_path)

    return make


def test_samples_are_left_out_whose_content_was_trained_on(make_shards: Make) -> None:
    folder = make_shards(POINTS[:100], CLASSES[:100], split={"train": 0.3, "validation": 0.1, "test": 0.6})
    other = make_shards(POINTS[50:], CLASSES[50:])
    found = overlap(Reader(folder, "promotion"), other)
    seen = {
        sample.tobytes() for split in ("train", "validation") for x, _ in Reader(other).stored(split) for sample in x
    }
    own = [sample.tobytes() for x, _ in Reader(folder, "promotion").stored("test") for sample in x]
    assert found.is_seen.tolist() == [content in seen for content in own]
    assert 0 < found.is_seen.sum() < len(own)
    assert (found.known, found.why) == (True, "")


def test_nothing_is_read_where_the_data_are_the_same(make_shards: Make) -> None:
    folder = make_shards(POINTS, CLASSES)
    found = overlap(Reader(folder), folder)  # which may not read the test split
    assert (found.is_seen.any(), len(found.is_seen), found.known) == (False, Reader(folder).size("test"), True)


def test_the_test_split_is_for_promotion_alone(make_shards: Make) -> None:
    with pytest.raises(Refused):
        overlap(Reader(make_shards(POINTS, CLASSES)), make_shards(POINTS[1:], CLASSES[1:]))


def test_samples_are_left_out_whose_group_was_trained_on(make_table: Make) -> None:
    few = {"split": GROUPED["split"] | {"train": 0.6, "test": 0.1}}
    folder, other = make_table(POINTS[:90, :2], **GROUPED), make_table(POINTS[90:, :2], first=45, **few)
    reader = Reader(folder, "promotion")
    trained_on = {who for split in ("train", "validation") for who in Reader(other).groups(split).tolist()}
    found = overlap(reader, other)
    assert found.is_seen.tolist() == [who in trained_on for who in reader.groups("test").tolist()]
    assert 0 < found.is_seen.sum() < len(found.is_seen)
    assert found.known


def test_what_cannot_be_compared_is_said(make_shards: Make, make_table: Make) -> None:
    reader = Reader(make_shards(POINTS[:100], CLASSES[:100]), "promotion")
    narrow = overlap(reader, make_shards(POINTS[:100, :2], CLASSES[:100]))
    assert (narrow.known, narrow.is_seen.any()) == (False, False)
    assert (
        narrow.why == "its inputs are float32 of the shape (2,), and those of the test split float32 of the shape (4,)"
    )

    grouped = make_table(POINTS[:90, :2], **GROUPED)
    other = make_table(POINTS[:90, :2])
    found = overlap(Reader(grouped, "promotion"), other)
    assert found.is_seen.any()
    assert (found.known, found.why) == (False, "which who its samples are of is not kept with both data")
    assert overlap(Reader(other, "promotion"), grouped).known


def test_other_steps_leave_a_doubt(make_shards: Make) -> None:
    images = np.random.default_rng(1).integers(0, 256, (90, 1, 4, 4), dtype=np.uint8)
    classes = np.arange(90) % 2
    whole = make_shards(images, classes)
    resized = make_shards(images, classes, steps=[{"kind": "resize", "height": 4, "width": 4}])
    found = overlap(Reader(whole, "promotion"), resized)
    assert (found.known, found.why) == (False, "its inputs went through other steps")
    filtered = make_shards(images, classes, steps=[{"kind": "filter", "column": "targets", "keep": [0, 1]}])
    assert overlap(Reader(whole, "promotion"), filtered).known


def test_a_test_set_is_its_bytes(make_shards: Make) -> None:
    def name(*given: Any, **settings: Any) -> str:
        return load_manifest(make_shards(*given, **settings)).test_set

    own = name(POINTS, CLASSES)
    assert own == name(POINTS, CLASSES, normalize=False)
    assert own != name(POINTS, CLASSES, split={"train": 0.5, "validation": 0.35, "test": 0.15, "by": "stratified"})
    assert own != name(POINTS[:-1], CLASSES[:-1], split={"train": 0.2, "validation": 0.2, "test": 0.6})

"""Series of different lengths: kept as they are, handed out filled up, and trained on by a task that knows of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.data import build
from podium.data.manifest import load_manifest, verify
from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.data.series import Series, joined
from podium.data.sheet import write
from podium.errors import DataError
from podium.spec.data import DataSettings

SOURCE: dict[str, Any] = {"kind": "parquet", "path": "series.parquet", "inputs": ["steps"], "targets": "label"}


def make_series(count: int, features: int = 3, seed: int = 0) -> list[np.ndarray]:
    source = np.random.default_rng(seed)
    return [source.normal(size=(source.integers(1, 12), features)).astype(np.float32) + 5 for _ in range(count)]


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Path]:
    def make(given: list[np.ndarray], labels: list[int], **settings_of_data: Any) -> Path:
        table = pa.table({"steps": [each.tolist() for each in given], "label": labels})
        pq.write_table(table, tmp_path / "series.parquet", row_group_size=40)
        settings = DataSettings.model_validate({"source": SOURCE, "series": True, **settings_of_data})
        return prepare(settings, base=tmp_path, store=str(tmp_path), cache=tmp_path / "cache")

    return make


def found(reader: Reader, split: str, batch_size: int = 7) -> list[tuple[bytes, int]]:
    """The series that a split hands out, without what they were filled up with."""
    pairs = []
    for batch in reader.sequential(split, batch_size):
        assert batch.lengths is not None
        assert batch.inputs.shape[1] == batch.lengths.max()
        for inputs, length, target in zip(batch.inputs, batch.lengths, batch.targets, strict=True):
            assert not inputs[length:].any()
            pairs.append((inputs[:length].tobytes(), int(target)))
    return pairs


def test_series_come_out_as_they_went_in(
    prepared: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", 4000)
    series = make_series(120)
    folder = prepared(series, [number % 3 for number in range(120)], normalize=False)
    manifest = load_manifest(folder)
    assert len(manifest.shards) > 3
    assert verify(folder) == []
    assert (manifest.schema.series, manifest.schema.inputs) == (True, (max(map(len, series)), 3))
    reader = Reader(folder, purpose="promotion")
    pairs = [pair for split in ("train", "validation", "test") for pair in found(reader, split)]
    assert sorted(pairs) == sorted((each.tobytes(), number % 3) for number, each in enumerate(series))
    write(folder, tmp_path / "sheet.png")


def test_statistics_are_over_the_steps_there_are(prepared: Callable[..., Path]) -> None:
    folder = prepared(make_series(100), [number % 2 for number in range(100)])
    reader, schema = Reader(folder), load_manifest(folder).schema
    steps = np.concatenate([each for inputs, _ in reader.stored("train") for each in inputs])
    assert schema.mean == pytest.approx(steps.mean(axis=0), rel=1e-5)
    assert schema.std == pytest.approx(steps.std(axis=0), rel=1e-4)
    batches = list(reader.epoch("train", batch_size=16, seed=0, epoch=0))
    handed = np.concatenate([row[:n] for batch in batches for row, n in zip(batch.inputs, batch.lengths, strict=True)])
    assert handed.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-5)
    assert handed.std(axis=0) == pytest.approx([1, 1, 1], abs=1e-4)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=30))
def test_joined_series_are_found_again(lengths: list[int]) -> None:
    series = [
        np.random.default_rng(number).normal(size=(length, 2)).astype(np.float32)
        for number, length in enumerate(lengths)
    ]
    whole = joined(series)
    assert isinstance(whole, Series)
    assert whole.lengths.tolist() == lengths
    assert all((one == other).all() for one, other in zip(whole, series, strict=True))


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ([np.ones((3, 2)), np.ones((4, 3))] * 20, "holds lists of the lengths 2, 3"),
        ([np.ones((3, 2)), np.full((4, 2), np.nan)] * 20, "inputs hold NaN"),
    ],
)
def test_series_that_do_not_fit_are_refused(
    series: list[np.ndarray], message: str, prepared: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=message):
        prepared(series, [number % 2 for number in range(40)])


def test_series_that_are_not_said_to_be_some_are_refused_with_the_setting(prepared: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"inputs have \d+ shapes.*data\.series: true"):
        prepared(make_series(60, features=1), [number % 2 for number in range(60)], series=False)


@pytest.mark.parametrize(
    "step", [{"kind": "crop", "height": 1, "width": 1}, {"kind": "resize", "height": 1, "width": 1}]
)
def test_steps_for_images_are_refused(step: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="are for images, and the inputs are series"):
        DataSettings.model_validate({"source": SOURCE, "series": True, "steps": [step]})

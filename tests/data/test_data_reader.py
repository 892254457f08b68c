from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podium.data import build
from podium.data.order import permutation
from podium.data.reader import Batch, Reader
from podium.errors import DataError, Refused

LAW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["one shard", "many shards"])
def reader(request: pytest.FixtureRequest, make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Samples told apart by their target."""
    if request.param == "many shards":
        monkeypatch.setattr(build, "SHARD_BYTES", 200)
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(100, 4))
    reader = Reader(make_shards(x, np.arange(100.0)))
    assert (len(reader.manifest.shards) > 3) == (request.param == "many shards")
    return reader


def same(one: Iterator[Batch], other: Iterator[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(
        (a.inputs == b.inputs).all() and (a.targets == b.targets).all() and (a.positions == b.positions).all()
        for a, b in pairs
    )


@LAW
@given(batch_size=st.integers(1, 120), seed=st.integers(0, 2**32), epoch=st.integers(0, 100))
def test_an_epoch_holds_every_sample_once(reader: Reader, batch_size: int, seed: int, epoch: int) -> None:
    stored = np.concatenate([batch.targets for batch in reader.sequential("train", 13)])
    batches = list(reader.epoch("train", batch_size=batch_size, seed=seed, epoch=epoch))
    assert len(batches) == reader.steps("train", batch_size)
    assert [len(batch.inputs) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    size = reader.size("train")
    order = np.empty(size)
    for step, batch in enumerate(batches):
        assert sorted(batch.positions) == list(range(step * batch_size, min((step + 1) * batch_size, size)))
        order[batch.positions] = batch.targets
    assert (order == stored[permutation(size, seed, epoch)]).all()


@LAW
@given(batch_size=st.integers(1, 120), epoch=st.integers(0, 5), data=st.data())
def test_an_epoch_goes_on_from_its_middle(reader: Reader, batch_size: int, epoch: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, reader.steps("train", batch_size)))
    whole = list(reader.epoch("train", batch_size=batch_size, seed=3, epoch=epoch))
    rest = Reader(reader._folder).epoch("train", batch_size=batch_size, seed=3, epoch=epoch, start_step=start)
    assert same(iter(whole[start:]), rest)


def test_batches_are_normalized_float32(reader: Reader) -> None:
    inputs = np.concatenate([batch.inputs for batch in reader.sequential("train", 7)])
    assert inputs.dtype == np.float32
    assert inputs.mean(axis=0) == pytest.approx(0, abs=1e-6)
    assert inputs.std(axis=0) == pytest.approx(1, rel=1e-6)


def test_images_are_normalized_by_channel(make_shards: Callable[..., Path]) -> None:
    x = (
        np.random.default_rng(0).integers(0, 256, (90, 3, 4, 4), dtype=np.uint8)
        // np.array([1, 4, 16], np.uint8)[:, None, None]
    )
    y = np.arange(90) % 3
    raw = next(Reader(make_shards(x, y, normalize=False)).sequential("train", 90)).inputs
    reader = Reader(make_shards(x, y))
    mean, std = (np.array(values)[:, None, None] for values in (reader.schema.mean, reader.schema.std))
    batch = next(reader.sequential("train", 90))
    assert raw.dtype == batch.inputs.dtype == np.float32
    assert batch.inputs == pytest.approx((raw - mean) / std, rel=1e-5, abs=1e-6)


def test_a_batch_may_be_changed_by_who_gets_it(reader: Reader) -> None:
    first = next(reader.sequential("train", 5))
    first.inputs[:] = 0
    first.targets[:] = 0
    assert (next(reader.sequential("train", 5)).inputs != 0).all()


def test_the_test_split_is_for_promotion_alone(reader: Reader) -> None:
    with pytest.raises(Refused, match="test split is read by promotion alone"):
        reader.sequential("test", 8)
    with pytest.raises(Refused):
        reader.epoch("test", batch_size=8, seed=0, epoch=0)
    promotion = Reader(reader._folder, purpose="promotion")
    assert sum(len(batch.targets) for batch in promotion.sequential("test", 8)) == reader.size("test") > 0


def test_a_split_without_a_share_is_empty(make_shards: Callable[..., Path]) -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    reader = Reader(make_shards(x, np.arange(50.0), split={"train": 0.5, "validation": 0.5, "test": 0}))
    assert (reader.size("test"), reader.steps("test", 8)) == (0, 0)


def test_samples_are_mapped_not_copied(reader: Reader) -> None:
    next(reader.sequential("train", 5))
    (shard, *_) = reader._splits["train"].shards
    assert not any(array.flags.owndata or array.flags.writeable for array in (shard.inputs, shard.targets))


def test_an_altered_shard_is_an_error_that_names_it(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0))
    path = folder / "train-00000.arrow"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DataError, match=r"train-00000\.arrow.*podium data verify"):
        Reader(folder).sequential("train", 5)


def test_a_shard_of_another_shape_than_the_manifest_says_is_refused(make_shards: Callable[..., Path]) -> None:
    folder = make_shards(np.random.default_rng(0).normal(size=(50, 2)), np.arange(50.0))
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"target_dtype": "float32"', '"target_dtype": "int64"'))
    with pytest.raises(DataError, match=r"train-00000\.arrow is not what its manifest says"):
        Reader(folder).sequential("train", 5)


@pytest.mark.parametrize("shard_bytes", [200, 10**6])
def test_partners_are_those_of_the_whole_batch_for_any_part(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(build, "SHARD_BYTES", shard_bytes)
    x = np.arange(400, dtype=np.float32).reshape(100, 4)
    reader = Reader(make_shards(x, np.arange(100) % 2, normalize=False))
    settings = {"batch_size": 16, "seed": 3, "epoch": 1, "has_partners": True}

    def pairs(batches: Iterable[Batch]) -> dict[int, tuple[int, list[float]]]:
        found: dict[int, tuple[int, list[float]]] = {}
        for batch in batches:
            assert batch.partner is not None
            mine = zip(batch.positions, batch.partner.positions, batch.partner.inputs, strict=True)
            if not batch.stands_in:
                found |= {int(own): (int(other), inputs.tolist()) for own, other, inputs in mine}
        return found

    whole = pairs(reader.epoch("train", **settings))
    assert len(whole) == reader.size("train")
    own = {
        int(at): row.tolist()
        for batch in reader.epoch("train", batch_size=16, seed=3, epoch=1)
        for at, row in zip(batch.positions, batch.inputs, strict=True)
    }
    assert all(inputs == own[other] and other // 16 == mine // 16 for mine, (other, inputs) in whole.items())
    parts = [pairs(reader.epoch("train", part=(rank, 3), **settings)) for rank in range(3)]
    assert parts[0] | parts[1] | parts[2] == whole

"""A share of the train split: nested, the same for whoever asks, every sample of it once an epoch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.data import order
from podium.data.order import Subset
from podium.data.reader import Batch, Reader
from podium.errors import DataError


@settings(deadline=None)
@given(
    size=st.integers(1, 300),
    shares=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)).map(sorted),
    block=st.integers(1, 40),
    seed=st.integers(0, 2**40),
)
def test_a_larger_share_holds_a_smaller_one_in_whole_blocks(
    size: int, shares: list[float], block: int, seed: int
) -> None:
    small, large = (Subset(size, share, block, seed) for share in shares)
    rows, more = (each.rows(np.arange(each.size)) for each in (small, large))
    assert set(rows) <= set(more)
    assert len(more) == large.size
    assert (np.diff(more) > 0).all()
    assert more[-1] < size
    blocks = -(-size // block)
    assert len(set(more // block)) == min(blocks, max(1, int(np.ceil(shares[1] * blocks - 1e-9))))
    assert set(more // block * block) <= set(more)


def test_a_share_never_changes_between_versions() -> None:
    assert Subset(20, 0.25, 1, 0).rows(np.arange(5)).tolist() == [0, 10, 12, 13, 19]
    assert Subset(20, 0.25, 1, 1).rows(np.arange(5)).tolist() == [3, 13, 14, 16, 17]


def read(reader: Reader, epoch: int = 0, start_step: int = 0, part: tuple[int, int] = (0, 1)) -> list[Batch]:
    return list(reader.epoch("train", batch_size=7, seed=3, epoch=epoch, start_step=start_step, part=part))


def targets(batches: list[Batch]) -> list[float]:
    return sorted(np.concatenate([batch.targets for batch in batches]).tolist())


@pytest.mark.parametrize("kind", ["global", "block"])
def test_an_epoch_holds_every_sample_of_the_share_once(
    kind: str, make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "block":
        monkeypatch.setattr(order, "GLOBAL_SAMPLES", 10)
        monkeypatch.setattr(order, "BLOCK_BYTES", 64)
    folder = make_shards(np.random.default_rng(0).normal(size=(200, 2)), np.arange(200.0))
    whole = Reader(folder)
    reader = whole.subset(0.3, seed=3)
    assert reader.manifest.shuffle.kind == kind
    assert reader.size("train") == pytest.approx(0.3 * whole.size("train"), abs=max(1, reader.manifest.shuffle.block))
    assert reader.size("validation") == whole.size("validation")
    epochs = [read(reader, epoch) for epoch in range(3)]
    (stored,) = reader.sequential("train", 1000)
    assert len(set(stored.targets)) == len(stored.targets) == reader.size("train")
    for batches in epochs:
        assert len(batches) == reader.steps("train", 7)
        assert targets(batches) == sorted(stored.targets.tolist())
    assert [batch.targets.tolist() for batch in epochs[0]] != [batch.targets.tolist() for batch in epochs[1]]
    parts = [batch for rank in range(3) for batch in read(reader, 1, part=(rank, 3)) if not batch.stands_in]
    assert targets(parts) == targets(epochs[1])
    for one, other in zip(read(reader, 2, start_step=2), epochs[2][2:], strict=True):
        assert (one.targets == other.targets).all()
        assert (one.inputs == other.inputs).all()


def test_the_whole_is_read_as_it_is_without_a_share(make_shards: Callable[..., Path]) -> None:
    reader = Reader(make_shards(np.random.default_rng(0).normal(size=(60, 2)), np.arange(60.0)))
    assert reader.subset(1.0, seed=0) is reader


def test_folds_have_a_share_each(make_shards: Callable[..., Path]) -> None:
    x = np.random.default_rng(0).normal(size=(300, 2))
    folder = make_shards(x, np.arange(300.0), split={"train": 0.8, "validation": 0.2, "test": 0.0, "folds": 3})
    for fold in range(3):
        whole = Reader(folder).fold(fold)
        reader = whole.subset(0.1, seed=0)
        (validation,) = reader.sequential("validation", 1000)
        assert reader.size("train") == -(-whole.size("train") // 10)
        assert not set(targets(read(reader))) & set(validation.targets.tolist())


def test_a_weighted_share_draws_its_own_samples_and_needs_all_classes(make_shards: Callable[..., Path]) -> None:
    labels = np.where(np.arange(300) % 30 == 0, 1, 0)
    folder = make_shards(np.arange(600.0).reshape(300, 2), labels, normalize=False)
    reader = Reader(folder, sampling="balanced").subset(0.4, seed=0)
    (own,) = reader.sequential("train", 1000)
    drawn = [batch for epoch in range(9) for batch in read(reader, epoch)]
    inputs = np.concatenate([batch.inputs[:, 0] for batch in drawn])
    assert set(inputs.tolist()) <= set(own.inputs[:, 0].tolist())
    assert np.concatenate([batch.targets for batch in drawn]).mean() == pytest.approx(0.5, abs=0.05)
    with pytest.raises(DataError, match=r"draws samples of class 1, and none .* raise data\.share"):
        read(Reader(folder, sampling="balanced").subset(0.001, seed=0))

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.data import build, reader, writing
from podium.data.manifest import MANIFEST, Manifest, Schema
from podium.data.order import Shuffle
from podium.data.reader import Batch, Reader
from podium.spec.data import Sampling

WHOLE = (0, 1)
LAW = settings(deadline=None, max_examples=60)
SHUFFLES = st.just(Shuffle("global", 0)) | st.builds(Shuffle, st.just("block"), st.integers(1, 7))


def write(folder: Path, sizes: list[int], shuffle: Shuffle) -> None:
    """A train split whose sample number n has the input n and the class n % 2."""
    first, shards = 0, []
    for number, size in enumerate(sizes):
        rows = np.arange(first, first + size)
        inputs = [rows.astype(np.float32)[:, None]]
        shards.append(writing.write_shard(folder / f"train-{number:05d}.arrow", "train", inputs, rows % 2))
        first += size
    manifest = Manifest(
        digest="",
        source={},
        fingerprint="",
        steps=(),
        split={},
        schema=Schema((1,), "float32", (), "int64", 2, (0.0,), (1.0,), False),
        rows={"train": first},
        classes={"train": ((first + 1) // 2, first // 2)},
        shards=tuple(shards),
        shuffle=shuffle,
        records=first,
        folds=(),
        left_out=0,
        skipped=(),
        versions={},
    )
    (folder / MANIFEST).write_text(manifest.to_json())


def samples(batches: Iterable[Batch]) -> list[tuple[int, int]]:
    """The samples that count: position and number, by position."""
    count = [batch for batch in batches if not batch.stands_in]
    return sorted(
        (int(position), int(number))
        for batch in count
        for position, number in zip(batch.positions, batch.inputs[:, 0], strict=True)
    )


@LAW
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=6),
    shuffle=SHUFFLES,
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 50),
    ranks=st.integers(1, 5),
    others=st.integers(1, 5),
    sampling=st.sampled_from(["uniform", "balanced"]),
    prefetches=st.booleans(),
    data=st.data(),
)
def test_an_epoch_is_the_same_over_any_ranks_and_goes_on_over_any_others(
    *,
    sizes: list[int],
    shuffle: Shuffle,
    batch_size: int,
    seed: int,
    epoch: int,
    ranks: int,
    others: int,
    sampling: Sampling,
    prefetches: bool,
    data: st.DataObject,
) -> None:
    if sum(sizes) < 2:
        sampling = "uniform"  # there is but one class
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        write(Path(name), sizes, shuffle)
        patch.setattr(reader, "PREFETCH_BYTES", 0 if prefetches else 2**60)

        def read(part: tuple[int, int] = WHOLE, start_step: int = 0) -> Iterator[Batch]:
            return Reader(Path(name), sampling=sampling).epoch(
                "train", batch_size=batch_size, seed=seed, epoch=epoch, start_step=start_step, part=part
            )

        whole = list(read())
        positions, numbers = zip(*samples(whole), strict=True)
        assert positions == tuple(range(sum(sizes)))
        if sampling == "uniform":
            assert sorted(numbers) == list(range(sum(sizes)))
        stop = data.draw(st.integers(0, len(whole)))
        before = [list(read((rank, ranks)))[:stop] for rank in range(ranks)]
        after = [list(read((rank, others), stop)) for rank in range(others)]
        steps = [*zip(*before, strict=True), *zip(*after, strict=True)]
        assert [samples(step) for step in steps] == [samples([batch]) for batch in whole]


def test_what_is_prepared_in_blocks_is_read_in_blocks(
    make_shards: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.data.order.GLOBAL_BYTES", 0)
    monkeypatch.setattr("podium.data.order.BLOCK_BYTES", 200)
    monkeypatch.setattr("podium.data.order.WINDOW", 2)
    monkeypatch.setattr(build, "SHARD_BYTES", 1000)
    whole = {"train": 1, "validation": 0, "test": 0}
    x = np.arange(1000.0, dtype=np.float32)[:, None]
    prepared = Reader(make_shards(x, x[:, 0], split=whole, normalize=False))
    shuffle = prepared.manifest.shuffle
    assert shuffle.kind == "block"
    assert len(prepared.manifest.shards) > 3
    monkeypatch.setattr("podium.data.order.GLOBAL_BYTES", 2**30)  # what is prepared stays as it is
    size, window = prepared.size("train"), 2 * shuffle.block
    batches = prepared.epoch("train", batch_size=window, seed=0, epoch=0)
    blocks = [set((batch.targets // shuffle.block).tolist()) for batch in batches]
    assert 3 < shuffle.block < size // 10
    assert all(len(each) <= 4 for each in blocks)
    assert set.union(*blocks) == set(range(-(-size // shuffle.block)))

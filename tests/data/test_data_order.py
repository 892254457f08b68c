import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from podium.data import order
from podium.data.draws import hashes
from podium.data.order import BlockShuffle, Shuffle, batches, choose_shuffle, permutation

SEEDS = st.integers(0, 2**70)


@given(size=st.integers(0, 300), seed=SEEDS, epoch=st.integers(0, 10_000))
def test_every_sample_stands_once_in_an_epoch(size: int, seed: int, epoch: int) -> None:
    rows = permutation(size, seed, epoch)
    assert rows.dtype == np.int64
    assert sorted(rows) == list(range(size))


@given(seed=SEEDS, epoch=st.integers(0, 10_000))
def test_epochs_and_seeds_have_orders_of_their_own(seed: int, epoch: int) -> None:
    rows = permutation(100, seed, epoch)
    assert (rows == permutation(100, seed, epoch)).all()
    assert (rows != permutation(100, seed, epoch + 1)).any()
    assert (rows != permutation(100, seed + 1, epoch)).any()


def test_hashes_are_those_of_the_published_splitmix64() -> None:
    counters = np.array([0x9E3779B97F4A7C15, 2 * 0x9E3779B97F4A7C15 % 2**64], dtype=np.uint64)
    assert list(hashes(counters)) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_the_order_of_an_epoch_never_changes_between_versions() -> None:
    assert permutation(8, 0, 0).tolist() == [1, 0, 4, 6, 7, 2, 3, 5]
    assert permutation(8, 7, 3).tolist() == [1, 6, 7, 3, 4, 5, 0, 2]


def test_every_position_is_equally_likely() -> None:
    counts = np.bincount([np.flatnonzero(permutation(10, seed, 0) == 0)[0] for seed in range(2000)], minlength=10)
    chi_square = ((counts - 200.0) ** 2 / 200.0).sum()
    assert chi_square < 27.9  # p = 0.001 at 9 degrees of freedom


@given(size=st.integers(0, 200), batch_size=st.integers(1, 50), start=st.integers(0, 250))
def test_batches_cover_the_rest_of_the_epoch(size: int, batch_size: int, start: int) -> None:
    spans = list(batches(size, batch_size, start_step=start))
    covered = [position for first, last in spans for position in range(first, last)]
    assert covered == list(range(min(start * batch_size, size), size))
    assert all(last - first == batch_size for first, last in spans[:-1])


def block_shuffle(size: int, block: int, seed: int, epoch: int) -> BlockShuffle:
    return BlockShuffle(size, block, seed, epoch, lambda first, last: None)


@given(size=st.integers(0, 2000), block=st.integers(1, 30), seed=SEEDS, epoch=st.integers(0, 100), data=st.data())
def test_shuffled_blocks_hold_every_sample_once_wherever_they_are_cut(
    size: int, block: int, seed: int, epoch: int, data: st.DataObject
) -> None:
    cuts = sorted([0, *data.draw(st.lists(st.integers(0, size), max_size=5)), size])
    shuffle = block_shuffle(size, block, seed, epoch)
    parts = [shuffle.rows(first, last) for first, last in itertools.pairwise(cuts)]
    rows = np.concatenate(parts)
    assert rows.dtype == np.int64
    assert sorted(rows) == list(range(size))
    assert (rows == block_shuffle(size, block, seed, epoch).rows(0, size)).all()


@given(windows=st.integers(2, 4), block=st.integers(1, 9), seed=SEEDS, epoch=st.integers(0, 9))
def test_a_window_holds_whole_blocks_in_an_order_of_its_own(windows: int, block: int, seed: int, epoch: int) -> None:
    length = order.WINDOW * block
    rows = block_shuffle(windows * length, block, seed, epoch).rows(0, windows * length)
    for first in range(0, len(rows), length):
        blocks, counts = np.unique(rows[first : first + length] // block, return_counts=True)
        assert len(blocks) == order.WINDOW
        assert (counts == block).all()
        assert (np.diff(rows[first : first + length]) != 1).any()
        assert (np.diff(blocks) != 1).any()


@given(seed=SEEDS, epoch=st.integers(0, 10_000))
def test_epochs_and_seeds_have_blocks_of_their_own(seed: int, epoch: int) -> None:
    rows = block_shuffle(1000, 3, seed, epoch).rows(0, 1000)
    assert (rows != block_shuffle(1000, 3, seed, epoch + 1).rows(0, 1000)).any()
    assert (rows != block_shuffle(1000, 3, seed + 1, epoch).rows(0, 1000)).any()


def test_the_order_of_shuffled_blocks_never_changes_between_versions() -> None:
    assert block_shuffle(10, 4, 7, 3).rows(0, 10).tolist() == [8, 2, 9, 6, 3, 0, 5, 7, 4, 1]
    assert block_shuffle(1000, 4, 0, 0).rows(253, 261).tolist() == [442, 284, 938, 378, 145, 345, 29, 31]


def test_blocks_are_expected_before_they_are_read() -> None:
    expected: list[int] = []
    shuffle = BlockShuffle(1000, 3, 0, 0, lambda first, last: expected.extend(range(first, last)))
    for first in range(0, 1000, 10):
        assert set(shuffle.rows(first, first + 10).tolist()) <= set(expected)
    assert set(expected) == set(range(1000))
    assert len(expected) <= 2 * 1000


def test_what_fits_a_host_is_shuffled_as_a_whole_and_what_does_not_in_blocks() -> None:
    assert choose_shuffle(0, 0) == choose_shuffle(1000, order.GLOBAL_BYTES) == Shuffle("global", 0)
    assert choose_shuffle(2**21, 2**33) == Shuffle("block", 2**21 * 2**22 // 2**33)
    assert choose_shuffle(10, 2**33) == Shuffle("block", 1)  # a sample is larger than a block
    assert choose_shuffle(order.GLOBAL_SAMPLES + 1, order.GLOBAL_BYTES).kind == "block"


@given(size=st.integers(1, 60), begin=st.integers(0, 500), seed=st.integers(0, 99), epoch=st.integers(0, 9))
def test_every_sample_of_a_batch_is_the_partner_of_another_one(size: int, begin: int, seed: int, epoch: int) -> None:
    positions = np.arange(begin, begin + size)
    found = order.partners(positions, begin, begin + size, seed, epoch)
    assert sorted(found.tolist()) == positions.tolist()
    assert (found != positions).all() or size == 1
    for first in range(begin, begin + size, 7):  # any part of the batch has the same
        part = positions[first - begin : first - begin + 7]
        assert (order.partners(part, begin, begin + size, seed, epoch) == found[part - begin]).all()

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from podium.data.order import batches, hashes, permutation

SEEDS = st.integers(0, 2**70)


@given(size=st.integers(0, 300), seed=SEEDS, epoch=st.integers(0, 10_000))
def test_every_sample_stands_once_in_an_epoch(size: int, seed: int, epoch: int) -> None:
    order = permutation(size, seed, epoch)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(size))


@given(seed=SEEDS, epoch=st.integers(0, 10_000))
def test_epochs_and_seeds_have_orders_of_their_own(seed: int, epoch: int) -> None:
    order = permutation(100, seed, epoch)
    assert (order == permutation(100, seed, epoch)).all()
    assert (order != permutation(100, seed, epoch + 1)).any()
    assert (order != permutation(100, seed + 1, epoch)).any()


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

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from podium.sweep.seeds import splitmix64
from podium.training import draws

GAMMA = 0x9E3779B97F4A7C15


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40))
def test_bits_are_splitmix64_streams(key: int, counter: int) -> None:
    signed = key - (1 << 64) if key >> 63 else key
    expected = splitmix64((key + (counter - 1) * GAMMA) % 2**64)
    assert int(draws.bits(signed, torch.tensor([counter]))[0]) % 2**64 == expected


@given(st.lists(st.integers(0, 2**62) | st.text(max_size=5), min_size=1, max_size=4))
def test_keys_are_signed_64_bit_and_depend_on_every_part_and_their_order(parts: list[int | str]) -> None:
    key = draws.fold(*parts)
    assert -(2**63) <= key < 2**63
    assert key == draws.fold(*parts)
    assert key != draws.fold(*parts, 0)
    if parts != parts[::-1]:
        assert key != draws.fold(*parts[::-1])


def test_uniform_numbers_fill_the_unit_interval() -> None:
    numbers = draws.uniform((200, 100), draws.fold(1, "test"))
    assert numbers.shape == (200, 100)
    assert numbers.dtype == torch.float64
    assert 0 < numbers.min() < 1e-3
    assert 1 - 1e-3 < numbers.max() < 1
    assert float(numbers.mean()) == pytest.approx(1 / 2, abs=0.01)
    assert float(numbers.var()) == pytest.approx(1 / 12, abs=0.002)


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    numbers = draws.normal((40_000,), draws.fold(2, "test"))
    assert float(numbers.mean()) == pytest.approx(0, abs=0.02)
    assert float(numbers.var()) == pytest.approx(1, abs=0.03)
    assert float((numbers**4).mean()) == pytest.approx(3, abs=0.15)


def test_a_longer_tensor_begins_with_the_shorter_one() -> None:
    key = draws.fold(3, "test")
    assert torch.equal(draws.normal((10,), key), draws.normal((30,), key)[:10])


def test_words_belong_to_position_and_element() -> None:
    key = draws.fold(4, "test")
    whole = draws.words(key, torch.arange(100), 30)
    assert whole.dtype == torch.int32
    assert torch.equal(draws.words(key, torch.tensor([7, 99, 3]), 20), whole[[7, 99, 3], :20])


def test_words_are_uniform() -> None:
    counts = torch.bincount((draws.words(draws.fold(5, "test"), torch.arange(1000), 256) >> 24).flatten() + 128)
    expected = 1000 * 256 / 256
    assert float(((counts - expected) ** 2 / expected).sum()) == pytest.approx(255, abs=5 * (2 * 255) ** 0.5)


@pytest.mark.parametrize("threshold", [0, 1 << 30, -(1 << 30)])
@pytest.mark.parametrize("across", ["positions", "elements"])
def test_masks_of_words_are_uncorrelated(threshold: int, across: str) -> None:
    kept = (draws.words(draws.fold(6, "test"), torch.arange(1024), 1024) >= threshold).double()
    rows = kept if across == "positions" else kept.T
    rows = (rows - rows.mean()) / rows.std()
    pairs = (rows @ rows.T / 1024**0.5)[tuple(torch.triu_indices(1024, 1024, offset=1))]
    assert float(pairs.mean()) == pytest.approx(0, abs=5 / len(pairs) ** 0.5)
    assert float(pairs.var()) == pytest.approx(1, abs=0.02)
    assert float(pairs.abs().max()) < 6.5

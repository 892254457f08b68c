import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.drawing.aggregates import MOST_EPOCHS, band, bins, limits, sample

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def test_a_band_is_of_the_curves_that_reached_an_epoch() -> None:
    found = band([[(1, value), (2, None if value else 5.0)] for value in np.arange(11.0)])
    assert found.epochs == (1, 2)
    assert found.counts == (11, 1)
    assert (found.low[0], found.middle[0], found.high[0]) == (1.0, 5.0, 9.0)
    assert found.low[1] == found.middle[1] == found.high[1] == 5.0


def test_a_band_of_nothing_is_empty_and_a_long_one_is_thinned() -> None:
    assert band([]).epochs == ()
    found = band([[(epoch, 0.0) for epoch in range(1, 1001)]])
    assert len(found.epochs) == MOST_EPOCHS
    assert (found.epochs[0], found.epochs[-1]) == (1, 1000)


def test_bins_are_of_equal_width_or_one_for_each_place() -> None:
    places, values = [0.0, 0.1, 0.6, 1.0], [1.0, 3.0, 5.0, 7.0]
    assert [(each.place, each.median, each.count) for each in bins(places, values, 2)] == [(0.25, 2, 2), (0.75, 6, 2)]
    assert [each.place for each in bins(places, values)] == places


def test_a_median_has_an_interval_from_six_values_on() -> None:
    (five,), (six,) = (bins([0.0] * count, list(range(count))) for count in (5, 6))
    assert (five.low, five.high) == (None, None)
    assert (six.low, six.high) == (0, 5)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    found = [bins([0.0] * 25, random.exponential(size=25).tolist())[0] for _ in range(2000)]
    held = np.mean([each.low <= np.log(2) <= each.high for each in found])  # type: ignore[operator]
    assert 0.94 < held < 0.98  # 0.957 by the binomial distribution


@given(NUMBERS, st.lists(st.floats(-1e9, 1e9), max_size=10))
def test_limits_show_all_that_is_drawn_and_not_much_more(drawn: list[float], reach: list[float]) -> None:
    low, high = limits(drawn, reach)
    width = max(drawn) - min(drawn) or abs(max(drawn)) * 0.1 or 1.0
    assert low < min(drawn) <= max(drawn) < high
    assert high - low <= 3.5 * width + 2


@given(st.lists(st.integers(), max_size=50), st.integers(2, 20))
def test_a_sample_is_in_order_and_has_both_ends(things: list[int], most: int) -> None:
    found = sample(list(enumerate(things)), most)
    assert len(found) == min(len(things), most)
    assert found == sorted(found)
    if things:
        assert (found[0][0], found[-1][0]) == (0, len(things) - 1)


def test_bins_need_no_width() -> None:
    (found,) = bins([0.5, 0.5], [1.0, 2.0], 8)
    assert found.median == pytest.approx(1.5)

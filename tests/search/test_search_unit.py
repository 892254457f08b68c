"""The unit interval as a domain."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.search.unit import from_unit
from podium.spec.space import Choice, Float, Int

DOMAINS = [
    Float(-1.0, 3.0),
    Float(1e-7, 1.0, log=True),
    Float(0.0, 0.3, step=0.1),
    Float(0.0, 1.0, step=0.3),
    Int(1, 5),
    Int(-3, 10, step=4),
    Int(1, 1000, log=True),
    Choice(("a", (1, 2), None)),
]


@given(domain=st.sampled_from(DOMAINS), place=st.floats(0, 1))
def test_every_place_is_a_value(domain, place):
    assert domain.contains(from_unit(domain, place))


@pytest.mark.parametrize(
    ("domain", "place", "value"), [(DOMAINS[0], 0.5, 1.0), (DOMAINS[4], 0.5, 3), (DOMAINS[5], 1.0, 9)]
)
def test_some_places(domain, place, value):
    assert from_unit(domain, place) == value


def test_a_log_scale_gives_each_decade_its_share():
    assert from_unit(Float(1e-4, 1.0, log=True), 0.5) == pytest.approx(1e-2)


@pytest.mark.parametrize("domain", [Int(1, 5), Choice(("a", "b", "c")), Float(0, 1, step=0.25)])
def test_values_have_equal_shares(domain):
    values = domain.values()
    drawn = [from_unit(domain, (index + 0.5) / (10 * len(values))) for index in range(10 * len(values))]
    assert [drawn.count(value) for value in values] == [10] * len(values)

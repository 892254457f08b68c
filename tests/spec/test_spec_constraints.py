"""Constraints: comparisons of one number with a limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import SpecError
from podium.spec.constraints import MISSING, Constraint, parse


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("parameters <= 1e6", Constraint("parameters", "<=", 1e6)),
        ("validation/accuracy>=0.9", Constraint("validation/accuracy", ">=", 0.9)),
        (" loss <  -3 ", Constraint("loss", "<", -3.0)),
        ("a.b > 0", Constraint("a.b", ">", 0.0)),
    ],
)
def test_reads(text, constraint):
    assert parse(text) == constraint
    assert parse(str(constraint)) == constraint


@pytest.mark.parametrize(
    "text", ["", "parameters", "parameters = 3", "parameters <= x", "3 <= loss", "a <= 1 <= 2", "a <= inf", "a <= nan"]
)
def test_refuses_anything_else(text):
    with pytest.raises(SpecError, match="is not a constraint"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value", "satisfied"),
    [
        ("x <= 2", 2.0, True),
        ("x < 2", 2.0, False),
        ("x >= 2", 2.0, True),
        ("x > 2", 2.0, False),
        ("x <= 2", 3.0, False),
        ("x >= 2", 1.0, False),
        ("x < 2", 1.0, True),
        ("x > 2", 3.0, True),
    ],
)
def test_satisfied_is_zero_or_less(text, value, satisfied):
    assert (parse(text).violation({"x": value}) <= 0) is satisfied


@pytest.mark.parametrize("metrics", [{}, {"x": None}, {"y": 1.0}])
def test_a_missing_metric_satisfies_nothing(metrics):
    assert parse("x <= 2").violation(metrics) == MISSING > 0


@given(limit=st.floats(-1e9, 1e9), excess=st.floats(1e-3, 1e3))
def test_a_larger_excess_is_a_larger_violation(limit, excess):
    constraint = Constraint("x", "<=", limit)
    assert constraint.violation({"x": limit + 2 * excess}) > constraint.violation({"x": limit - excess})

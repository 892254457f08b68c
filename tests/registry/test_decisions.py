"""The decision and what a test set can tell."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from podium.registry.evidence import compare
from podium.registry.verdict import decide, needed, power, tightened


def errors(wins, losses, both):
    """A comparison in which the candidate alone is right, the champion alone, and both."""
    counts = (wins, losses, both)
    return compare(np.repeat([0, 1, 0], counts), np.repeat([1, 0, 0], counts))


@given(st.floats(1e-6, 0.5), st.integers(1, 2000))
def test_the_levels_of_all_readings_sum_to_less_than_alpha(alpha, readings):
    levels = [tightened(alpha, reading) for reading in range(1, readings + 1)]
    assert math.fsum(levels) < alpha
    assert levels == sorted(levels, reverse=True)


def test_the_levels_of_all_readings_sum_to_nearly_alpha():
    assert math.fsum(tightened(0.05, reading) for reading in range(1, 20_000)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize(
    ("wins", "losses", "margin", "verdict"),
    [
        (30, 10, 0.0, "promoted"),
        (10, 30, 0.0, "refused"),
        (20, 20, 0.0, "undecided"),
        (0, 0, 0.0, "undecided"),
        (20, 22, 0.02, "promoted"),
        (0, 0, 0.02, "promoted"),
        (5, 60, 0.02, "refused"),
        (10, 30, 0.02, "undecided"),
    ],
)
def test_better_is_promoted_and_worse_is_refused(wins, losses, margin, verdict):
    assert decide(errors(wins, losses, both=1000 - wins - losses), alpha=0.05, margin=margin) == verdict


def test_nothing_to_compare_decides_nothing():
    assert decide(None, alpha=0.05) == "undecided"
    assert decide(compare(np.array([]), np.array([])), alpha=0.05) == "undecided"


def test_the_power_of_numbers_is_that_of_a_t_test():
    """From simulation: 2,000 paired t tests of 100 differences of standard deviation 1 and mean 0.25."""
    draws = np.random.default_rng(0)
    comparison = compare(np.zeros(10_000), draws.standard_normal(10_000))
    drawn = stats.ttest_1samp(draws.standard_normal((2000, 100)) + 0.25, 0, axis=1, alternative="greater").pvalue
    assert power(comparison, alpha=0.05, difference=0.25, count=100) == pytest.approx(np.mean(drawn <= 0.05), abs=0.03)


@pytest.mark.parametrize(("count", "rate", "difference"), [(150, 0.06, 0.005), (500, 0.1, 0.03), (3000, 0.05, 0.01)])
def test_the_power_of_errors_is_that_of_mcnemars_test(count, rate, difference):
    """Exact: over how many pairs are discordant, and how many of these are won."""
    comparison = errors(round(count * rate / 2), round(count * rate / 2), round(count * (1 - rate)))
    pairs = np.arange(1, count + 1)
    enough = stats.binom.isf(0.05, pairs, 0.5) + 1
    winning = stats.binom.sf(enough - 1, pairs, (1 + difference / rate) / 2)
    exact = float(stats.binom.pmf(pairs, count, rate) @ winning)
    assert power(comparison, alpha=0.05, difference=difference) == pytest.approx(exact, abs=0.02)


CASES = [errors(10, 8, 500), compare(np.zeros(300), np.random.default_rng(1).exponential(size=300))]


@pytest.mark.parametrize("comparison", CASES, ids=["errors", "numbers"])
@given(difference=st.floats(0.003, 0.5), wanted=st.floats(0.3, 0.99))
def test_what_is_needed_is_just_enough(comparison, difference, wanted):
    count = needed(comparison, alpha=0.05, difference=difference, power=wanted)
    assert count is not None
    assert power(comparison, alpha=0.05, difference=difference, count=count) >= wanted - 1e-9
    if count > 1:
        assert power(comparison, alpha=0.05, difference=difference, count=count - 1) < wanted + 1e-9


def test_groups_need_as_many_more_examples_as_they_repeat():
    once = np.random.default_rng(2).random((2, 100))
    alone = needed(compare(*once), alpha=0.05, difference=0.05)
    grouped = compare(*np.repeat(once, 4, axis=1), groups=np.repeat(np.arange(100), 4))
    assert needed(grouped, alpha=0.05, difference=0.05) == pytest.approx(4 * alone, rel=0.02)


def test_comparisons_that_do_not_say_how_much_differences_vary():
    one, equal = compare(np.array([0.3]), np.array([0.5])), compare(np.zeros(20), np.full(20, 0.5))
    for comparison in (one, equal):
        assert needed(comparison, alpha=0.05, difference=0.1) is None
        assert power(comparison, alpha=0.05, difference=0.1) == 0
    assert power(compare(np.array([]), np.array([])), alpha=0.05, difference=0.1) == 0


def test_classifiers_that_never_differed_may_do_so_yet():
    assert 0.5 < power(errors(0, 0, both=1000), alpha=0.05, difference=0.01) < 1

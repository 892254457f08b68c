"""Evidence against closed forms, scipy and simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from scipy import stats

from podium.errors import UserError
from podium.registry.evidence import choose, compare, mean_interval, optimism
from podium.registry.paired import FEWEST_UNITS, Discordance, Resampled, Units

VALUES = st.floats(-100, 100, width=32)


def errors(wins, losses, both=0, neither=0):
    """Losses of 0 and 1 by how often the candidate alone is right, the champion alone, both and neither."""
    counts = (wins, losses, both, neither)
    return np.repeat([0, 1, 0, 1], counts), np.repeat([1, 0, 0, 1], counts)


def pairs(elements, least=0):
    shapes = st.integers(least, 30).map(lambda count: (2, count))
    return stn.arrays(np.float64, shapes, elements=elements)


def test_the_interval_of_a_mean_is_students():
    values = [0.91, 0.93, 0.9, 0.95, 0.92]
    found = mean_interval(values, 0.9)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx(tuple(interval))
    assert (found.estimate, found.level, found.count) == (pytest.approx(0.922), 0.9, 5)


def test_one_seed_says_nothing_of_the_spread():
    found = mean_interval([0.9])
    assert (found.low, found.estimate, found.high) == (-math.inf, 0.9, math.inf)
    assert json.loads(json.dumps(found.written(), allow_nan=False)) == {
        "estimate": 0.9,
        "low": None,
        "high": None,
        "level": 0.95,
        "count": 1,
    }


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [0.5, math.inf]])
def test_an_interval_needs_finite_values(values):
    with pytest.raises(UserError, match="finite values of seeds"):
        mean_interval(values)


def test_optimism_is_above_0_when_the_report_was_too_good():
    assert optimism(0.95, [0.9, 0.92], maximize=True) == pytest.approx(0.04)
    assert optimism(0.95, [0.9, 0.92], maximize=False) == pytest.approx(-0.04)


def test_the_finalist_with_the_best_mean_is_chosen():
    values = {7: [0.8, 0.9], 3: [0.9, 0.8], 5: [1.0, 0.1]}
    assert choose(values, maximize=True) == 3
    assert choose(values, maximize=False) == 5
    assert choose({1: [0.1, math.inf], 2: [0.5, 0.6]}, maximize=False) == 2


@pytest.mark.parametrize("values", [{}, {1: []}, {1: [0.5], 2: [math.nan]}])
def test_a_finalist_without_values_cannot_be_chosen(values):
    with pytest.raises(UserError, match="needs values of fresh seeds"):
        choose(values, maximize=True)


def test_mcnemar_by_hand():
    found = compare(*errors(wins=8, losses=2, both=85, neither=5))
    assert found.method == "mcnemar"
    assert (found.wins, found.losses, found.difference.count) == (8, 2, 100)
    assert found.difference.estimate == pytest.approx(0.06)
    assert found.p_better() == pytest.approx((45 + 10 + 1) / 1024)
    assert found.p_worse() == pytest.approx((1024 - 10 - 1) / 1024)
    assert found.is_better(0.06)
    assert not found.is_better(0.05)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_binomial_test_of_the_discordant_pairs(wins, losses, both):
    found = compare(*errors(wins, losses, both, neither=1))
    if wins + losses:
        assert found.p_better() == pytest.approx(stats.binomtest(wins, wins + losses, alternative="greater").pvalue)
        assert found.p_worse() == pytest.approx(stats.binomtest(losses, wins + losses, alternative="greater").pvalue)
    else:
        assert found.p_better() == found.p_worse() == 1
    assert -1 <= found.difference.low <= found.difference.estimate <= found.difference.high <= 1


def test_bounds_of_paired_proportions():
    """Without discordant pairs they solve n d / (1 - d) = z^2 (Tango, 1998); else they are where the score is z."""
    edge = stats.norm.ppf(0.975) ** 2
    alike = compare(*errors(0, 0, both=44)).difference
    assert (-alike.low, alike.high) == pytest.approx((edge / (44 + edge),) * 2)
    found = compare(*errors(wins=12, losses=2, both=16, neither=20), level=0.9).difference
    z = stats.norm.ppf(0.95)
    for bound, sign in ((found.low, 1), (found.high, -1)):
        assert (10 - 50 * bound) / math.sqrt(variance_at(bound, 50, 12, 2)) == pytest.approx(sign * z, abs=1e-4)


def variance_at(difference, count, wins, losses):
    """Of wins minus losses, at the likeliest rate of losses that goes with a difference, found by search."""
    rates = np.linspace(0, 1, 200_001)
    with np.errstate(divide="ignore", invalid="ignore"):
        likelihood = (
            wins * np.log(rates + difference)
            + losses * np.log(rates)
            + (count - wins - losses) * np.log(1 - 2 * rates - difference)
        )
    rate = rates[np.nanargmax(likelihood)]
    return count * (2 * rate + difference - difference**2)


def test_a_margin_makes_it_a_test_of_no_worse():
    found = compare(*errors(wins=20, losses=22, both=958))
    assert not found.is_better(0.05)
    assert found.is_better(0.05, margin=0.02)
    assert found.p_better(0.02) == pytest.approx(stats.norm.sf(18 / math.sqrt(variance_at(-0.02, 1000, 20, 22))), 1e-3)
    far = compare(*errors(wins=5, losses=60, both=935))
    assert far.is_worse(0.05, margin=0.02)
    assert not far.is_worse(0.05, margin=0.05)


@settings(max_examples=40)
@given(pairs(st.integers(0, 1) | VALUES, least=1), st.floats(0, 10), st.floats(0, 10))
def test_a_wider_margin_is_easier_to_keep(losses, one, other):
    found = compare(*losses)
    less, more = sorted((one, other))
    assume(found.method != "mcnemar" or less > 0)  # at 0 it is another test, and the more careful one
    assert found.p_better(more) <= found.p_better(less) * (1 + 1e-9)
    assert found.p_worse(more) >= found.p_worse(less) * (1 - 1e-9)


BOTH = pytest.mark.parametrize("elements", [st.sampled_from([0.0, 1.0]), VALUES], ids=["errors", "numbers"])


@BOTH
@settings(max_examples=40)
@given(st.data())
def test_swapping_the_models_turns_all_signs(elements, data):
    one, other = data.draw(pairs(elements))
    found, swapped = compare(one, other), compare(other, one)
    assume(found.difference.estimate or found.method != "bootstrap")  # at exactly 0 no side is the first
    assert swapped.difference.estimate == -found.difference.estimate
    assert (-swapped.difference.high, -swapped.difference.low) == pytest.approx(
        (found.difference.low, found.difference.high)
    )
    assert swapped.p_better() == pytest.approx(found.p_worse())
    assert swapped.p_worse(0.5) == pytest.approx(found.p_better(-0.5))


@BOTH
@settings(max_examples=40)
@given(st.data())
def test_the_order_of_examples_does_not_matter(elements, data):
    losses = data.draw(pairs(elements))
    order = data.draw(st.permutations(range(losses.shape[1])))
    groups = np.arange(losses.shape[1]) // 3
    for given_groups in (None, groups):
        moved = None if given_groups is None else given_groups[order]
        found, other = compare(*losses, groups=given_groups), compare(*losses[:, order], groups=moved)
        assert other.written() == found.written()


@BOTH
@settings(max_examples=40)
@given(st.data())
def test_groups_of_one_are_no_groups(elements, data):
    losses = data.draw(pairs(elements))
    names = 10 * np.random.default_rng(0).permutation(losses.shape[1])
    found, alone = compare(*losses, groups=names).written(), compare(*losses).written()
    assert found["design"] == pytest.approx(1.0)
    assert found == alone | {"design": found["design"]}


def test_groups_that_repeat_an_example_prove_nothing_more():
    draws = np.random.default_rng(1)
    for once in (draws.exponential(size=(2, 200)), (draws.random((2, 200)) < [[0.3], [0.4]]).astype(float)):
        alone = compare(*once)
        again = compare(*np.repeat(once, 5, axis=1), groups=np.repeat(np.arange(200), 5))
        assert again.units == 200
        assert again.design == pytest.approx(5, rel=0.02)
        assert again.p_better() == pytest.approx(alone.p_better(), rel=0.05)
        assert (again.difference.low, again.difference.high) == pytest.approx(
            (alone.difference.low, alone.difference.high), rel=0.03
        )


def test_the_bootstrap_is_near_students_t_for_what_is_nearly_normal():
    one, other = np.random.default_rng(2).normal(size=(2, 300)) + np.array([[0.0], [0.1]])
    found = compare(one, other)
    student = stats.ttest_rel(other, one, alternative="greater")
    interval = stats.ttest_rel(other, one).confidence_interval(0.95)
    assert found.method == "bootstrap"
    assert found.p_better() == pytest.approx(student.pvalue, abs=0.01)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval), abs=0.01)


def test_few_units_are_compared_by_students_t():
    one, other = np.random.default_rng(3).normal(size=(2, FEWEST_UNITS - 1)) + np.array([[0.0], [0.5]])
    found = compare(one, other)
    assert found.method == "student"
    assert found.p_better() == pytest.approx(stats.ttest_rel(other, one, alternative="greater").pvalue)
    interval = stats.ttest_rel(other, one).confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(interval))


def test_bundles_change_nothing_but_the_time():
    """1,500 skewed differences are bundled; their interval is that of Hall's expansion (1988) to its first order."""
    differences = np.random.default_rng(4).exponential(size=1_500) ** 2
    found = compare(np.zeros(1_500), differences).difference
    error, skewness, z = stats.sem(differences), stats.skew(differences), stats.norm.ppf(0.975)
    shift = skewness * (2 * z**2 + 1) / (6 * math.sqrt(1_500))
    expected = (differences.mean() + error * (shift - z), differences.mean() + error * (shift + z))
    assert (found.low, found.high) == pytest.approx(expected, abs=0.1 * error)
    assert shift > 0.2


@pytest.mark.parametrize(("draw", "mean"), [("normal", 0.0), ("exponential", 1.0)])
def test_the_intervals_of_few_numbers_hold_the_truth_as_often_as_they_say(draw, mean):
    draws, held = np.random.default_rng(5), 0
    for _ in range(150):
        units = Units.of(getattr(draws, draw)(size=20), None)
        low, high = Resampled.of(units, 0.9, seed=0).bounds(0.9)
        held += low <= mean <= high
    assert stats.binomtest(held, 150, 0.9).pvalue > 0.01


@pytest.mark.parametrize(("count", "rate", "difference"), [(30, 0.3, 0.0), (60, 0.2, 0.1), (200, 0.05, 0.02)])
def test_the_intervals_of_few_errors_hold_the_truth_as_often_as_they_say(count, rate, difference):
    """The coverage is computed over all tables, not drawn."""
    wins, losses = np.mgrid[: count + 1, : count + 1].reshape(2, -1)
    wins, losses = (each[wins + losses <= count] for each in (wins, losses))
    shares = [(rate + difference) / 2, (rate - difference) / 2, 1 - rate]
    chances = stats.multinomial(count, shares).pmf(np.stack([wins, losses, count - wins - losses], axis=1))
    covered = 0.0
    nothing = Units.of(np.ones(count), None)
    for won, lost, chance in zip(wins, losses, chances, strict=True):
        if chance > 1e-6:
            low, high = Discordance(nothing, count, float(won), float(lost)).bounds(0.95)
            covered += chance * (low <= difference <= high)
    assert 0.93 < covered < 0.985


@pytest.mark.parametrize("groups", [None, np.array([], int)])
def test_no_examples_prove_nothing(groups):
    found = compare(np.array([]), np.array([]), groups=groups)
    assert (found.difference.low, found.difference.estimate, found.difference.high) == (-math.inf, 0, math.inf)
    assert found.p_better() == found.p_worse() == found.p_better(0.5) == 1


def test_one_example_proves_nothing():
    number, error = compare(np.array([0.2]), np.array([0.7])), compare(np.array([0]), np.array([1]))
    assert (number.difference.low, number.difference.high) == (-math.inf, math.inf)
    assert number.p_better() == error.p_better() == 0.5
    assert error.difference.high == 1


def test_models_that_never_differ_are_neither_better_nor_worse():
    losses = np.random.default_rng(6).random(50)
    found = compare(losses, losses)
    assert (found.difference.low, found.difference.high) == (0, 0)
    assert found.p_better() == found.p_worse() == 1
    assert found.is_better(0.05, margin=0.01)


def test_equal_differences_prove_as_much_as_a_sign_test():
    for count in (3, 20):
        found = compare(np.zeros(count), np.full(count, 0.5))
        assert found.p_better() == pytest.approx(0.5**count)
        assert found.p_worse() == 1


def test_three_examples_prove_little_however_many_are_alike():
    champion = np.random.default_rng(7).random(1000)
    candidate = champion.copy()
    candidate[:3] -= 0.1
    assert compare(candidate, champion).p_better() >= 1 / 8


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_losses_that_are_not_finite_are_refused(value):
    with pytest.raises(UserError, match=r"the champion's loss on test example 1 is (nan|inf), and 1 in all"):
        compare(np.zeros(3), np.array([0.0, value, 0.0]))


def test_losses_of_different_examples_are_refused():
    with pytest.raises(UserError, match=r"\[\(3,\), \(4,\)\]"):
        compare(np.zeros(3), np.zeros(4))
    with pytest.raises(UserError, match="one loss for each test example"):
        compare(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(UserError, match="and their groups"):
        compare(np.zeros(3), np.zeros(3), groups=np.zeros(2, int))


def test_a_comparison_is_written_as_json():
    for losses in (errors(1, 0), np.random.default_rng(8).random((2, 9)), np.zeros((2, 0))):
        written = compare(*losses).written()
        assert json.loads(json.dumps(written, allow_nan=False)) == written

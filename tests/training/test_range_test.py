"""The learning-rate range test: what follows from losses, and what a real network shows."""

import math
from pathlib import Path

import pytest
from training_bench import make_spec

from podium.errors import TaskError
from podium.training.range_test import judged, range_test

RATES = [10 ** (-4 + step / 20) for step in range(101)]  # 1e-4 to 10


def valley(rate: float) -> float:
    """Falls fastest at a rate of 1e-2 and explodes beyond 1."""
    return 1 / (1 + (rate / 1e-2) ** 1.5) + 0.05 + (rate / 2.0) ** 4


def test_the_steepest_descent_is_found_where_the_loss_falls_fastest() -> None:
    found = judged(RATES, [valley(rate) for rate in RATES])
    # smoothing by 0.9 lags behind by about ten of the twenty steps of a decade
    assert found.steepest is not None
    assert 1e-2 < found.steepest < 1e-2 * 10**0.6
    assert found.diverged is not None
    assert 1 < found.diverged <= 10
    assert found.suggestion == min(found.steepest, found.diverged / 10)


def test_smoothing_is_the_corrected_exponential_mean() -> None:
    found = judged(RATES[:3], [1.0, 2.0, 4.0])
    by_hand = (1.0, (0.9 * 0.1 * 1 + 0.1 * 2) / (1 - 0.81), (0.81 * 0.1 + 0.9 * 0.1 * 2 + 0.1 * 4) / (1 - 0.729))
    assert found.smoothed == pytest.approx(by_hand)
    assert (found.steepest, found.diverged, found.suggestion) == (None, None, None)


def test_a_loss_that_is_not_finite_is_where_it_diverged() -> None:
    losses = [valley(rate) for rate in RATES[:60]]
    found = judged(RATES, [*losses, math.nan])
    assert found.diverged == RATES[60]
    assert found.losses == tuple(losses)
    assert found.suggestion == min(found.steepest or math.inf, RATES[60] / 10)


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    rising = judged(RATES, [1 + step / 10 for step in range(40)])
    assert (rising.steepest, rising.suggestion) == (None, None)


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_real_network_learns_at_the_suggestion(kind: str, blobs: Path) -> None:
    rates = [10 ** (-5 + 7 * step / 79) for step in range(80)]  # 1e-5 to 100
    spec = make_spec(optimizer={"kind": kind}, schedule={"kind": "cosine", "warmup": 0.5})
    found = range_test(spec, code=None, data=blobs, parameters={}, rates=rates)
    again = range_test(spec, code=None, data=blobs, parameters={}, rates=rates)
    assert found == again
    assert found.losses[0] > min(found.smoothed)
    assert found.suggestion is not None
    assert 1e-4 < found.suggestion < 1
    assert found.rates == tuple(rates[: len(found.rates)])


def test_a_training_function_has_no_steps_to_test(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("def train(trial):\n    trial.report(1, {'x': 1.0})\n")
    objective = {"objective": {"metric": "x", "direction": "maximize"}}
    spec = make_spec(task="train.py:train", search=objective, network={})
    with pytest.raises(TaskError, match="a range test needs a task"):
        range_test(spec, code=tmp_path, data=None, parameters={}, rates=RATES)

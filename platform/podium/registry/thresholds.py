"""Thresholds of probabilities, chosen on validation data. Pure arithmetic."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEPS = 100
"""Thresholds are multiples of one over this."""


def best_thresholds(batches: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> tuple[float, ...]:
    """For each label the threshold of 0.01, 0.02 to 0.99 with the highest F1 score.

    F1 = 2 TP / (2 TP + FP + FN), where what reaches the threshold counts as present; over pixels it is the Dice
    coefficient (Dice, 1945). Of several thresholds that are as good, it is the nearest to 0.5; 0.5 where a label is
    never present.

    Args:
        batches: Probabilities and truths (0 or 1), both `[..., labels]`.
    """
    present: NDArray[np.int64] | None = None
    for probabilities, truths in batches:
        scores, is_present = (each.reshape(-1, each.shape[-1]) for each in (probabilities, truths))
        labels = scores.shape[1]
        if present is None:
            absent, present = (np.zeros((labels, STEPS), np.int64) for _ in range(2))
        # a hair, so that 0.29 counts as having reached 0.29, whatever its rounding
        reached = np.clip(np.floor(scores.astype(np.float64) * STEPS + 1e-4), 0, STEPS - 1).astype(np.int64)
        for label in range(labels):
            is_true = is_present[:, label] > 0.5
            present[label] += np.bincount(reached[is_true, label], minlength=STEPS)
            absent[label] += np.bincount(reached[~is_true, label], minlength=STEPS)
    assert present is not None, "a validation split holds samples"
    return tuple(_best(*counts) for counts in zip(present, absent, strict=True))


def _best(present: NDArray[np.int64], absent: NDArray[np.int64]) -> float:
    """Of counts of those that reached each step and no further."""
    if not present.sum():
        return 0.5
    true_positives, false_positives = (np.cumsum(counts[::-1])[::-1] for counts in (present, absent))
    scores = 2 * true_positives / (true_positives + false_positives + present.sum())
    steps = np.arange(1, STEPS)
    best = steps[scores[1:] >= scores[1:].max() - 1e-12]
    return float(best[np.argmin(np.abs(best - STEPS // 2))]) / STEPS

"""Training, seeing inside: where a classifier errs, and whether it knows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


@dataclass(frozen=True)
class Calibration:
    """How often a classifier is right, by how sure it is.

    Attributes:
        confidence: `[bins]`, the mean of the highest probability; not a number for empty bins.
        accuracy: `[bins]`, the share of those that are right; likewise.
        counts: `[bins]`, how many.
        error: The expected calibration error: the mean distance of both, weighted by the counts.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]
    error: float


def confusion(truths: NDArray[Any], predicted: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """`[classes, classes]`: how many of a true class (row) were taken for each class (column)."""
    pairs = truths.astype(np.int64).ravel() * classes + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def calibrate(probabilities: NDArray[Any], truths: NDArray[Any]) -> Calibration:
    """Accuracy against confidence in 15 bins of equal width.

    Source: Guo et al., 2017, arXiv:1706.04599, with the expected calibration error of Naeini et al., 2015.

    Args:
        probabilities: `[N, classes]`.
        truths: `[N]` classes.
    """
    sure = probabilities.max(axis=1).astype(np.float64)
    is_right = (probabilities.argmax(axis=1) == truths).astype(np.float64)
    bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = [np.bincount(bins, weights=each, minlength=BINS) for each in (sure, is_right)]
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (each / counts for each in sums)
    error = float(np.abs(sums[0] - sums[1]).sum() / len(truths))
    return Calibration(confidence, accuracy, counts, error)


def worst_mistakes(probabilities: NDArray[Any], truths: NDArray[Any], most: int) -> NDArray[np.int64]:
    """The samples whose class was missed, those first whose true class was given the least probability."""
    own = probabilities[np.arange(len(truths)), truths]
    missed = np.flatnonzero(probabilities.argmax(axis=1) != truths)
    return missed[np.argsort(own[missed], kind="stable")][:most]

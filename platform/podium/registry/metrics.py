"""Metrics of a whole test split, by the names that the built-in tasks give them. Pure arithmetic."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from podium.registry.answers import About, Answers, Array, Head

Floats = NDArray[np.float64]

MOST_CLASSES = 100
"""Up to so many classes are looked at one by one."""

NUMBERS = 2**22
"""So many numbers of 8 bytes are made at once."""

_OF_TASK: Mapping[str, tuple[str, ...]] = {
    "reconstruction": ("mse",),
    "forecasting": ("mean_absolute_error", "rmse", "skill"),
    "image_to_image": ("psnr", "ssim", "mean_absolute_error"),
}
_OF_NUMBERS = ("mean_absolute_error", "rmse")

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03


def metrics(answers: Answers, targets: Array, about: About) -> dict[str, float]:
    """What a task of that kind measures, over all items; of several heads as `HEAD/…`.

    Of classes `accuracy`, and over the pixels of maps `mean_iou` and `dice`, too; of labels `subset_accuracy` and `f1`,
    and `mean_average_precision` if the answers are probabilities; of numbers what their task has. They are those of the
    trials but for answers with a class that does not count, which are wrong here, since that is what a user is told.

    Args:
        answers: `[N, ...]` as the registered model gives them, or as `joined` does.
        targets: `[N, ...]` as they are stored.
        about: What they mean.

    Raises:
        UserError: for answers that are none to these targets.
    """
    found: dict[str, float] = {}
    for head, own, truths in about.pairs(answers, targets):
        if head.kind == "classes":
            measured = _of_classes(own, truths, head)
        elif head.kind == "labels":
            measured = _of_labels(own, truths)
        else:
            measured = {name: _OF_ERRORS[name](own, truths, about) for name in _OF_TASK.get(about.task, _OF_NUMBERS)}
        found |= {f"{head.name}/{name}" if head.name else name: value for name, value in measured.items()}
    return found


def confusions(answers: Answers, targets: Array, about: About) -> dict[str, NDArray[np.int64]]:
    """By name of a head with up to 100 classes, `[C, C]`: how many of each (rows) were taken for each (columns).

    Raises:
        UserError: for answers that are none to these targets.
    """
    pairs = about.pairs(answers, targets)
    return {head.name: confusion(own, truths, head) for head, own, truths in pairs if 0 < head.classes <= MOST_CLASSES}


def confusion(answers: Array, truths: Array, head: Head) -> NDArray[np.int64]:
    """`[C, C]`, those that count of each class (rows) that were taken for each class (columns).

    There are more than the head's classes if more were answered.
    """
    size = max(head.classes, int(answers.max(initial=0)) + 1)
    total = np.zeros(size * size, np.int64)
    for rows in _some(truths):
        counting = head.counts(truths[rows])
        places = truths[rows][counting].astype(np.int64) * size + answers[rows][counting]
        total += np.bincount(places, minlength=size * size)
    return total.reshape(size, size)


def mean_iou(matrix: NDArray[np.int64]) -> float:
    """Intersection over union, tp / (tp + fp + fn), the mean over the classes that stand anywhere; 1 if none does."""
    own, both = matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1)
    stands = both > 0
    return float((own / np.maximum(both - own, 1))[stands].mean()) if stands.any() else 1.0


def dice(matrix: NDArray[np.int64]) -> float:
    """2 tp / (2 tp + fp + fn), of two classes that of the second, else the mean over those that stand anywhere.

    It is 1 if none does. Source: Dice, "Measures of the amount of ecologic association between species", 1945.
    """
    own, both = matrix.diagonal(), matrix.sum(axis=0) + matrix.sum(axis=1)
    if len(matrix) == 2:
        own, both = own[1:], both[1:]
    stands = both > 0
    return float((2 * own / np.maximum(both, 1))[stands].mean()) if stands.any() else 1.0


def flat(items: Array) -> Array:
    """`[N, numbers of an item]`, also of no items."""
    return items.reshape(len(items), math.prod(items.shape[1:]))


def by_item(function: Callable[[Floats], Floats], answers: Array, truths: Array) -> Floats:
    """`[N]`, the mean over each item of a function of its errors, in float64."""
    found = [flat(function(own - true)).mean(axis=1) for own, true in _in_parts(answers, truths)]
    return np.concatenate([np.empty(0), *found])


def _in_parts(answers: Array, truths: Array) -> Iterator[tuple[Floats, Floats]]:
    """Both in float64, some items at a time."""
    return ((answers[rows].astype(np.float64), truths[rows].astype(np.float64)) for rows in _some(truths))


def _some(truths: Array) -> Iterator[slice]:
    """All items, some at a time."""
    step = max(1, NUMBERS // max(1, math.prod(truths.shape[1:])))
    return (slice(first, first + step) for first in range(0, len(truths), step))


def _of_classes(answers: Array, truths: Array, head: Head) -> dict[str, float]:
    accuracy = {"accuracy": float((answers == truths)[head.counts(truths)].mean())}
    if truths.ndim == 1:
        return accuracy
    matrix = confusion(answers, truths, head)
    return {"mean_iou": mean_iou(matrix), "dice": dice(matrix), **accuracy}


def _of_labels(answers: Array, truths: Array) -> dict[str, float]:
    taken = answers >= 0.5
    right, all_of_both = int((taken & truths).sum()), int(taken.sum() + truths.sum())
    found = {
        "subset_accuracy": float(flat(taken == truths).all(axis=1).mean()),
        "f1": 2 * right / all_of_both if all_of_both else 1.0,
    }
    if answers.dtype.kind == "f" and truths.any():
        found["mean_average_precision"] = _average_precision(answers, truths)
    return found


def _average_precision(scores: Array, truths: Array) -> float:
    """Sum (R_n - R_(n-1)) P_n over the thresholds n between scores, the mean over the labels that anything has.

    R is recall, P precision of what is above. Source: Manning et al., "Introduction to information retrieval", 2008,
    without interpolation.
    """
    found = []
    for own, is_true in zip(flat(scores).T, flat(truths).T, strict=True):
        if is_true.any():
            order = np.argsort(-own, kind="stable")
            last = np.append(np.flatnonzero(np.diff(own[order])), len(own) - 1)  # of those with equal scores
            hits = np.cumsum(is_true[order])[last]
            found.append(float((np.diff(hits, prepend=0) / hits[-1] * hits / (last + 1)).sum()))
    return float(np.mean(found))


def _mean_absolute_error(answers: Array, truths: Array, about: About) -> float:
    return float(by_item(np.abs, answers, truths).mean())


def _mse(answers: Array, truths: Array, about: About) -> float:
    return float(by_item(np.square, answers, truths).mean())


def _skill(answers: Array, truths: Array, about: About) -> float:
    """1 - mse / variance of all targets; 0 where these do not vary."""
    variance = float(truths.var(dtype=np.float64))
    return 1 - _mse(answers, truths, about) / variance if variance > 0 else 0.0


def _psnr(answers: Array, truths: Array, about: About) -> float:
    """The peak signal-to-noise ratio in dB, the mean over the images; infinite if one is without fault."""
    with np.errstate(divide="ignore"):
        return float((10 * np.log10(about.span**2 / by_item(np.square, answers, truths))).mean())


def _ssim(answers: Array, truths: Array, about: About) -> float:
    """The mean structural similarity over windows of 11 x 11 pixels, Gaussian with sigma 1.5; smaller if images are.

    Source: Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004.
    """
    c1, c2 = (K1 * about.span) ** 2, (K2 * about.span) ** 2
    found = []
    for one, two in _in_parts(answers, truths):
        first, second = _blurred(one), _blurred(two)
        variances = _blurred(one * one + two * two) - first * first - second * second
        covariance = _blurred(one * two) - first * second
        above = (2 * first * second + c1) * (2 * covariance + c2)
        below = (first * first + second * second + c1) * (variances + c2)
        found.append(flat(above / below).mean(axis=1))
    return float(np.concatenate(found).mean())


def _blurred(images: Floats) -> Floats:
    """The means of all windows that lie within images `[..., H, W]`."""
    for axis in (-2, -1):
        side = images.shape[axis]
        length = min(WINDOW, side)
        weights = np.exp(-((np.arange(length) - (length - 1) / 2) ** 2) / (2 * SIGMA**2))
        images = ndimage.correlate1d(images, weights / weights.sum(), axis=axis)
        whole: list[Any] = [slice(None)] * images.ndim
        whole[axis] = slice(length // 2, length // 2 + side - length + 1)
        images = images[tuple(whole)]
    return images


_OF_ERRORS: Mapping[str, Callable[[Array, Array, About], float]] = {
    "mean_absolute_error": _mean_absolute_error,
    "rmse": lambda answers, truths, about: math.sqrt(_mse(answers, truths, about)),
    "mse": _mse,
    "skill": _skill,
    "psnr": _psnr,
    "ssim": _ssim,
}

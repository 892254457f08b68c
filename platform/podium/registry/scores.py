"""Scores of a registered model, item by item of a test split: what two models are compared by. Pure arithmetic."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from podium.registry.answers import About, Answers, Array, Head
from podium.registry.metrics import MOST_CLASSES, Floats, by_item, confusion, dice, flat, mean_iou


class Slice(NamedTuple):
    """Some items: `rows` `[n]` int64, those whose `by` (`class`, `class of HEAD` or `group`) is `name`."""

    by: str
    name: str
    rows: NDArray[np.int64]


def losses(answers: Answers, targets: Array, about: About) -> tuple[str, Floats]:
    """One loss for each item, the lower the better, and what it is called.

    It is that which the sweep's objective stands for: 0 or 1 (`error`) for a class; for pixels or labels the share of
    wrong ones, for `mean_iou` and `dice` 1 minus those of the image by itself, for `subset_accuracy` whether any label
    is wrong; for numbers the absolute error for `mean_absolute_error`, and else the squared one, the mean over an
    item's numbers. Of several heads it is that of the one that the objective names, or the mean of them all, however
    different their units are.

    Args:
        answers: `[N, ...]` as the registered model gives them, or as `joined` does.
        targets: `[N, ...]` as they are stored.
        about: What they mean.

    Returns:
        The name and `[N]` float64. It is 0 for what does not count, of which `counted` tells.

    Raises:
        UserError: for answers that are none to these targets.
    """
    found = []
    for head, own, truths in about.pairs(answers, targets):
        if head in _compared(about):
            name, function = _loss(head, truths)
            found.append((f"{name} of {head.name}" if head.name else name, function(own, truths, head)))
    if len(found) == 1:
        return found[0]
    return "mean of " + ", ".join(name for name, _ in found), np.mean([each for _, each in found], axis=0)


def counted(targets: Array, about: About) -> NDArray[np.bool_]:
    """`[N]`, whether anything of an item counts: not if all of it is of classes that are ignored."""
    found = np.zeros(len(targets), dtype=bool)
    for head in _compared(about):
        found |= flat(head.counts(head.truths(targets))).any(axis=1)
    return found


def slices(
    targets: Array, groups: NDArray[np.str_] | None, about: About, class_names: Sequence[str] = ()
) -> Iterator[Slice]:
    """The items by class, of up to 100 classes, and by group; those that were left out are left out before.

    Args:
        targets: `[N, ...]` as they are stored.
        groups: `[N]`; None if there are none.
        about: What targets mean.
        class_names: What the source calls the classes; empty if it numbers them.
    """
    for head in about.heads:
        truths = head.truths(targets)
        if head.kind == "classes" and truths.ndim == 1 and head.classes <= MOST_CLASSES:
            for number, rows in _together(truths):
                name = class_names[number] if class_names and not head.name else str(number)
                yield Slice(f"class of {head.name}" if head.name else "class", name, rows)
    if groups is not None:
        for group, rows in _together(groups):
            yield Slice("group", str(group), rows)


def baseline(train: Iterable[Array], targets: Array, about: About) -> tuple[str, Answers]:
    """What a predictor answers that never looks at its inputs, for want of a champion.

    It gives the most frequent class of the train split (of all its pixels, for maps; of several as frequent, the
    lowest), each label that more than half of the samples have, and the mean of each number.

    Args:
        train: `[M, ...]`, the targets of the train split as they are stored, some at a time.
        targets: `[N, ...]`, those of the test split.
        about: What they mean.

    Returns:
        What it does in words, and answers to N items, of which no copies are made: they cannot be written to.
    """
    count, totals = 0, {head.name: np.zeros(()) for head in about.heads}
    for some in train:
        count += len(some)
        for head in about.heads:
            totals[head.name] = totals[head.name] + _total(head, head.truths(some))
    words, answers = [], dict[str, Array]()
    for head in about.heads:
        said, answer = _trivial(head, totals[head.name], count)
        words.append(f"{said} of {head.name}" if head.name else said)
        answers[head.name] = np.broadcast_to(answer, head.truths(targets).shape)
    return "always answers " + ", ".join(words), answers.get("", answers)


def _total(head: Head, truths: Array) -> Floats:
    """How many of each class there are, or the sum over the items."""
    if head.kind == "classes":
        counts = np.bincount(truths.ravel(), minlength=head.classes).astype(np.float64)
        counts[list(head.ignored)] = 0
        return counts
    sums: Floats = truths.sum(axis=0, dtype=np.float64)
    return sums


def _trivial(head: Head, total: Floats, count: int) -> tuple[str, Array]:
    if head.kind == "classes":
        return "the most frequent class", np.asarray(np.argmax(total))
    if head.kind == "labels":
        return "the labels that most samples have", (total > count / 2).astype(np.int64)
    return "the mean", total / count


def _together(values: Array) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """Each value with its rows."""
    order = np.argsort(values, kind="stable")
    found, firsts = np.unique(values[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, firsts)[1:], strict=True)


def _compared(about: About) -> tuple[Head, ...]:
    """The head that the objective names; all if it names none."""
    return tuple(head for head in about.heads if head.metric) or about.heads


Loss = Callable[[Array, Array, Head], Floats]


def _loss(head: Head, truths: Array) -> tuple[str, Loss]:
    if head.kind == "numbers":
        return _ABSOLUTE if head.metric == "mean_absolute_error" else _SQUARED
    if head.kind == "labels":
        return _ANY if head.metric == "subset_accuracy" else ("share of wrong labels", _share)
    if truths.ndim == 1:
        return "error", _share
    return _OF_MAPS.get(head.metric, ("share of wrong pixels", _share))


def _share(answers: Array, truths: Array, head: Head) -> Floats:
    """The share of what counts that is wrong."""
    if head.kind == "labels":
        answers = answers >= 0.5
    counts = flat(head.counts(truths))
    wrong = flat(answers != truths) & counts
    shares: Floats = wrong.sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    return shares


def _by_image(number: Callable[[NDArray[np.int64]], float]) -> Loss:
    def found(answers: Array, truths: Array, head: Head) -> Floats:
        return np.array([1 - number(confusion(*pair, head)) for pair in zip(answers, truths, strict=True)], np.float64)

    return found


_ABSOLUTE: tuple[str, Loss] = ("absolute error", lambda answers, truths, head: by_item(np.abs, answers, truths))
_SQUARED: tuple[str, Loss] = ("squared error", lambda answers, truths, head: by_item(np.square, answers, truths))
_ANY: tuple[str, Loss] = ("any label wrong", lambda answers, truths, head: np.ceil(_share(answers, truths, head)))
_OF_MAPS: dict[str, tuple[str, Loss]] = {
    "mean_iou": ("1 - mean IoU", _by_image(mean_iou)),
    "dice": ("1 - Dice", _by_image(dice)),
}

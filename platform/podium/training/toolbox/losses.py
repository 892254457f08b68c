"""Training, the toolbox: losses, one for each sample. The loop reduces them.

Networks give scores that softmax or a sigmoid would make probabilities of. The losses here do that themselves, in the
logarithm, where it is exact; metrics of the highest score do without; the registered model does it at its end.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from podium.errors import SpecError
from podium.spec.components import LossSettings
from podium.training.toolbox.hyperparameters import Number, like

if TYPE_CHECKING:
    from podium.training.task import Batch

Losses = Tensor | tuple[Tensor, Tensor]
"""One loss a sample, `[B]`, or (losses, weights), both `[B]`, where samples do not count alike."""


def class_losses(outputs: Tensor, batch: "Batch") -> Losses:
    """The loss of each sample whose target is a class, or a mask with a class at each place.

    Cross-entropy (`auto`) and focal loss are means over the places of a sample, weighted by their classes' weights; the
    sample weighs as much as its places do on average, so that all places of all samples count as their classes say.
    Dice loss is one for a sample, which weighs 0 if none of its places counts, and else 1.

    Args:
        outputs: `[B, C, ...]`, scores.
        batch: With targets `[B, ...]` of any integer type, below C.

    Raises:
        SpecError: for a loss that is not for classes.
    """
    targets, values, weights = batch.targets.long(), batch.values, batch.class_weights
    if weights is not None:
        weights = weights.to(outputs.dtype)
    is_dense = targets.dim() > 1
    allowed = ("cross_entropy", "focal", *(("dice", "dice_cross_entropy") if is_dense else ()))
    kind = _kind(batch.loss, allowed, "masks of classes" if is_dense else "one class a sample")
    if kind == "dice":
        return _counted(dice(outputs, targets, weights), targets, weights)
    if kind == "focal":
        return _weighted(focal(outputs, targets, values["loss.gamma"]), targets, weights)
    found = _weighted(cross_entropy(outputs, targets, values["loss.label_smoothing"]), targets, weights)
    if kind == "cross_entropy":
        return found
    both = dice(outputs, targets, weights) + (found[0] if isinstance(found, tuple) else found)
    return _counted(both, targets, weights)


def number_losses(outputs: Tensor, batch: "Batch") -> Tensor:
    """The loss of each sample whose target is numbers: `mse` (`auto`), `l1` or `huber`.

    Args:
        outputs: `[B, ...]`.
        batch: With targets `[B, ...]`, of as many elements.

    Returns:
        `[B]`.

    Raises:
        SpecError: for a loss that is not for numbers, or class weights.
    """
    kind = _kind(batch.loss, ("mse", "l1", "huber"), "numbers")
    if batch.class_weights is not None:
        key = "class_weights" if batch.loss.class_weights != "none" else "ignore"
        raise SpecError("is for classes, and the targets are numbers; leave it out", key=f"loss.{key}")
    if kind == "huber":
        return huber(outputs, batch.targets, batch.values["loss.delta"])
    return (square_error if kind == "mse" else absolute_error)(outputs, batch.targets)


def label_losses(outputs: Tensor, batch: "Batch") -> Tensor:
    """The loss of each sample whose target says of several labels whether it has them: `binary` (`auto`) or `focal`.

    Args:
        outputs: `[B, C]`, scores: a sigmoid makes a probability of each.
        batch: With targets `[B, C]` of 0 and 1. Class weights are those of the labels.

    Returns:
        `[B]`, means over the labels.

    Raises:
        SpecError: for another loss.
    """
    kind = _kind(batch.loss, ("binary", "focal"), "several labels a sample")
    losses = functional.binary_cross_entropy_with_logits(outputs, batch.targets.to(outputs.dtype), reduction="none")
    if kind == "focal":
        losses = losses * _still_wrong(losses, batch.values["loss.gamma"])
    if batch.class_weights is None:
        return losses.mean(dim=1)
    weights = batch.class_weights.to(losses.dtype)
    return (losses * weights).sum(dim=1) / weights.sum()


def class_weights(loss: LossSettings, classes: int, counts: Sequence[int]) -> Tensor | None:
    """What a sample (a pixel of a mask) of each class counts.

    Balanced, with n samples of a class among N of C classes: N / (C n), and 0 for a class without samples; what is
    ignored is left out of N and C. Source: King and Zeng, "Logistic regression in rare events data", 2001.

    Args:
        loss: The settings.
        classes: How many there are; for several labels a sample, how many of these.
        counts: The samples of each class in the train split; empty for numbers.

    Returns:
        `[C]` float32, or None where all count alike.

    Raises:
        SpecError: for settings that do not fit the classes.
    """
    if loss.class_weights == "none" and loss.ignore is None:
        return None
    if loss.ignore is not None and loss.ignore >= classes:
        raise SpecError(f"is {loss.ignore}, and the classes are 0 to {classes - 1}", key="loss.ignore")
    counting = torch.ones(classes, dtype=torch.float64)
    if loss.ignore is not None:
        counting[loss.ignore] = 0
    if loss.class_weights == "none":
        return counting.float()
    if loss.class_weights == "balanced":
        if not counts:
            raise SpecError(
                "is balanced, and the data's targets are no classes that could be counted; give a list of weights",
                key="loss.class_weights",
            )
        found = torch.tensor(counts, dtype=torch.float64) * counting
        present = found > 0
        return torch.where(present, found.sum() / (present.sum() * found.clamp(min=1)), 0.0).float()
    if len(loss.class_weights) != classes:
        raise SpecError(
            f"has {len(loss.class_weights)} weights, and there are {classes} classes; give one for each",
            key="loss.class_weights",
        )
    weights = torch.tensor(loss.class_weights, dtype=torch.float64) * counting
    if not weights.any():
        raise SpecError("leaves no class a weight above 0, so that nothing would count", key="loss.class_weights")
    return weights.float()


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: Number = 0.0) -> Tensor:
    """Cross-entropy in nats against targets mixed with the uniform distribution.

    With s the smoothing: (1 - s) * -log p[target] + s * mean over classes of -log p.
    Source of the smoothing: Szegedy et al., 2015, arXiv:1512.00567.

    Args:
        logits: `[B, C, ...]`.
        targets: `[B, ...]` int64, below C.
        label_smoothing: In [0, 1).

    Returns:
        `[B, ...]`.
    """
    scores = _log_softmax(logits)
    hard = -_at(scores, targets)
    if isinstance(label_smoothing, float) and label_smoothing == 0.0:
        return hard
    return hard + (-scores.mean(dim=0) - hard) * label_smoothing


def focal(logits: Tensor, targets: Tensor, gamma: Number) -> Tensor:
    """Cross-entropy, less of it where it is small: (1 - p[target])^gamma * -log p[target].

    Source: Lin et al., 2017, arXiv:1708.02002, whose alpha are the class weights. Shapes as in `cross_entropy`.
    """
    losses = -_at(_log_softmax(logits), targets)
    return losses * _still_wrong(losses, gamma)


def dice(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """The soft Dice loss of each sample: 1 - (2 sum p t + 1) / (sum p^2 + sum t^2 + 1), a mean over the classes.

    p are the probabilities of a class at all places, t is 1 where the class stands. Places of a class that weighs 0 are
    left out of the sums, and the mean is weighted. Source: Milletari et al., 2016, arXiv:1606.04797, for one class; the
    1 is added so that a class that a sample lacks does no harm.

    Args:
        logits: `[B, C, ...]`.
        targets: `[B, ...]` int64, below C.
        weights: `[C]`; None for all alike.

    Returns:
        `[B]`.
    """
    given = functional.softmax(logits, dim=1)
    classes = torch.arange(logits.shape[1], device=targets.device).view(1, -1, *[1] * (targets.dim() - 1))
    wanted = (targets.unsqueeze(1) == classes).to(given.dtype)
    if weights is not None:
        counts = (weights > 0)[targets].unsqueeze(1).to(given.dtype)
        given, wanted = given * counts, wanted * counts
    given, wanted = given.flatten(2), wanted.flatten(2)
    overlap = 2 * (given * wanted).sum(dim=2) + 1
    losses = 1 - overlap / (given.square().sum(dim=2) + wanted.sum(dim=2) + 1)
    return losses.mean(dim=1) if weights is None else (losses * weights).sum(dim=1) / weights.sum()


def square_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The square error, averaged over the elements of each target.

    Args:
        outputs: `[B, ...]`.
        targets: `[B, ...]`, of as many elements.

    Returns:
        `[B]`.
    """
    return _difference(outputs, targets).square().mean(dim=1)


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The absolute error, averaged over the elements of each target; shapes as in `square_error`."""
    return _difference(outputs, targets).abs().mean(dim=1)


def huber(outputs: Tensor, targets: Tensor, delta: Number) -> Tensor:
    """d^2 / 2 for errors d below delta, else delta (|d| - delta / 2); averaged, and shapes, as in `square_error`.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    errors = _difference(outputs, targets).abs()
    delta = like(errors, delta)
    return torch.where(errors < delta, errors.square() / 2, delta * (errors - delta / 2)).mean(dim=1)


def _kind(loss: LossSettings, allowed: tuple[str, ...], what: str) -> str:
    """The loss to take, the first one allowed for `auto`."""
    if loss.kind == "auto":
        return allowed[0]
    if loss.kind not in allowed:
        raise SpecError(
            f"is {loss.kind}, and the targets are {what}, for which there is {', '.join(allowed)}", key="loss.kind"
        )
    return loss.kind


def _log_softmax(logits: Tensor) -> Tensor:
    """`[C, B, ...]`: over the first dimension the softmax of many samples is much faster than over a short last one."""
    return functional.log_softmax(logits.transpose(0, 1), dim=0)


def _at(scores: Tensor, targets: Tensor) -> Tensor:
    return scores.gather(0, targets.unsqueeze(0)).squeeze(0)


def _still_wrong(losses: Tensor, gamma: Number) -> Tensor:
    """(1 - p)^gamma of losses -log p; above 0, since no power below 1 has a slope there."""
    wrong = -torch.expm1(-losses)
    return wrong.clamp(min=torch.finfo(losses.dtype).eps) ** like(losses, gamma)


def _weighted(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Losses:
    """Means over places, and samples that weigh as their places do on average; from losses `[B, ...]`."""
    if weights is None:
        return losses.flatten(1).mean(dim=1) if losses.dim() > 1 else losses
    counts = weights[targets].to(losses.dtype)
    if losses.dim() == 1:
        return losses, counts
    losses, counts = losses.flatten(1), counts.flatten(1)
    total = counts.sum(dim=1)
    return (losses * counts).sum(dim=1) / torch.where(total == 0, 1, total), total / counts.shape[1]


def _counted(losses: Tensor, targets: Tensor, weights: Tensor | None) -> Losses:
    """Samples that weigh 1, but 0 where no place counts; from losses `[B]`."""
    if weights is None:
        return losses
    return losses, (weights > 0)[targets].flatten(1).any(dim=1).to(losses.dtype)


def _difference(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.reshape(targets.shape) - targets).reshape(len(targets), -1)

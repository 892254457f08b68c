"""Training, the toolbox: losses, one for each sample. The loop reduces them."""

from torch import Tensor
from torch.nn import functional

from podium.training.toolbox.hyperparameters import Number


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: Number = 0.0) -> Tensor:
    """Cross-entropy in nats against targets mixed with the uniform distribution.

    With s the smoothing: (1 - s) * -log p[target] + s * mean over classes of -log p.
    Source of the smoothing: Szegedy et al., 2015, arXiv:1512.00567.

    Args:
        logits: `[B, C]`.
        targets: `[B]` int64, below C.
        label_smoothing: In [0, 1).

    Returns:
        `[B]`.
    """
    if isinstance(label_smoothing, float) and label_smoothing == 0.0:
        return functional.cross_entropy(logits, targets, reduction="none")
    scores = functional.log_softmax(logits, dim=1)
    hard = functional.nll_loss(scores, targets, reduction="none")
    return hard + (-scores.mean(dim=1) - hard) * label_smoothing


def square_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The square error, averaged over the elements of each target.

    Args:
        outputs: `[B, ...]`.
        targets: `[B, ...]`, of as many elements.

    Returns:
        `[B]`.
    """
    return _per_sample(outputs, targets).square().mean(dim=1)


def absolute_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """The absolute error, averaged over the elements of each target; shapes as in `square_error`."""
    return _per_sample(outputs, targets).abs().mean(dim=1)


def _per_sample(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.reshape(targets.shape) - targets).reshape(len(targets), -1)

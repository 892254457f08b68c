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
    # over the first dimension the softmax of many samples is much faster than over a short last one
    scores = functional.log_softmax(logits.T, dim=0)
    hard = -scores.gather(0, targets.unsqueeze(0)).squeeze(0)
    if isinstance(label_smoothing, float) and label_smoothing == 0.0:
        return hard
    return hard + (-scores.mean(dim=0) - hard) * label_smoothing


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

import pytest
import torch
from torch import nn

from podium.training.flat import flatten
from podium.training.toolbox.losses import absolute_error, cross_entropy, square_error
from podium.training.toolbox.penalties import add_penalties, clip, norms_of

LOGITS = torch.linspace(-2, 3, 20, dtype=torch.float64).view(4, 5)
TARGETS = torch.tensor([0, 4, 2, 1])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_is_that_of_torch(smoothing: float) -> None:
    expected = nn.functional.cross_entropy(LOGITS, TARGETS, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(cross_entropy(LOGITS, TARGETS, smoothing), expected)
    torch.testing.assert_close(cross_entropy(LOGITS, TARGETS, torch.tensor(smoothing, dtype=torch.float64)), expected)


def test_errors_are_one_number_a_sample_whatever_the_shape_of_a_target() -> None:
    assert square_error(torch.tensor([[1.0], [3.0]]), torch.tensor([0.0, 1.0])).tolist() == [1.0, 4.0]
    assert square_error(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 0.0]])).tolist() == [5.0]
    assert absolute_error(torch.tensor([[1.0, -3.0]]), torch.tensor([[0.0, 0.0]])).tolist() == [2.0]


def test_penalties_are_gradients_of_their_formula_on_weights_alone() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).double()
    flat = flatten(network)
    flat.gradients.normal_(generator=torch.Generator().manual_seed(0))
    before = flat.gradients.clone()
    weight = network[0].weight.detach().clone().requires_grad_()
    (0.3 * weight.abs().sum() + 0.7 * weight.square().sum()).backward()
    add_penalties(flat, 0.3, 0.7)
    added = flat.gradients - before
    torch.testing.assert_close(added[:, flat.penalized.bool()].view(2, 3), weight.grad)
    assert not added[:, ~flat.penalized.bool()].any()


def test_clipping_bounds_each_lane_and_leaves_small_gradients() -> None:
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clip(gradients, 1.0, norms_of(gradients))
    torch.testing.assert_close(gradients, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))

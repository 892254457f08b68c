import pytest
import torch
from torch import nn

from podium.errors import TaskError
from podium.training.flat import ALIGNMENT, fixed_state, flatten


def test_parameters_and_gradients_are_aligned_views() -> None:
    network = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    flat = flatten(network)
    assert flat.count == 3 * 5 + 5 + 5 * 2 + 2
    for parameter, value in zip(network.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.storage_offset() % ALIGNMENT == 0
    network(torch.ones(4, 3)).sum().backward()
    assert torch.equal(network[1].bias.grad, torch.full((2,), 4.0))
    gradients = torch.cat([parameter.grad.reshape(-1) for parameter in network.parameters()])
    assert torch.equal(flat.gradients[flat.gradients != 0], gradients[gradients != 0])
    flat.weights.zero_()
    assert not any(parameter.any() for parameter in network.parameters())


def test_frozen_parameters_and_buffers_are_fixed_state_and_tied_weights_are_not() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    network[0].weight.requires_grad_(False)
    network[1].bias = network[0].bias
    flat = flatten(network)
    assert flat.count == 3 + 9 + 3 + 3
    assert set(fixed_state(network)) == {"0.weight", "2.running_mean", "2.running_var", "2.num_batches_tracked"}


def test_a_network_has_trainable_parameters_of_one_dtype() -> None:
    with pytest.raises(TaskError, match="ReLU has no trainable parameters"):
        flatten(nn.ReLU())
    with pytest.raises(TaskError, match="differ in dtype"):
        flatten(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1).double()))

"""Pictures of a network's inside say what they should: on networks whose inside is known."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import Tensor, nn
from torch.nn import functional

from podium.training.inside.attribution import integrated_gradients, occlusion
from podium.training.inside.filters import first_filters
from podium.training.inside.judging import calibrate, confusion, worst_mistakes
from podium.training.inside.maximization import maximize
from podium.training.inside.projection import channel_peaks, convolutions, project

RANDOM = np.random.default_rng(0)


class Corner(nn.Module):
    """Class 1 for what is bright in the upper left quarter, class 0 else."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2] // 2, images.shape[3] // 2
        brightness = images[:, :, :height, :width].mean(dim=(1, 2, 3))
        return torch.stack([-brightness, brightness], dim=1)


class Templates(nn.Module):
    """How much an image is like each of some templates."""

    def __init__(self, templates: Tensor) -> None:
        super().__init__()
        self.templates = nn.Parameter(templates)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(images.flatten(1) @ self.templates.flatten(1).T / 10)


def edge_network() -> nn.Sequential:
    """A first channel for vertical edges, a second one for nothing; then a pooled sum, and a linear layer."""
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(2, 1, 1),
        nn.ReLU(),
        nn.Flatten(),
    )
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].weight[0, 0] = torch.tensor([[-1.0, 0.0, 1.0]] * 3)
        network[3].weight[:] = torch.tensor([1.0, 5.0]).reshape(1, 2, 1, 1)
        network[3].bias.zero_()
    return network


def test_the_first_filter_is_the_one_that_was_put_in() -> None:
    filters = first_filters(edge_network(), (1, 8, 8))
    assert filters is not None
    assert filters.shape == (2, 1, 3, 3)
    np.testing.assert_array_equal(filters[0, 0], [[-1, 0, 1]] * 3)
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 3, 5), nn.ReLU(), nn.Linear(5, 2))
    shown = first_filters(perceptron, (2, 4, 3))
    assert shown is not None
    torch.testing.assert_close(shown[3].flatten(), perceptron[1].weight[3].detach())
    assert first_filters(nn.Sequential(nn.Linear(3, 2)), (1, 4, 4)) is None
    assert first_filters(nn.Sequential(nn.ReLU()), (1, 4, 4)) is None


def test_a_projection_lights_the_edge_that_excites_the_channel() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 5:] = 1.0
    network = edge_network()
    layers = convolutions(network)
    assert list(layers) == ["0", "3"]
    torch.testing.assert_close(channel_peaks(network, layers["0"], image), torch.tensor([[3.0, 0.0]]))
    carried = project(network, layers["0"], image, torch.tensor([0]))
    place = (carried[0, 0] != 0).nonzero()
    assert place.shape == (6, 2)
    assert sorted(set(place[:, 1].tolist())) in ([3, 5], [4, 6])
    top = int(place[:, 0].min())
    np.testing.assert_array_equal(carried[0, 0, top : top + 3].unique(), [-3.0, 0.0, 3.0])


def test_a_projection_is_a_deconvolution_by_hand() -> None:
    """Through two layers: transposed kernels, unpooling to where the maxima were, and positive parts."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(3, 4, 3))
    images, channels = torch.randn(5, 2, 8, 8), torch.tensor([0, 1, 2, 3, 1])
    with torch.no_grad():
        first = network[0](images)
        pooled, switches = functional.max_pool2d(first, 2, return_indices=True)
        last = network[3](pooled.relu())
        signal = torch.zeros_like(last)
        for row, channel in enumerate(channels.tolist()):
            flat = last[row, channel].flatten()
            signal[row, channel].view(-1)[flat.argmax()] = flat.max()
        signal = functional.conv_transpose2d(signal, network[3].weight).relu()
        signal = functional.max_unpool2d(signal, switches, 2)
        expected = functional.conv_transpose2d(signal, network[0].weight, padding=1)
    torch.testing.assert_close(project(network, network[3], images, channels), expected)
    assert not [handle for each in network.modules() for handle in (each._forward_hooks or each._backward_hooks)]


def test_occlusion_lights_the_corner_that_the_network_looks_at() -> None:
    images = torch.ones(2, 3, 14, 14)
    found = occlusion(Corner(), "softmax", images, torch.tensor([1, 0]))
    assert found.shape == (2, 14, 14)
    assert (found[0, :6, :6] > 0).all()
    torch.testing.assert_close(found[1], -found[0]), "what speaks for one class speaks against the other"
    assert found[0, 8:, :].abs().max() < 1e-6
    assert found[0, :, 8:].abs().max() < 1e-6


def test_integrated_gradients_add_up_to_the_difference_of_outputs() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 36, 8), nn.Tanh(), nn.Linear(8, 3))
    images, classes = torch.randn(4, 2, 6, 6), torch.tensor([0, 1, 2, 1])
    found = integrated_gradients(network, images, classes)
    assert found.shape == (4, 6, 6)
    gained = (network(images) - network(torch.zeros_like(images))).gather(1, classes.unsqueeze(1))
    torch.testing.assert_close(found.sum(dim=(1, 2)), gained.detach()[:, 0], atol=1e-3, rtol=1e-2)
    assert integrated_gradients(Corner(), images, classes % 2)[:, 3:].abs().max() == 0


def test_what_excites_a_unit_most_looks_like_its_template() -> None:
    templates = torch.zeros(3, 1, 12, 12)
    templates[0, 0, 2:6], templates[1, 0, :, 8:11], templates[2, 0, 6:, :6] = 1.0, 1.0, 1.0
    limits = (torch.full((1, 1, 1), -0.5), torch.full((1, 1, 1), 2.0))
    found = maximize(Templates(templates), (1, 12, 12), torch.arange(3), limits)
    assert found.shape == (3, 1, 12, 12)
    assert (found.amin(), found.amax()) >= (-0.5, 0.0)
    assert found.amax() <= 2.0
    like = np.corrcoef(torch.cat([found.flatten(1), templates.flatten(1)]).numpy())[:3, 3:]
    assert like.diagonal().min() > 0.7
    assert like.argmax(axis=1).tolist() == [0, 1, 2]
    again = maximize(Templates(templates), (1, 12, 12), torch.arange(3), limits)
    assert torch.equal(found, again), "nothing in it is drawn"


def test_the_confusion_matrix_is_scikit_learns() -> None:
    truths, predicted = RANDOM.integers(0, 4, (2, 200))
    expected = confusion_matrix(truths, predicted, labels=range(5))
    np.testing.assert_array_equal(confusion(truths, predicted, 5), expected)
    masks = confusion(truths.reshape(2, 10, 10).astype(np.uint8), predicted.reshape(2, 10, 10), 5)
    np.testing.assert_array_equal(masks, expected)


def test_the_calibration_error_by_hand() -> None:
    """Two bins: four samples at 0.9, three of them right; two at 0.55, one of them right."""
    sure = [0.9, 0.9, 0.9, 0.9, 0.55, 0.55]
    truths = np.array([0, 0, 0, 1, 0, 1])
    found = calibrate(np.array([[each, 1 - each] for each in sure]), truths)
    assert found.error == pytest.approx((4 * 0.15 + 2 * 0.05) / 6)
    filled = found.counts > 0
    assert found.counts[filled].tolist() == [2, 4]
    assert found.accuracy[filled] == pytest.approx([0.5, 0.75])
    assert found.confidence[filled] == pytest.approx([0.55, 0.9])
    certain = calibrate(np.eye(3)[[0, 1, 2]], np.array([0, 1, 2]))
    assert (certain.error, certain.counts[-1]) == (0.0, 3)


def test_the_worst_mistakes_come_first() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.05, 0.95], [0.7, 0.3]])
    truths = np.array([1, 1, 1, 0, 0])
    assert worst_mistakes(probabilities, truths, 9).tolist() == [3, 0, 1]
    assert worst_mistakes(probabilities, truths, 1).tolist() == [3]

import math

import pytest
import torch
from torch import nn

from podium.spec.sweep import InitializerSettings
from podium.training.toolbox.initializers import SCHEMES, fans, initialize

LINEAR, KERNEL = (200, 300), (32, 16, 5, 5)
VARIANCES = {
    "small_normal": lambda fan_in, fan_out: 1e-4,
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "variance_scaling": lambda fan_in, fan_out: 1 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
}


def test_fans_count_the_kernel() -> None:
    assert fans(LINEAR) == (300, 200)
    assert fans(KERNEL) == (16 * 25, 32 * 25)


@pytest.mark.parametrize("shape", [LINEAR, KERNEL])
@pytest.mark.parametrize("scheme", VARIANCES)
def test_variance_is_that_of_the_closed_form(scheme: str, shape: tuple[int, ...]) -> None:
    drawn = SCHEMES[scheme](shape, 5, InitializerSettings(scheme=scheme))
    assert drawn.shape == shape
    assert float(drawn.mean()) == pytest.approx(0, abs=0.03 * float(drawn.std()))
    assert float(drawn.var()) == pytest.approx(VARIANCES[scheme](*fans(shape)), rel=0.04)
    if scheme.endswith("uniform"):
        assert float(drawn.abs().max()) <= math.sqrt(3 * VARIANCES[scheme](*fans(shape)))


@pytest.mark.parametrize(("fan", "size"), [("in", 300), ("out", 200), ("average", 250)])
def test_variance_scaling_takes_its_fan_and_scale(fan: str, size: int) -> None:
    settings = InitializerSettings(scheme="variance_scaling", fan=fan, scale=3.0)
    assert float(SCHEMES["variance_scaling"](LINEAR, 5, settings).var()) == pytest.approx(3 / size, rel=0.03)


def test_small_normal_takes_its_scale() -> None:
    settings = InitializerSettings(scheme="small_normal", scale=0.5)
    assert float(SCHEMES["small_normal"](LINEAR, 5, settings).std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (8, 2, 3, 3)])
def test_orthogonal_is_orthonormal_along_its_shorter_side(shape: tuple[int, ...]) -> None:
    drawn = SCHEMES["orthogonal"](shape, 5, InitializerSettings(scheme="orthogonal"))
    matrix = drawn.reshape(shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    assert torch.allclose(matrix @ matrix.T, torch.eye(len(matrix), dtype=torch.float64), atol=1e-12)


def test_a_weight_depends_on_seed_and_name_and_not_on_its_neighbours() -> None:
    alone = nn.ModuleDict({"a": nn.Linear(4, 3)})
    together = nn.ModuleDict({"before": nn.Linear(9, 2), "a": nn.Linear(4, 3), "b": nn.Linear(4, 3)})
    other_seed = nn.ModuleDict({"a": nn.Linear(4, 3)})
    for network, seed in ((alone, 1), (together, 1), (other_seed, 2)):
        initialize(network, InitializerSettings(), seed)
    assert torch.equal(alone["a"].weight, together["a"].weight)
    assert not torch.equal(together["a"].weight, together["b"].weight)
    assert not torch.equal(alone["a"].weight, other_seed["a"].weight)


def test_biases_are_zero_and_norms_stay() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    initialize(network, InitializerSettings(), 1)
    assert torch.equal(network[0].bias, torch.zeros(3))
    assert torch.equal(network[1].weight, torch.ones(3))

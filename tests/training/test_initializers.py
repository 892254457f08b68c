import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training_bench import Bench, make_spec

from podium.data.reader import Reader
from podium.spec.sweep import InitializerSettings
from podium.sweep.messages import Advance, Lane
from podium.training.toolbox.initializers import SCHEMES, fans, initialize, unit_variance

LINEAR, KERNEL = (200, 300), (32, 16, 5, 5)
VARIANCES = {
    "small_normal": lambda fan_in, fan_out: 1e-4,
    "xavier_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "xavier_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "variance_scaling": lambda fan_in, fan_out: 1 / fan_in,
    "he_uniform": lambda fan_in, fan_out: 2 / fan_in,
    "he_normal": lambda fan_in, fan_out: 2 / fan_in,
    "lecun_uniform": lambda fan_in, fan_out: 1 / fan_in,
    "lecun_normal": lambda fan_in, fan_out: 1 / fan_in,
}


def draw(scheme: str, shape: tuple[int, ...], **settings: Any) -> torch.Tensor:
    return SCHEMES[scheme](shape, fans(shape), 5, InitializerSettings(scheme=scheme, **settings))


def test_fans_count_the_kernel() -> None:
    assert fans(LINEAR) == (300, 200)
    assert fans(KERNEL) == (16 * 25, 32 * 25)


@pytest.mark.parametrize("shape", [LINEAR, KERNEL])
@pytest.mark.parametrize("scheme", VARIANCES)
def test_variance_is_that_of_the_closed_form(scheme: str, shape: tuple[int, ...]) -> None:
    drawn = draw(scheme, shape)
    assert drawn.shape == shape
    assert float(drawn.mean()) == pytest.approx(0, abs=0.03 * float(drawn.std()))
    assert float(drawn.var()) == pytest.approx(VARIANCES[scheme](*fans(shape)), rel=0.04)
    if scheme.endswith("uniform"):
        assert float(drawn.abs().max()) <= math.sqrt(3 * VARIANCES[scheme](*fans(shape)))


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(("fan", "size"), [("in", 300), ("out", 200), ("average", 250)])
def test_variance_scaling_takes_its_fan_scale_and_distribution(fan: str, size: int, distribution: str) -> None:
    drawn = draw("variance_scaling", LINEAR, fan=fan, scale=3.0, distribution=distribution)
    assert float(drawn.var()) == pytest.approx(3 / size, rel=0.03)
    assert (float(drawn.abs().max()) <= math.sqrt(9 / size)) == (distribution == "uniform")


def test_small_normal_takes_its_scale() -> None:
    assert float(draw("small_normal", LINEAR, scale=0.5).std()) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (8, 2, 3, 3)])
def test_orthogonal_is_orthonormal_along_its_shorter_side(shape: tuple[int, ...]) -> None:
    drawn = draw("orthogonal", shape)
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


def test_biases_start_at_their_constant() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.GRU(3, 2))
    initialize(network, InitializerSettings(bias=0.25), 1)
    assert torch.equal(network[0].bias, torch.full((3,), 0.25))
    assert torch.equal(network[2].bias_hh_l0, torch.full((6,), 0.25))


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2), (3, 1)])
def test_a_transposed_convolution_keeps_the_variance_of_what_it_is_given(kernel: int, stride: int) -> None:
    layer = nn.ConvTranspose2d(64, 24, kernel, stride=stride)
    initialize(layer, InitializerSettings(scheme="lecun_normal"), 3)
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = layer(torch.randn(16, 64, 12, 12))[:, :, kernel:-kernel, kernel:-kernel]
    assert float(outputs.var()) == pytest.approx(1, rel=0.06)
    assert float(layer.weight.detach().var()) == pytest.approx(stride**2 / (64 * kernel**2), rel=0.06)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_recurrent_weights_are_drawn_gate_by_gate(kind: type[nn.RNNBase]) -> None:
    for recurrent in ("identity", "orthogonal"):
        layer, same = kind(3, 4), kind(3, 4)
        initialize(layer, InitializerSettings(recurrent=recurrent), 1)
        initialize(same, InitializerSettings(), 1)
        gates = layer.weight_hh_l0.detach().split(4)
        for gate in gates:
            torch.testing.assert_close(gate @ gate.T, torch.eye(4))
            assert torch.equal(gate, torch.eye(4)) == (recurrent == "identity")
        assert len({tuple(gate.flatten().tolist()) for gate in gates}) == (1 if recurrent == "identity" else len(gates))
        assert torch.equal(layer.weight_ih_l0, same.weight_ih_l0)
        assert not torch.equal(layer.weight_hh_l0, same.weight_hh_l0)


class _Layers(nn.Module):
    """Layers that do not run in the order in which they were made."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(40, 3)
        self.middle = nn.Sequential(nn.Sigmoid(), nn.Conv1d(6, 4, 3, padding=1), nn.Sigmoid(), nn.Flatten())
        self.first = nn.Linear(5, 10)
        self.seen: dict[str, float] = {}

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first = self.first(inputs)
        second = self.middle[1](self.middle[0](first))
        last: torch.Tensor = self.last(self.middle[3](self.middle[2](second)))
        outputs = {"first": first, "second": second, "last": last}
        self.seen = {name: float(each.detach().var()) for name, each in outputs.items()}
        return last


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_lsuv_gives_each_layer_unit_variance_and_keeps_its_directions(bias: float) -> None:
    network, orthogonal = _Layers(), _Layers()
    settings = InitializerSettings(scheme="lsuv", bias=bias)
    for each in (network, orthogonal):
        initialize(each, settings, 1)
    torch.manual_seed(0)
    batch = 3 * torch.randn(32, 6, 5)
    unit_variance(network, batch)
    network(batch)
    assert network.seen == pytest.approx(dict.fromkeys(network.seen, 1.0), abs=1e-5)
    for one, other in zip(network.parameters(), orthogonal.parameters(), strict=True):
        factor = float(one.detach().norm() / other.detach().norm()) if other.norm() > 0 else 1.0
        torch.testing.assert_close(one, factor * other)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_a_trial_starts_at_unit_variance_and_so_in_a_stack(bench: Callable[..., Bench], blobs: Path) -> None:
    spec = make_spec(initializer={"scheme": "lsuv"}, optimizer={"learning_rate": 1e-9}, fuse=2)
    lanes = tuple(Lane(trial=number, parameters={}, seed=number) for number in range(2))
    plain, stack = bench(spec, data=blobs), bench(spec, data=blobs)
    stack.trainer.advance(Advance(key="key", gang="gang", until=1, lanes=lanes))
    (batch,) = list(Reader(blobs).epoch("train", batch_size=16, seed=0, epoch=0))[:1]
    for lane in lanes:
        plain.advance(1, lane)
        assert stack.curve(lane.trial)[1] == pytest.approx(plain.curve(lane.trial)[1], rel=1e-4)
        network = plain.trainer._cache[lane.trial].network.eval()
        with torch.no_grad():
            outputs = network(torch.from_numpy(batch.inputs).to(next(network.parameters()).device))
        assert float(outputs.var()) == pytest.approx(1, abs=1e-3)

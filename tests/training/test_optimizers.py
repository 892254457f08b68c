from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from podium.spec.sweep import OptimizerSettings
from podium.training.flat import FlatWeights, lay_out
from podium.training.toolbox.optimizers import RULES, make_optimizer

CASES: list[tuple[dict[str, Any], Any]] = [
    ({"kind": "sgd"}, lambda p: torch.optim.SGD(p, lr=0.05)),
    ({"kind": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    (
        {"kind": "sgd", "momentum": 0.9, "nesterov": True},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    ),
    (
        {"kind": "adam", "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6},
        lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.99), eps=1e-6),
    ),
    ({"kind": "adamw", "weight_decay": 0.1}, lambda p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1)),
    (
        {"kind": "adadelta", "rho": 0.8, "epsilon": 1e-5},
        lambda p: torch.optim.Adadelta(p, lr=0.05, rho=0.8, eps=1e-5),
    ),
    ({"kind": "adagrad", "epsilon": 1e-6}, lambda p: torch.optim.Adagrad(p, lr=0.05, eps=1e-6)),
    ({"kind": "rmsprop", "rho": 0.95}, lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.95)),
    (
        {"kind": "rmsprop", "rho": 0.8, "momentum": 0.7, "epsilon": 1e-5},
        lambda p: torch.optim.RMSprop(p, lr=0.05, alpha=0.8, momentum=0.7, eps=1e-5),
    ),
    ({"kind": "nadam", "beta1": 0.95, "beta2": 0.99}, lambda p: torch.optim.NAdam(p, lr=0.05, betas=(0.95, 0.99))),
]


def flat_of(rows: Tensor) -> FlatWeights:
    """Lanes of two parameters, of 16 numbers and of what is left."""
    flat = lay_out({"first": rows[0, :16].clone(), "second": rows[0, 16:].clone()})
    assert flat.weights.shape[1] == rows.shape[1]
    return replace(flat, weights=rows.clone())


def gradient(weights: Tensor) -> Tensor:
    """Of a function that is neither convex nor separable."""
    return torch.cos(3 * weights) + 0.2 * weights + 0.1 * weights.roll(1, dims=-1)


@pytest.fixture
def doubles() -> Iterator[None]:
    """Torch keeps what NAdam multiplies over the steps in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(("settings", "reference"), CASES, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_steps_are_those_of_torch(settings: dict[str, Any], reference: Any) -> None:
    flat = flat_of(torch.linspace(-2, 2, 32, dtype=torch.float64).view(1, -1))
    weights, theirs = flat.weights, torch.nn.Parameter(flat.weights.clone())
    optimizer = make_optimizer(OptimizerSettings(**settings), flat)
    torch_optimizer = reference([theirs])
    for step in range(1, 21):
        optimizer.step(weights, gradient(weights), 0.05, step)
        theirs.grad = gradient(theirs.detach())
        torch_optimizer.step()
        torch.testing.assert_close(weights, theirs.detach(), rtol=1e-11, atol=1e-13)


def lamb_by_hand(parameters: list[Tensor], steps: int, rate: float, decay: float) -> list[Tensor]:
    """Algorithm 2 of the paper, a parameter at a time."""
    beta1, beta2, epsilon = 0.8, 0.95, 1e-6
    means, squares = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
    for step in range(1, steps + 1):
        slopes = gradient(torch.cat(parameters).view(1, -1))[0].split([len(each) for each in parameters])
        for number, slope in enumerate(slopes):
            means[number] = beta1 * means[number] + (1 - beta1) * slope
            squares[number] = beta2 * squares[number] + (1 - beta2) * slope**2
            along = means[number] / (1 - beta1**step) / ((squares[number] / (1 - beta2**step)).sqrt() + epsilon)
            along = along + decay * parameters[number]
            trust = parameters[number].norm() / along.norm() if parameters[number].norm() > 0 else 1.0
            parameters[number] = parameters[number] - rate * trust * along
    return parameters


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_lamb_steps_each_parameter_by_its_own_norm(decay: float) -> None:
    start = torch.cat([torch.zeros(16), torch.linspace(-2, 2, 16)]).double()
    settings = OptimizerSettings(kind="lamb", beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=decay)
    flat = flat_of(start.view(1, -1))
    optimizer = make_optimizer(settings, flat)
    for step in range(1, 6):
        optimizer.step(flat.weights, gradient(flat.weights), 0.05, step)
    expected = lamb_by_hand([start[:16], start[16:]], 5, 0.05, decay)
    torch.testing.assert_close(flat.weights[0], torch.cat(expected), rtol=1e-10, atol=1e-12)
    assert not (flat.weights[0] == start).any(), "weights that are zero are moved, too"


def test_lion_steps_by_the_sign_of_an_interpolation() -> None:
    start = torch.linspace(-2, 2, 32, dtype=torch.float64).view(1, -1)
    flat, weights, mean = flat_of(start), start.clone(), torch.zeros_like(start)
    optimizer = make_optimizer(OptimizerSettings(kind="lion", beta1=0.9, beta2=0.6, weight_decay=0.1), flat)
    for step in range(1, 11):
        optimizer.step(flat.weights, gradient(flat.weights), 0.05, step)
        slope = gradient(weights)
        weights = weights - 0.05 * (torch.sign(0.9 * mean + 0.1 * slope) + 0.1 * weights)
        mean = 0.6 * mean + 0.4 * slope
        torch.testing.assert_close(flat.weights, weights, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", RULES)
def test_a_stack_of_lanes_steps_as_each_lane_alone(kind: str) -> None:
    rates, decays = (0.01, 0.1, 0.3), (0.0, 0.5, 0.9)
    start = torch.linspace(-2, 2, 96, dtype=torch.float64).view(3, 32)

    def run(weights: Tensor, rate: Any, decay: Any) -> Tensor:
        optimizer = make_optimizer(OptimizerSettings(kind=kind), flat_of(weights))
        names = ("momentum", "beta1", "rho", "weight_decay")
        values = type(optimizer.values)(**{**vars(optimizer.values), **dict.fromkeys(names, decay)})
        for step in range(1, 6):
            optimizer.rule(weights, gradient(weights), optimizer.state, values, rate, step)
        return weights

    def column(numbers: tuple[float, ...]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.float64).view(-1, 1)

    stacked = run(start.clone(), column(rates), column(decays))
    alone = [run(start[lane : lane + 1].clone(), rates[lane], decays[lane]) for lane in range(3)]
    torch.testing.assert_close(stacked, torch.cat(alone), rtol=1e-12, atol=1e-14)

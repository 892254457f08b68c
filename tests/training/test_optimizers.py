from typing import Any

import pytest
import torch
from torch import Tensor

from podium.spec.sweep import OptimizerSettings
from podium.training.toolbox.optimizers import make_optimizer

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
]


def gradient(weights: Tensor) -> Tensor:
    """Of a function that is neither convex nor separable."""
    return torch.cos(3 * weights) + 0.2 * weights + 0.1 * weights.roll(1, dims=-1)


@pytest.mark.parametrize(("settings", "reference"), CASES, ids=lambda case: str(case) if isinstance(case, dict) else "")
def test_steps_are_those_of_torch(settings: dict[str, Any], reference: Any) -> None:
    weights = torch.linspace(-2, 2, 17, dtype=torch.float64).view(1, -1)
    theirs = torch.nn.Parameter(weights.clone())
    optimizer = make_optimizer(OptimizerSettings(**settings), weights)
    torch_optimizer = reference([theirs])
    for step in range(1, 21):
        optimizer.step(weights, gradient(weights), 0.05, step)
        theirs.grad = gradient(theirs.detach())
        torch_optimizer.step()
        torch.testing.assert_close(weights, theirs.detach(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "adadelta"])
def test_a_stack_of_lanes_steps_as_each_lane_alone(kind: str) -> None:
    rates, decays = (0.01, 0.1, 0.3), (0.0, 0.5, 0.9)
    start = torch.linspace(-2, 2, 24, dtype=torch.float64).view(3, 8)

    def run(weights: Tensor, rate: Any, decay: Any) -> Tensor:
        optimizer = make_optimizer(OptimizerSettings(kind=kind), weights)
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

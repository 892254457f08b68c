"""Activations, against their formulas written out with Python's own mathematics."""

import math
from collections.abc import Callable

import pytest
import torch

from podium.training.toolbox.activations import ACTIVATIONS

FORMULAS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(0.0, x),
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": lambda x: (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x)),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.exp(x) - 1,
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * (math.exp(x) - 1)),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "swish": lambda x: x / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name: str) -> None:
    points = [-3.0, -0.5, 0.0, 0.25, 2.0]
    expected = [FORMULAS[name](point) for point in points]
    assert ACTIVATIONS[name]()(torch.tensor(points, dtype=torch.float64)).tolist() == pytest.approx(expected, abs=1e-6)

"""Training, the toolbox: optimizers as pure rules over flat tensors of `[K, P]`, changed in place.

Hyperparameters are values: numbers, or `[K, 1]` tensors with one value for each lane. Steps count from 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from podium.spec.sweep import OptimizerSettings
from podium.training.toolbox.losses import Number


@dataclass(frozen=True)
class Values:
    """The hyperparameters that stay the same over a trial; those that a rule does not use are ignored by it."""

    momentum: Number
    beta1: Number
    beta2: Number
    rho: Number
    epsilon: Number
    weight_decay: Number
    nesterov: bool


State = Mapping[str, Tensor]
Rule = Callable[[Tensor, Tensor, State, Values, Number, int], None]
"""(weights, gradients, state, values, learning rate, step): changes weights and state."""


def sgd(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Gradient descent with momentum: v = momentum * v + g, w -= rate * v; no damping.

    Nesterov's form steps along g + momentum * v (Sutskever et al., ICML 2013). State: `velocity`.
    """
    velocity = state["velocity"].mul_(values.momentum).add_(gradients)
    direction = velocity * values.momentum + gradients if values.nesterov else velocity
    weights.sub_(direction * rate)


def adam(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Adam (Kingma and Ba, 2014, arXiv:1412.6980), with the bias corrections of the paper.

    State: `mean` and `square`, the running means of the gradients and of their squares.
    """
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradients, 1 - values.beta1)
    square.lerp_(gradients * gradients, 1 - values.beta2)
    root = square.sqrt().mul_((1 - values.beta2**step) ** -0.5).add_(values.epsilon)
    weights.sub_(torch.div(mean, root, out=root).mul_(rate / (1 - values.beta1**step)))


def adamw(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Adam with decoupled weight decay, of all parameters (Loshchilov and Hutter, 2017, arXiv:1711.05101)."""
    weights.mul_(1 - rate * values.weight_decay)
    adam(weights, gradients, state, values, rate, step)


def adadelta(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """AdaDelta (Zeiler, 2012, arXiv:1212.5701), its step multiplied by the learning rate.

    State: `square`, the running mean of squared gradients, and `delta`, that of squared steps.
    """
    square, delta = state["square"], state["delta"]
    square.lerp_(gradients * gradients, 1 - values.rho)
    moved = (delta + values.epsilon).sqrt_().div_((square + values.epsilon).sqrt_()).mul_(gradients)
    delta.lerp_(moved * moved, 1 - values.rho)
    weights.sub_(moved.mul_(rate))


RULES: Mapping[str, tuple[Rule, tuple[str, ...]]] = {
    "sgd": (sgd, ("velocity",)),
    "adam": (adam, ("mean", "square")),
    "adamw": (adamw, ("mean", "square")),
    "adadelta": (adadelta, ("square", "delta")),
}
"""Each rule with the names of its state tensors."""


@dataclass(frozen=True)
class Optimizer:
    """A rule with its hyperparameters and state.

    Attributes:
        rule: What a step does.
        values: The hyperparameters.
        state: By name, tensors shaped as the weights, zero before the first step.
    """

    rule: Rule
    values: Values
    state: State

    def step(self, weights: Tensor, gradients: Tensor, rate: Number, step: int) -> None:
        """Changes `weights` by one step, the `step`-th from 1, with the learning rate `rate`."""
        self.rule(weights, gradients, self.state, self.values, rate, step)


def make_optimizer(settings: OptimizerSettings, weights: Tensor) -> Optimizer:
    """The optimizer that `settings` name, before its first step over weights of `[K, P]`."""
    rule, names = RULES[settings.kind]
    values = Values(**{each.name: getattr(settings, each.name) for each in fields(Values)})
    return Optimizer(rule, values, {name: torch.zeros_like(weights) for name in names})

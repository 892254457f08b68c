"""Training, the toolbox: optimizers as pure rules over flat tensors of `[K, P]`, changed in place.

Hyperparameters are values: numbers, or float64 `[K, 1]` tensors with one value for each lane. Steps count from 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from podium.spec.sweep import OptimizerSettings
from podium.training.toolbox.hyperparameters import Number, for_lanes, like


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
"""(weights, gradients, state, values, learning rate, step): changes weights and state, and uses the gradients up."""

NEARLY_ZERO = 1e-36
"""What is added under a root: those of zeros and of denormals take up to thirty times as long on a CPU."""


def sgd(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Gradient descent with momentum: v = momentum * v + g, w -= rate * v; no damping.

    Nesterov's form steps along g + momentum * v (Sutskever et al., ICML 2013). State: `velocity`.
    """
    momentum = like(weights, values.momentum)
    velocity = state["velocity"].mul_(momentum).add_(gradients)
    direction = velocity * momentum + gradients if values.nesterov else velocity
    weights.sub_(direction * like(weights, rate))


def adam(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Adam (Kingma and Ba, 2014, arXiv:1412.6980), with the bias corrections of the paper.

    State: `mean` and `square`, the running means of the gradients and of their squares.
    """
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradients, like(weights, 1 - values.beta1))
    square.lerp_(gradients.mul_(gradients), like(weights, 1 - values.beta2))
    root = torch.add(square, NEARLY_ZERO, out=gradients).sqrt_()
    root.mul_(like(weights, (1 - values.beta2**step) ** -0.5)).add_(like(weights, values.epsilon))
    weights.sub_(torch.div(mean, root, out=root).mul_(like(weights, rate / (1 - values.beta1**step))))


def adamw(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Adam with decoupled weight decay, of all parameters (Loshchilov and Hutter, 2017, arXiv:1711.05101)."""
    weights.mul_(like(weights, 1 - rate * values.weight_decay))
    adam(weights, gradients, state, values, rate, step)


def adadelta(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """AdaDelta (Zeiler, 2012, arXiv:1212.5701), its step multiplied by the learning rate.

    State: `square`, the running mean of squared gradients, and `delta`, that of squared steps.
    """
    square, delta = state["square"], state["delta"]
    decay, epsilon = like(weights, 1 - values.rho), like(weights, values.epsilon)
    square.lerp_(gradients * gradients, decay)
    moved = (delta + epsilon).sqrt_().div_((square + epsilon).sqrt_()).mul_(gradients)
    delta.lerp_(moved * moved, decay)
    weights.sub_(moved.mul_(like(weights, rate)))


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

    def row(self, lane: int) -> "Optimizer":
        """One lane of a stack, its state as views."""
        return replace(self, state={name: value[lane : lane + 1] for name, value in self.state.items()})


def make_optimizer(settings: OptimizerSettings, weights: Tensor) -> Optimizer:
    """The optimizer that `settings` name, before its first step over weights of `[K, P]`."""
    rule, names = RULES[settings.kind]
    values = Values(**{each.name: getattr(settings, each.name) for each in fields(Values)})
    return Optimizer(rule, values, {name: torch.zeros_like(weights) for name in names})


def stack(optimizers: Sequence[Optimizer]) -> Optimizer:
    """A copy of the optimizers of several lanes, of one kind, in one."""
    first = optimizers[0]
    device = next(iter(first.state.values())).device
    numbers = {
        each.name: for_lanes([getattr(optimizer.values, each.name) for optimizer in optimizers], device)
        for each in fields(Values)
        if each.name != "nesterov"
    }
    state = {name: torch.cat([optimizer.state[name] for optimizer in optimizers]) for name in first.state}
    return Optimizer(first.rule, Values(**numbers, nesterov=first.values.nesterov), state)

"""Training, the toolbox: optimizers as pure rules over flat tensors of `[K, P]`, changed in place.

Hyperparameters are values: numbers, or float64 `[K, 1]` tensors with one value for each lane. Steps count from 1.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from podium.spec.sweep import OptimizerSettings
from podium.training.flat import FlatWeights
from podium.training.toolbox.hyperparameters import Number, for_lanes, like


@dataclass(frozen=True)
class Values:
    """What stays the same over a trial; what a rule does not use is ignored by it.

    Attributes:
        spans: Where in a row each parameter begins, and one past its end.
    """

    momentum: Number
    beta1: Number
    beta2: Number
    rho: Number
    epsilon: Number
    weight_decay: Number
    nesterov: bool
    spans: Sequence[tuple[int, int]] = ()


NUMBERS = tuple(each.name for each in fields(Values) if each.type == Number)
"""Those of the `Values` that may differ between lanes."""

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


def adagrad(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Adagrad: w -= rate * g / (sqrt(sum of all g^2 so far) + epsilon). State: `square`, that sum.

    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization",
    JMLR 2011.
    """
    square = state["square"].addcmul_(gradients, gradients)
    root = (square + NEARLY_ZERO).sqrt_().add_(like(weights, values.epsilon))
    weights.sub_(gradients.div_(root).mul_(like(weights, rate)))


def rmsprop(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """RMSprop with momentum: v = momentum * v + g / (sqrt(running mean of g^2) + epsilon), w -= rate * v.

    The mean decays by rho and is not centred. Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", Coursera, 2012.
    State: `square`, the mean, and `velocity`.
    """
    square = state["square"].lerp_(gradients * gradients, like(weights, 1 - values.rho))
    root = (square + NEARLY_ZERO).sqrt_().add_(like(weights, values.epsilon))
    velocity = state["velocity"].mul_(like(weights, values.momentum)).add_(gradients.div_(root))
    weights.sub_(velocity * like(weights, rate))


def nadam(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """NAdam, Adam with Nesterov's momentum (Dozat, 2016, "Incorporating Nesterov momentum into Adam", ICLR workshop).

    The momentum of step t is m_t = beta1 * (1 - 0.96^(0.004 t) / 2), and the step goes along
    (1 - m_t) / (1 - m_1 … m_t) * g + m_{t+1} / (1 - m_1 … m_{t+1}) * mean of g, over Adam's root.
    State: `mean` and `square`, as Adam's.
    """
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradients, like(weights, 1 - values.beta1))
    square.lerp_(gradients * gradients, like(weights, 1 - values.beta2))
    root = (square + NEARLY_ZERO).sqrt_().mul_(like(weights, (1 - values.beta2**step) ** -0.5))
    root.add_(like(weights, values.epsilon))
    now, following = (values.beta1 * _nadam_factor(number) for number in (step, step + 1))
    passed = values.beta1**step * _nadam_product(min(step, NADAM_STEPS))
    own = rate * (1 - now) / (1 - passed)
    past = rate * following / (1 - passed * following)
    weights.sub_(gradients.mul_(like(weights, own)).add_(mean * like(weights, past)).div_(root))


NADAM_STEPS = 200
"""After so many steps the product of NAdam's momenta is below 10^-50, and 1 less that is 1."""


def _nadam_factor(step: int) -> float:
    return float(1 - 0.5 * 0.96 ** (0.004 * step))


@functools.cache
def _nadam_product(step: int) -> float:
    return math.prod(_nadam_factor(number) for number in range(1, step + 1))


def lamb(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """LAMB (You et al., 2019, arXiv:1904.00962): w -= rate * |w| / |u| * u, for each parameter tensor by itself.

    u is Adam's step, bias corrections included, plus weight_decay * w; |.| are Euclidean norms, and their ratio is 1
    where either is 0. All parameters decay, biases and norms, too. State: `mean` and `square`, as Adam's.
    """
    mean, square = state["mean"], state["square"]
    mean.lerp_(gradients, like(weights, 1 - values.beta1))
    square.lerp_(gradients.mul_(gradients), like(weights, 1 - values.beta2))
    root = torch.add(square, NEARLY_ZERO, out=gradients).sqrt_()
    root.mul_(like(weights, (1 - values.beta2**step) ** -0.5)).add_(like(weights, values.epsilon))
    moved = torch.div(mean, root, out=root).mul_(like(weights, 1 / (1 - values.beta1**step)))
    moved.add_(weights * like(weights, values.weight_decay))
    for first, last in values.spans:
        own, along = weights[:, first:last], moved[:, first:last]
        norm, size = (torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (own, along))
        along.mul_(torch.where((norm > 0) & (size > 0), norm / size, 1.0))
    weights.sub_(moved.mul_(like(weights, rate)))


def lion(weights: Tensor, gradients: Tensor, state: State, values: Values, rate: Number, step: int) -> None:
    """Lion (Chen et al., 2023, arXiv:2302.06675): w -= rate * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * w).

    Afterwards m = beta2 * m + (1 - beta2) * g; the paper takes beta2 = 0.99. Its steps are as large as the rate in
    each element, so that rates are three to ten times smaller than Adam's. All parameters decay. State: `mean`, m.
    """
    mean = state["mean"]
    sign = mean.lerp(gradients, like(weights, 1 - values.beta1)).sign_()
    weights.mul_(like(weights, 1 - rate * values.weight_decay)).sub_(sign.mul_(like(weights, rate)))
    mean.lerp_(gradients, like(weights, 1 - values.beta2))


RULES: Mapping[str, tuple[Rule, tuple[str, ...]]] = {
    "sgd": (sgd, ("velocity",)),
    "adam": (adam, ("mean", "square")),
    "adamw": (adamw, ("mean", "square")),
    "adadelta": (adadelta, ("square", "delta")),
    "adagrad": (adagrad, ("square",)),
    "rmsprop": (rmsprop, ("square", "velocity")),
    "nadam": (nadam, ("mean", "square")),
    "lamb": (lamb, ("mean", "square")),
    "lion": (lion, ("mean",)),
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


def make_optimizer(settings: OptimizerSettings, flat: FlatWeights) -> Optimizer:
    """The optimizer that `settings` name, before its first step."""
    rule, names = RULES[settings.kind]
    spans = tuple((start, start + shape.numel()) for start, shape in flat.places.values())
    values = Values(**{name: getattr(settings, name) for name in (*NUMBERS, "nesterov")}, spans=spans)
    return Optimizer(rule, values, {name: torch.zeros_like(flat.weights) for name in names})


def stack(optimizers: Sequence[Optimizer]) -> Optimizer:
    """A copy of the optimizers of several lanes, of one kind, in one."""
    first = optimizers[0]
    device = next(iter(first.state.values())).device
    numbers: dict[str, Any] = {
        name: for_lanes([getattr(optimizer.values, name) for optimizer in optimizers], device) for name in NUMBERS
    }
    state = {name: torch.cat([optimizer.state[name] for optimizer in optimizers]) for name in first.state}
    return Optimizer(first.rule, replace(first.values, **numbers), state)

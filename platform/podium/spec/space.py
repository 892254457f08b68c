"""The search space: domains, conditions, and which parameters leave a trial's structure alone. Pure."""

import fnmatch
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated

from pydantic import Strict
from typing_extensions import TypeAliasType

from podium.errors import SpecError

Value = TypeAliasType("Value", "bool | int | float | str | Annotated[tuple[Value, ...], Strict(False)] | None")

FUSIBLE = {
    "seed": "initial weights and masks are drawn per lane",
    "initializer.*": "only the initial weights differ",
    "optimizer.learning_rate": "a number the optimizer multiplies by",
    "optimizer.momentum": "a number the optimizer multiplies by",
    "optimizer.beta1": "a number the optimizer multiplies by",
    "optimizer.beta2": "a number the optimizer multiplies by",
    "optimizer.rho": "a number the optimizer multiplies by",
    "optimizer.epsilon": "a number the optimizer adds",
    "optimizer.weight_decay": "a number the optimizer multiplies by",
    "optimizer.clip": "a number the gradients are scaled by",
    "penalty.*": "a number added to the gradients",
    "network.dropout": "a rate that masks are compared with",
    "network.spatial_dropout": "a rate that masks are compared with",
    "loss.label_smoothing": "a number the targets are mixed with",
    "loss.delta": "a number that errors are compared with",
    "loss.gamma": "an exponent of probabilities",
    "loss.kl_weight": "a number the loss multiplies by",
    "loss.kl_floor": "a number the loss is compared with",
    "loss.sparsity": "a number the loss multiplies by",
    "heads.*.weight": "a number that a head's loss is multiplied by",
    "schedule.*": "a number per step",
    "stopping.*": "decides when a lane ends, not what it computes",
}
"""Patterns of parameters that change neither shapes, graph nor batch, with the reason."""


@dataclass(frozen=True, slots=True)
class Float:
    """A real interval, both ends included; on a log scale, or in steps from `low`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def contains(self, value: Value) -> bool:
        """Whether `value` is a number within the interval, and on the grid if there is a step."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-6

    def values(self) -> tuple[Value, ...] | None:
        """All values, or None if there are infinitely many."""
        if self.step is None:
            return (self.low,) if self.low == self.high else None
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        return tuple(min(self.low + index * self.step, self.high) for index in range(count))


@dataclass(frozen=True, slots=True)
class Int:
    """A range of integers, both ends included; on a log scale, or in steps from `low`."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def contains(self, value: Value) -> bool:
        """Whether `value` is an integer of the range."""
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def values(self) -> Sequence[Value]:
        """All values, ascending; a range, since there may be billions."""
        return range(self.low, self.high + 1, self.step)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values, which may be lists."""

    options: tuple[Value, ...]

    def contains(self, value: Value) -> bool:
        """Whether `value` is one of the options, of the same type."""
        return any(option == value and type(option) is type(value) for option in self.options)

    def values(self) -> tuple[Value, ...]:
        """All options, in the order given."""
        return self.options


Domain = Float | Int | Choice


@dataclass(frozen=True, slots=True)
class Parameter:
    """One searched key.

    Attributes:
        name: The dotted key.
        domain: The values it may take.
        when: For each parent key the values under which this parameter is active; all must hold.
    """

    name: str
    domain: Domain
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def is_active(self, values: Mapping[str, Value]) -> bool:
        """Whether every condition holds; a parent that is absent is inactive, and so is its child."""
        return all(parent in values and values[parent] in allowed for parent, allowed in self.when.items())


@dataclass(frozen=True)
class Space:
    """All searched parameters, parents before children.

    A name may stand several times with different domains, if their conditions exclude each other.
    `fixed` holds settings that are not searched, so that conditions may name them too.

    Raises:
        SpecError: for a condition on an unknown key, a cycle, or equal names that can be active together.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", _parents_first(self.parameters, self.fixed))
        for one, other in itertools.combinations(self.parameters, 2):
            if one.name == other.name and not _exclude_each_other(one, other):
                raise SpecError(
                    "stands twice with conditions that can both hold; make their `when` disjoint",
                    key=f"search.space.{one.name}",
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The searched keys, each once, parents before children."""
        return tuple(dict.fromkeys(parameter.name for parameter in self.parameters))

    @property
    def is_conditional(self) -> bool:
        """Whether any parameter can be inactive."""
        return any(parameter.when for parameter in self.parameters)

    def walk(self, choose: Callable[[Parameter], Value]) -> dict[str, Value]:
        """Builds one point, asking `choose` for each active parameter, parents first."""
        values = dict(self.fixed)
        chosen: dict[str, Value] = {}
        for parameter in self.parameters:
            if parameter.is_active(values):
                chosen[parameter.name] = values[parameter.name] = choose(parameter)
        return chosen

    def contains(self, values: Mapping[str, Value]) -> bool:
        """Whether `values` holds exactly the active parameters, each within its domain."""
        seen: dict[str, Value] = {}
        everything = {**self.fixed, **values}
        for parameter in self.parameters:
            if not parameter.is_active({**self.fixed, **seen}):
                continue
            if parameter.name not in values or not parameter.domain.contains(everything[parameter.name]):
                return False
            seen[parameter.name] = everything[parameter.name]
        return set(seen) == set(values)

    def grid(self) -> Iterator[dict[str, Value]]:
        """All points, the last parameter varying fastest.

        Raises:
            SpecError: for a continuous parameter without a step.
        """
        for parameter in self.parameters:
            if parameter.domain.values() is None:
                raise SpecError(
                    "is continuous, and a grid needs a finite number of values; give it a `step` or a `choice`",
                    key=f"search.space.{parameter.name}",
                )
        yield from self._expand(0, {})

    def _expand(self, index: int, chosen: dict[str, Value]) -> Iterator[dict[str, Value]]:
        if index == len(self.parameters):
            yield dict(chosen)
            return
        parameter = self.parameters[index]
        if not parameter.is_active({**self.fixed, **chosen}):
            yield from self._expand(index + 1, chosen)
            return
        for value in parameter.domain.values() or ():
            yield from self._expand(index + 1, {**chosen, parameter.name: value})

    def only(self, keep: Callable[[str], bool]) -> "Space":
        """The space of the parameters whose names `keep` accepts; conditions on others are dropped."""
        kept = [parameter for parameter in self.parameters if keep(parameter.name)]
        names = {parameter.name for parameter in kept} | set(self.fixed)
        return Space(
            tuple(
                Parameter(p.name, p.domain, {key: allowed for key, allowed in p.when.items() if key in names})
                for p in kept
            ),
            self.fixed,
        )


@cache
def fusible_because(name: str) -> str | None:
    """Why the parameter `name` is fusible, or None if it is structural."""
    return next((why for pattern, why in FUSIBLE.items() if fnmatch.fnmatchcase(name, pattern)), None)


def signature(parameters: Mapping[str, Value], fixed: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """The sorted active structural (key, value) pairs, fixed ones included."""
    merged = {**fixed, **parameters}
    return tuple(sorted((key, value) for key, value in merged.items() if fusible_because(key) is None))


def _parents_first(parameters: tuple[Parameter, ...], fixed: Mapping[str, Value]) -> tuple[Parameter, ...]:
    names = {parameter.name for parameter in parameters}
    for parameter in parameters:
        for parent in parameter.when:
            if parent not in names and parent not in fixed:
                raise SpecError(
                    f"depends on {parent!r}, which is neither searched nor set",
                    key=f"search.space.{parameter.name}.when",
                )
    ordered: list[Parameter] = []
    waiting = list(parameters)
    while waiting:
        placed = {parameter.name for parameter in waiting}
        ready = [parameter for parameter in waiting if not placed.intersection(parameter.when)]
        if not ready:
            raise SpecError(
                f"conditions form a cycle: {', '.join(sorted(placed))}", key=f"search.space.{waiting[0].name}.when"
            )
        ordered += ready
        waiting = [parameter for parameter in waiting if parameter not in ready]
    return tuple(ordered)


def _exclude_each_other(one: Parameter, other: Parameter) -> bool:
    shared = set(one.when) & set(other.when)
    return any(not set(one.when[key]) & set(other.when[key]) for key in shared)

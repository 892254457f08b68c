"""Constraints such as `parameters <= 1e6`: what a sweep's best trial has to meet. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from podium.errors import SpecError

Operator = Literal["<=", ">=", "<", ">"]

MISSING = 1.0
"""The violation where the metric is missing or not finite: as if the limit were exceeded by its own size."""

_COMPARISON = re.compile(r"\s*([A-Za-z_][\w./-]*)\s*(<=|>=|<|>)\s*(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Constraint:
    """A comparison of one number of a trial with a limit.

    Attributes:
        name: `parameters` (the network's size) or a metric.
        operator: How the number has to compare.
        limit: What it is compared with, finite.
    """

    name: str
    operator: Operator
    limit: float

    def violation(self, metrics: Mapping[str, float | None]) -> float:
        """By how much the constraint is missed, in units of the limit (or of 1, if that is larger).

        Zero or less is satisfied. The scale makes violations of several constraints comparable, since samplers
        add them up.
        """
        value = metrics.get(self.name)
        if value is None:
            return MISSING
        excess = value - self.limit if self.operator in ("<=", "<") else self.limit - value
        if excess == 0 and self.operator in ("<", ">"):
            return 1e-12
        return excess / max(1.0, abs(self.limit))

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.limit:g}"


def parse(text: str) -> Constraint:
    """Reads `name <= number`, with one of `<=`, `>=`, `<`, `>`.

    Raises:
        SpecError: if `text` is anything else.
    """
    match = _COMPARISON.fullmatch(text)
    limit = _finite(match[3]) if match else None
    if match is None or limit is None:
        raise SpecError(
            f"{text!r} is not a constraint; write a name, one of {', '.join(get_args(Operator))} and a number, "
            "such as 'parameters <= 1e6'",
            key="search.constraints",
        )
    operator: Operator = match[2]  # type: ignore[assignment]  # the pattern admits no other
    return Constraint(match[1], operator, limit)


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None

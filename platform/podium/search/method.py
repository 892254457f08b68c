"""What every way of drawing points has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from podium.spec.space import Value
from podium.sweep.trial import Trial


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the space, and what the method wants to find again in the trial's attributes."""

    parameters: dict[str, Value]
    attributes: dict[str, Value] = field(default_factory=dict)


class Method(Protocol):
    """A way of drawing points: a function of the arguments and the sweep's settings."""

    def draw(self, number: int, given: Mapping[str, Value], trials: Mapping[int, Trial]) -> Point | None:
        """The point of trial `number`, None if there is none left; what is `given` stays as it is."""
        ...

    def draw_mate(self, number: int, lead: Trial, trials: Mapping[int, Trial]) -> Point | None:
        """The point of trial `number`, which is to be a mate of `lead`; None if there is none left."""
        ...


def seed_of(*parts: int) -> int:
    """A 32-bit seed from non-negative integers of any size."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])

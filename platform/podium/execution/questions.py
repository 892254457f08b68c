"""Questions to ranks and hosts, whose answers come later or never."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from podium.sweep.messages import Event


@dataclass(frozen=True)
class Question:
    """What is done with an answer from afar, with an error in its place, and when nobody wants it any more."""

    answer: Callable[[Any], list[Event]]
    failed: Callable[[Exception], list[Event]]
    is_stale: Callable[[], bool] = lambda: False
    due: float = math.inf

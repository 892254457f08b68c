"""Training: how wide stacks are best. Measured in real steps, for each signature and device, and kept in the home."""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from podium.errors import PodiumError
from podium.store import read, write

STEPS = 3
"""Steps at each width; the first pays for what is done once, the fastest of the others counts."""

PAYS = 1.03
"""How much faster than plain training a stack has to be."""

FALLS = 0.9
"""Where a narrower stack has less than this share of the best rate, still narrower ones are not tried."""

FOLDER = "widths"


@dataclass(frozen=True)
class Known:
    """What is known of a signature.

    Attributes:
        rates: By width, samples a second summed over the lanes; 0 where memory ran out.
        reason: Why its trials cannot be stacked; empty if they can.
        metrics: Whether the task's metrics can be gathered for all lanes at once.
    """

    rates: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""
    metrics: bool = True

    @property
    def width(self) -> int:
        """The best width among those tried, 1 unless a stack pays; the widest that has room if none was measured."""
        if self.reason or not self.rates:
            return 1
        best = max(self.rates, key=lambda width: self.rates[width])
        if self.rates[best] == 0.0:
            return self.limit
        return best if self.rates[best] >= PAYS * self.rates.get(1, 0.0) else 1

    @property
    def limit(self) -> int:
        """The widest stack that memory may be large enough for."""
        return min((width // 2 for width, rate in self.rates.items() if rate == 0.0), default=1 << 30)

    def ran_out(self, width: int) -> "Known":
        """With memory too small for stacks of `width`."""
        return replace(self, rates={**{w: r for w, r in self.rates.items() if w < width}, width: 0.0})


class Race:
    """Tries the widths that are not known yet, plain training first, then from the widest on, in steps that count.

    Args:
        lanes: How many trials there are.
        known: What is known already.
        fixed: The width to take without trying others, as far as the trials can be stacked.

    Attributes:
        known: What is known so far.
    """

    def __init__(self, lanes: int, known: Known, fixed: int | None = None) -> None:
        self.known, self._fixed, self._steps = known, fixed, list[float]()
        self._widest = min(1 << (lanes - 1).bit_length(), known.limit)
        is_settled = lanes == 1 or known.reason or fixed is not None
        halves = (self._widest >> times for times in range(self._widest.bit_length() - 1))
        tried = max(known.rates, default=0)
        self._waiting = [] if is_settled else [width for width in (1, *halves) if width > tried]

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to try."""
        return not self._waiting

    @property
    def width(self) -> int:
        """How wide the stacks of the next step are."""
        if self._waiting:
            return self._waiting[0]
        wanted = self.known.width if self._fixed is None or self.known.reason else self._fixed
        return min(wanted, self._widest)

    def note(self, samples: int, seconds: float) -> None:
        """Takes in a step of all lanes, `samples` in sum."""
        self._steps.append(samples / seconds)
        if len(self._steps) < STEPS:
            return
        width, rate = self._waiting.pop(0), max(self._steps[1:])
        best = max((rate for tried, rate in self.known.rates.items() if tried > 1), default=0.0)
        if width > 1 and rate < FALLS * best:
            self._waiting = []
        self.known, self._steps = replace(self.known, rates={**self.known.rates, width: rate}), []


class Notes:
    """What was measured before, a file for each signature.

    Args:
        folder: This host's folder for what it keeps.
        circumstances: What measurements depend on beside the signature: task, data, device, threads, versions.
    """

    def __init__(self, folder: str, circumstances: Mapping[str, Any]) -> None:
        self._folder, self._circumstances = folder, dict(circumstances)

    def find(self, signature: tuple[Any, ...]) -> Known | None:
        """What is known of a signature; None if nothing is, or it cannot be read."""
        try:
            return read_known(json.loads(read(self._folder, self._name(signature))))
        except (PodiumError, OSError, ValueError, KeyError, AttributeError, TypeError):
            return None

    def keep(self, signature: tuple[Any, ...], known: Known) -> None:
        """Notes it for later launches; a full or read-only disk only means that it is measured again."""
        with contextlib.suppress(PodiumError, OSError):
            content = {**asdict(known), "circumstances": self._circumstances}
            write(self._folder, self._name(signature), json.dumps(content, default=str).encode())

    def _name(self, signature: tuple[Any, ...]) -> str:
        text = json.dumps([signature, self._circumstances], sort_keys=True, default=str)
        return f"{FOLDER}/{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}.json"


def read_known(found: Mapping[str, Any]) -> Known:
    """`Known` from JSON.

    Raises:
        ValueError: if it is none; so do KeyError, AttributeError and TypeError.
    """
    rates = {int(width): float(rate) for width, rate in found["rates"].items()}
    return Known(rates, str(found["reason"]), bool(found["metrics"]))

"""Which parameters matter: seconds of work where there are many trials, done aside and only now and then."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podium_board.pictures import Picture

AGAIN_S = 60.0
"""After so long it is worked out anew of a sweep that has gone on."""


@dataclass
class _Known:
    place: tuple[str, int] = ("", -1)
    until: float = 0.0
    shares: Mapping[str, float] = field(default_factory=dict)


class Importance:
    """What was found of each sweep.

    Args:
        tell: Called with a sweep's name when something else was found of it.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[str, _Known] = {}
        self._working = threading.Lock()

    def of(self, picture: Picture) -> Mapping[str, float]:
        """By searched key its share, as far as it is known; empty until it was worked out for the first time."""
        known = self._known.setdefault(picture.origin, _Known())
        is_due = picture.is_whole and known.place != picture.place and time.monotonic() > known.until
        if is_due and self._working.acquire(blocking=False):
            threading.Thread(target=self._work_out, args=(picture, known), name="importance", daemon=True).start()
        return known.shares

    def _work_out(self, picture: Picture, known: _Known) -> None:
        try:
            from podium.search.importance import importance

            known.until = time.monotonic() + AGAIN_S
            shares = importance(picture.spec, picture.trials.values())
            known.place = picture.place
            if shares != known.shares:
                known.shares = shares
                self._tell(picture.name)
        finally:
            self._working.release()

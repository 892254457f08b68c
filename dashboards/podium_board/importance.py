"""Which parameters matter: seconds of work where there are many trials, done aside and only now and then."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podium_board.pictures import Picture

AGAIN_S = 60.0
"""After so long it is worked out anew of a sweep that has gone on."""


@dataclass
class Found:
    """What was found of one sweep.

    Attributes:
        shares: By searched key its share; empty until it was worked out for the first time.
        problem: Why it cannot be worked out, in words; empty if it can.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""
    place: tuple[str, int] = ("", -1)
    until: float = 0.0
    wanted: Picture | None = None


class Importance:
    """What was found of each sweep; worked out of one after the other.

    Args:
        tell: Called with a sweep's name when something else was found of it.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._known: dict[str, Found] = {}
        self._lock, self._working = threading.Lock(), threading.Lock()

    def of(self, picture: Picture) -> Found:
        """What is known by now; if there is more to be known, that is told later."""
        with self._lock:
            known = self._known.setdefault(picture.origin, Found())
            if picture.is_whole and known.place != picture.place:
                is_first, known.wanted = known.wanted is None, picture
                if is_first:
                    threading.Thread(target=self._work_out, args=(known,), name="importance", daemon=True).start()
        return known

    def _work_out(self, known: Found) -> None:
        """Works out the newest that is wanted once its time has come."""
        time.sleep(max(0.0, known.until - time.monotonic()))
        with self._working:
            with self._lock:
                picture, known.wanted = known.wanted, None
                assert picture is not None
                known.place, known.until = picture.place, time.monotonic() + AGAIN_S
            before = known.shares, known.problem
            try:
                from podium.search.importance import importance

                known.shares, known.problem = importance(picture.spec, picture.trials.values()), ""
            except Exception as error:  # whatever it is, the other charts are drawn
                known.problem = f"cannot be worked out ({type(error).__name__}: {error})"
        if before != (known.shares, known.problem):
            self._tell(picture.name)

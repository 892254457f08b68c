"""Following: how many gangs there should be, as hosts come and go and work does. Pure but for the gangs it looks at."""

from collections.abc import Callable, Sequence

from podium.execution.gangs import Gang

MOST_AHEAD = 32
"""No more gangs than this wait at once for hosts that an autoscaler may add."""

IDLE_S = 30.0
"""So long gangs for which there is no work stay warm before their places are given back."""


class Following:
    """Decides which gangs are too many, and how many there should be.

    Args:
        most: No more gangs than this are wanted; asked anew each time, since a budget may be extended.
        gives_back: Whether idle gangs give their places back, since others may use the hosts or an autoscaler end them.

    Attributes:
        expected: For how many gangs there is work now.
    """

    def __init__(self, most: Callable[[], int], *, gives_back: bool) -> None:
        self._most, self._gives_back = most, gives_back
        self._spare_since: float | None = None
        self.expected = 0

    def wanted(self, gangs: Sequence[Gang], fit: int, now: float, *, is_growing: bool) -> int:
        """How many gangs there should be.

        As many as fit, so that they are warm when work comes; where an autoscaler listens, those that have work and do
        not fit wait for its hosts. If there was less work than places for `IDLE_S`, no more than have some.

        Args:
            gangs: Those that there are.
            fit: How many fit on the hosts.
            now: Monotonic seconds.
            is_growing: Whether an autoscaler may add hosts.
        """
        most = self._most()
        fit = min(most, fit)
        if not self._gives_back or fit <= self.expected:
            self._spare_since = None
        elif self._spare_since is None and any(gang.is_ready for gang in gangs):
            self._spare_since = now
        if self._is_giving_back(now):
            return self.expected
        ahead = max(0, min(most, self.expected) - fit) if is_growing else 0
        return fit + min(ahead, MOST_AHEAD)

    def unwanted(self, gangs: Sequence[Gang], fit: int, wanted: int, now: float) -> list[Gang]:
        """The gangs that have to go.

        Where fewer fit than hold places, those that wait for a rank make room for each other; so do those that have
        waited for long, since another sweep's may hold what they wait for. Beyond those that are wanted, first those go
        that hold no place, and then idle ones.
        """
        holding = [gang for gang in gangs if gang.holds_places]
        incomplete = [gang for gang in holding if gang.lacks_places]
        too_many = max(0, len(holding) - min(self._most(), fit))
        tired = [gang for gang in incomplete[too_many:] if now > gang.patient_until]
        outside = [gang for gang in gangs if not gang.holds_places]
        idle = [gang for gang in gangs if gang.is_ready and gang.advance is None] if self._is_giving_back(now) else []
        surplus = [*outside, *idle][: max(0, len(gangs) - wanted)]
        return [*incomplete[:too_many], *tired, *surplus]

    def _is_giving_back(self, now: float) -> bool:
        return self._spare_since is not None and now - self._spare_since >= IDLE_S

"""Standings: who reached which rung with which loss, and who is promotable. Pure."""

from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from podium.sweep.rungs import Policy


@dataclass
class Rung:
    """One rung: sorted (loss, number) of all that entered it, and who was promoted from it."""

    entries: list[tuple[float, int]] = field(default_factory=list)
    promoted: set[int] = field(default_factory=set)


class Standings:
    """All rungs of a sweep. Trials compete with those of the same bracket (first rung) only."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rungs: dict[tuple[int, int], Rung] = {}

    def enter(self, number: int, epoch: int, loss: float) -> None:
        """Adds a trial to a rung."""
        insort(self._rungs.setdefault((self._policy.rungs(number)[0], epoch), Rung()).entries, (loss, number))

    def losses(self, number: int, epoch: int) -> list[float]:
        """The sorted losses at a rung of a trial's bracket."""
        return [loss for loss, _ in self._rungs[self._policy.rungs(number)[0], epoch].entries]

    def leave(self, number: int, epoch: int) -> None:
        """Notes that a trial went on from a rung, so that it takes one of its places."""
        self._rungs[self._policy.rungs(number)[0], epoch].promoted.add(number)

    def promotable(self, is_paused: Callable[[int], bool]) -> Iterator[int]:
        """The paused trials that may go on, those of the highest rung first, then the best first."""
        for rung in self._highest_first():
            for _, number in rung.entries[: self._policy.quota(len(rung.entries))]:
                if number not in rung.promoted and is_paused(number):
                    yield number

    def best_paused(self, is_paused: Callable[[int], bool]) -> int | None:
        """The best paused trial of the highest rung, whatever its quota."""
        for rung in self._highest_first():
            for _, number in rung.entries:
                if number not in rung.promoted and is_paused(number):
                    return number
        return None

    def _highest_first(self) -> Iterator[Rung]:
        for key in sorted(self._rungs, key=lambda key: key[1], reverse=True):
            yield self._rungs[key]

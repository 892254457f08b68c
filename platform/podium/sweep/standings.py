"""Standings: who reached which rung with which loss, and who is promotable. Pure."""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from podium.sweep.rungs import Policy

Entry = tuple[float, int]
"""A trial at a rung: its loss, and its number."""


@dataclass
class Rung:
    """One rung: sorted, all that entered it, their losses, and those that pause there."""

    entries: list[Entry] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    paused: list[Entry] = field(default_factory=list)


class Standings:
    """All rungs of a sweep. Trials compete with those of the same bracket (first rung) only."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._rungs: dict[tuple[int, int], Rung] = {}
        self._places: dict[int, tuple[Rung, Entry]] = {}

    def enter(self, number: int, epoch: int, loss: float) -> None:
        """Adds a trial to a rung."""
        rung = self._rungs.setdefault((self._policy.rungs(number)[0], epoch), Rung())
        insort(rung.entries, (loss, number))
        insort(rung.losses, loss)

    def losses(self, number: int, epoch: int) -> list[float]:
        """The sorted losses at a rung of a trial's bracket."""
        return self._rungs[self._policy.rungs(number)[0], epoch].losses

    def pause(self, number: int, epoch: int, loss: float) -> None:
        """Notes that a trial pauses at a rung that it entered."""
        rung = self._rungs[self._policy.rungs(number)[0], epoch]
        insort(rung.paused, (loss, number))
        self._places[number] = rung, (loss, number)

    def leave(self, number: int) -> None:
        """Notes that a trial goes on from the rung where it pauses, if it does."""
        if number in self._places:
            rung, entry = self._places.pop(number)
            del rung.paused[bisect_left(rung.paused, entry)]

    def promotable(self, is_paused: Callable[[int], bool]) -> Iterator[int]:
        """The paused trials that may go on, those of the highest rung first, then the best first."""
        for rung in self._highest_first():
            quota = self._policy.quota(len(rung.entries))
            for entry in rung.paused:
                if quota < len(rung.entries) and entry >= rung.entries[quota]:
                    break
                if is_paused(entry[1]):
                    yield entry[1]

    def best_paused(self, is_paused: Callable[[int], bool]) -> int | None:
        """The best paused trial of the highest rung, whatever its quota."""
        paused = (number for rung in self._highest_first() for _, number in rung.paused if is_paused(number))
        return next(paused, None)

    def _highest_first(self) -> Iterator[Rung]:
        for key in sorted(self._rungs, key=lambda key: key[1], reverse=True):
            yield self._rungs[key]

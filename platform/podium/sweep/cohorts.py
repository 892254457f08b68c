"""Cohorts: which ready trials share a stack, and how many mates a new one gets. Pure."""

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from itertools import islice

from podium.errors import SpecError
from podium.spec.space import Value, fusible_because, signature
from podium.spec.sweep import SweepSpec
from podium.sweep.judge import Judge
from podium.sweep.messages import Measured
from podium.sweep.roster import Roster

Signature = tuple[tuple[str, Value], ...]

WIDEST = 64
"""The most lanes of a cohort under `fuse: auto`."""

STRUCTURES = 8
"""So many distinct structures are drawn, where the space has them, before mates may take the rest of the budget."""


class Cohorts:
    """Groups trials by signature and span. Until it is `enabled`, every trial is a cohort of its own.

    Args:
        spec: The sweep.
        roster: Its trials.
        judge: Knows how far each goes next.

    Attributes:
        most: The most lanes of any cohort.
    """

    def __init__(self, spec: SweepSpec, roster: Roster, judge: Judge) -> None:
        self._spec, self._roster, self._judge = spec, roster, judge
        self._fixed = spec.fixed()
        self._signatures: dict[int, Signature] = {}
        self._drawn: set[Signature] = set()
        self._measured: dict[Signature, Measured] = {}
        self._room: dict[Signature, int] = {}
        self._least_mates = 0
        self.most = 1

    def enable(self, least_mates: int = 0) -> None:
        """The trials of this sweep can share stacks, if its `fuse` does not forbid it.

        Args:
            least_mates: How many mates a structure gets, however many structures there are.
        """
        self._least_mates = least_mates
        match self._spec.fuse:
            case "off":
                self.most = 1
            case "auto":
                self.most = WIDEST
            case width:
                self.most = width

    def add(self, number: int) -> None:
        """Notes the structure of a new trial."""
        if self.most > 1:
            own = signature(self._roster.trials[number].parameters, self._fixed)
            self._signatures[number] = own
            self._drawn.add(own)

    def measure(self, measured: Measured) -> None:
        """Notes how wide stacks of a trial's signature are best."""
        if measured.trial in self._signatures and measured.ranks == self._spec.resources.fewest_ranks:
            self._measured[self._signatures[measured.trial]] = measured

    def narrow(self, number: int, lanes: int) -> None:
        """Memory was too small for a cohort of that trial, of so many lanes: the next are half as wide."""
        if lanes > 1:
            self._room[self._signatures[number]] = lanes // 2

    def limit(self, number: int) -> int:
        """The most lanes of a cohort with that trial.

        A measured width limits cohorts only once something wider was tried: until then a wider stack may be better.
        """
        own = self._signatures.get(number, ())
        most, measured = self._room.get(own, self.most), self._measured.get(own)
        if measured is None:
            return most
        if measured.reason:
            return 1
        is_known = measured.width < max(measured.rates, default=1)
        return min(most, measured.width) if is_known and self._spec.fuse == "auto" else most

    def num_mates(self, lead: int, budget: int, left: int, gangs: int, running: int = 0) -> int:
        """How many mates are drawn for a new trial.

        Args:
            lead: The trial.
            budget: How many trials the sweep may have.
            left: How many of them may still be drawn.
            gangs: How many gangs share those.
            running: How many trials the other gangs train now, which will be busy with half of them on average.
        """
        most = min(self.limit(lead) - 1, left, (left + running // 2) // gangs)
        if most > 0 and self._spec.fuse == "auto":
            drawn = len(self._drawn)
            reserved = max(0, self._structures - drawn)
            most = min(most, left - reserved, max(self._least_mates, budget // (4 * drawn + 4)))
        return max(0, most)

    def mates(self, lead: int, gang: str, ready: Iterable[int]) -> list[int]:
        """Those of the ready trials that go with one: of equal signature and span, welcome on its gang, not alone."""
        limit = self.limit(lead)
        if limit == 1 or self._roster.trials[lead].alone:
            return []
        kind = self._kind(lead)
        return list(
            islice((n for n in ready if n != lead and self._joins(n, gang) and self._kind(n) == kind), limit - 1)
        )

    def count(self, numbers: Iterable[int]) -> int:
        """How many cohorts some trials that are ready form."""
        alone, kinds = 0, Counter[tuple[Signature, int, int, int]]()
        limits: dict[tuple[Signature, int, int, int], int] = {}
        for number in numbers:
            limit = self.limit(number)
            if limit == 1 or self._roster.trials[number].alone:
                alone += 1
                continue
            kind = self._kind(number)
            kinds[kind] += 1
            limits[kind] = limit
        return alone + sum(-(-count // limits[kind]) for kind, count in kinds.items())

    def _joins(self, number: int, gang: str) -> bool:
        trial = self._roster.trials[number]
        return not trial.alone and trial.avoids != gang

    def _kind(self, number: int) -> tuple[Signature, int, int, int]:
        """Signature and span."""
        trial = self._roster.trials[number]
        return self._signatures[number], trial.saved_epoch, trial.saved_step, self._judge.next_rung(number)

    @cached_property
    def _structures(self) -> int:
        """How many structures the space has, as far as that matters."""
        try:
            grid = self._spec.space().only(lambda name: fusible_because(name) is None).grid()
            return sum(1 for _ in islice(grid, STRUCTURES))
        except SpecError:  # one of them is continuous
            return STRUCTURES

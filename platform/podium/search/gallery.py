"""Which trials a sampler is shown: all in a short sweep, the best and the latest in a long one."""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial
from optuna.trial import TrialState as Shown

from podium.search.translation import Translation
from podium.spec.space import Value
from podium.sweep.trial import Trial

MOST_SHOWN = 300
"""Trials shown beside those that run, so that an ask costs the same at the end of a long sweep."""

MATE_OF = "mate.of"
"""The attribute of a mate that holds the number of its lead."""

MATES_SHOWN = 150
"""The same for mates, which are drawn by the dozen: their best were no worse than with twice as many shown."""

BEST_PART = 3
"""One in so many of them is among the best of all, rather than the latest; TPE takes at most 25 for good."""


@dataclass(slots=True)
class _Entry:
    """What follows from one snapshot of a trial; of several objectives each has its own order of merit.

    `lead` is the number of its lead, or its own, and whether that is one of the earlier sweep's.
    """

    trial: Trial
    lead: tuple[bool, Value]
    runs: bool
    merits: tuple[tuple[float, ...], ...]
    shown: FrozenTrial | None = None


class Gallery:
    """The trials of a sweep as they are shown, kept for as long as a snapshot stays the same.

    Args:
        translation: How a trial is shown.
        prior: Ended trials of an earlier sweep, which come before the sweep's own.
        most: Trials shown beside those that run.
        merges: Whether of a lead and its mates only the best is shown once they do not run. So a structure counts
            once, by what it can do: its other mates, drawn as a trial of it, say little of the structure, and would
            be most of what is known before a few structures were tried.

    Attributes:
        translation: How a trial is shown.
        prior: Those of the earlier sweep's trials that can be shown.
    """

    def __init__(self, translation: Translation, prior: Iterable[Trial], most: int, *, merges: bool) -> None:
        self.translation, self._most, self._merges = translation, most, merges
        self.prior = [trial for trial in prior if translation.can_show(trial)]
        self._entries: dict[int, _Entry] = {}

    def number(self, own: int) -> int:
        """Optuna's number for the sweep's trial `own`."""
        return len(self.prior) + own

    def hang(self, trials: Mapping[int, Trial]) -> list[FrozenTrial]:
        """The trials to show, ascending by number; those outside of the space are left out."""
        offset = len(self.prior)
        everything = dict(enumerate(self.prior)) | {offset + own: trials[own] for own in sorted(trials)}
        for number, trial in everything.items():
            known = self._entries.get(number)
            if known is None or known.trial is not trial:
                self._entries[number] = self._entry(trial, number)
        numbers = list(everything)
        settled = [number for number in numbers if not self._entries[number].runs]
        hidden = set(settled) - self._chosen(self._best_mates(settled) if self._merges else settled)
        hung = [self._shown(number) for number in numbers if number not in hidden]
        for number in hidden:
            self._entries[number].shown = None
        return [shown for shown in hung if shown is not None]

    def _entry(self, trial: Trial, number: int) -> _Entry:
        lead = (number < len(self.prior), trial.attributes.get(MATE_OF, trial.number))
        score = self.translation.score(trial)
        merits = tuple((*score[:3], score[3 + objective]) for objective in range(len(self.translation.directions)))
        return _Entry(trial, lead, self.translation.state(trial) is Shown.RUNNING, merits)

    def _best_mates(self, settled: Sequence[int]) -> list[int]:
        """Of each lead and its mates the best in each objective."""
        best: dict[tuple[int, bool, Value], int] = {}
        for number in settled:
            entry = self._entries[number]
            for objective, merit in enumerate(entry.merits):
                other = best.setdefault((objective, *entry.lead), number)
                if merit < self._entries[other].merits[objective]:
                    best[objective, *entry.lead] = number
        return sorted(set(best.values()))

    def _chosen(self, settled: Sequence[int]) -> set[int]:
        if len(settled) <= self._most:
            return set(settled)
        objectives = len(self.translation.directions)
        best = self._most // BEST_PART
        chosen = set(settled[best - self._most :])
        for objective in range(objectives):
            chosen |= set(heapq.nsmallest(best // objectives, settled, key=self._merit(objective)))
        return chosen

    def _merit(self, objective: int) -> Callable[[int], tuple[float, ...]]:
        return lambda number: self._entries[number].merits[objective]

    def _shown(self, number: int) -> FrozenTrial | None:
        entry = self._entries[number]
        if entry.shown is None:
            entry.shown = self.translation.show(entry.trial, number)
        return entry.shown

"""Elastic trials: which gangs join an advance, so that the sweep ends sooner. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from podium.spec.space import signature
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Report
from podium.sweep.trial import Trial

Kind = tuple[object, int]
"""What trains equally fast: a signature, and how many lanes."""


class Elastic:
    """Lends gangs that nobody else needs to advances that begin, as far as their measured speed gains by it.

    Args:
        spec: The sweep.
        trials: Its trials.

    Attributes:
        most: How many gangs train one advance at most.
    """

    def __init__(self, spec: SweepSpec, trials: Mapping[int, Trial]) -> None:
        self._fixed, self._trials = spec.fixed(), trials
        self._fewest = spec.resources.fewest_ranks
        self._epoch_s: dict[Kind, dict[int, float]] = {}
        self._last_share: float | None = None
        self.most = spec.resources.most_gangs

    def note(self, advance: Advance, reports: Sequence[Report]) -> None:
        """Learns from an advance over whole epochs how long one takes with its number of gangs."""
        gangs, first = len(advance.gangs), advance.lanes[0]
        epochs = advance.until - first.epoch
        is_whole = epochs > 0 and first.step == 0 and all(report.ending == "until" for report in reports)
        if self.most == 1 or not is_whole:
            return
        took_s = sum(report.device_s for report in reports) / (gangs * self._fewest * epochs)
        kind = self._kind(advance)
        known = self._epoch_s.setdefault(kind, {})
        known[gangs] = min(took_s, known.get(gangs, took_s))
        self._last_share = _serial_share(known, self._last_share)

    def lend(self, advances: Sequence[Advance], spare: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Shares out gangs that nothing is ready for: each goes to the advance that would take the longest.

        Args:
            advances: Those that begin.
            spare: Gangs that would do nothing.

        Returns:
            By the key of an advance, the gangs that join it.
        """
        joined: dict[str, tuple[str, ...]] = {advance.key: () for advance in advances}

        def left_s(advance: Advance, more: int = 0) -> float:
            gangs = 1 + len(joined[advance.key]) + more
            return (advance.until - advance.lanes[0].epoch) * self.epoch_s(advance, gangs)

        for gang in spare:
            gaining = [
                advance
                for advance in advances
                if len(joined[advance.key]) + 1 < self.most
                and not any(self._trials[lane.trial].avoids == gang for lane in advance.lanes)
                and not self._has_to_be_measured_alone(advance)
                and left_s(advance, more=1) < left_s(advance)
            ]
            if gaining:
                joined[max(gaining, key=left_s).key] += (gang,)
        return {key: gangs for key, gangs in joined.items() if gangs}

    def epoch_s(self, advance: Advance, gangs: int) -> float:
        """Seconds an epoch of an advance takes: measured, or foretold by Amdahl's law from what is known of its kind.

        Of kinds that were not yet trained by one gang and by several, the share that does not get faster is taken to
        be that of the kind measured last, and none at first: they are tried. Source: Amdahl, "Validity of the single
        processor approach to achieving large scale computing capabilities", 1967.
        """
        known = self._epoch_s.get(self._kind(advance), {})
        if gangs in known:
            return known[gangs]
        share = _serial_share(known, self._last_share) or 0.0
        measured, took_s = next(iter(known.items()), (1, 1.0))
        return took_s * _part(share, gangs) / _part(share, measured)

    def efficiency(self, advance: Advance) -> float | None:
        """How many times as fast as one gang those of an advance are, divided by how many; None unless measured."""
        gangs = len(advance.gangs)
        known = self._epoch_s.get(self._kind(advance), {}) if gangs > 1 else {}
        return known[1] / known[gangs] / gangs if {1, gangs} <= known.keys() else None

    def _has_to_be_measured_alone(self, advance: Advance) -> bool:
        """Whether several gangs have trained its kind, and nothing says whether one would have been as fast."""
        known = self._epoch_s.get(self._kind(advance), {})
        return bool(known) and 1 not in known and self._last_share is None

    def _kind(self, advance: Advance) -> Kind:
        return signature(self._trials[advance.lanes[0].trial].parameters, self._fixed), len(advance.lanes)


def _serial_share(known: Mapping[int, float], otherwise: float | None) -> float | None:
    """The share of an epoch that more gangs do not make faster; above 1 if they make it slower."""
    most = max(known, default=1)
    if 1 not in known or most == 1:
        return otherwise
    return max(0.0, (known[most] / known[1] - 1 / most) / (1 - 1 / most))


def _part(share: float, gangs: int) -> float:
    """The time with so many gangs, in terms of that with one."""
    return share + (1 - share) / gangs

"""Reproduction: what the ledger tells of a trial, and whether it came out again. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from statistics import median
from typing import Any

from podium.spec.space import Value
from podium.sweep.messages import Advanced, Event, Progress, Report, Stretch

Curve = Mapping[int, Mapping[str, float | None]]
"""By epoch (a training function's step) the metrics; None is a number that was not finite."""

FACTOR = 10.0
"""How many times as far as a twin a trial may come out and be within tolerance (law 4)."""

CAP = 0.1
"""So far `FACTOR` reaches, as a share of a metric's size; beyond, a trial may come out as far off as its twin."""

ROUNDING = 1e-6
"""Such a share of a metric's size is within tolerance in any case: a few units in the last place of float32."""

LISTED = 8
"""So many packages are named."""

_TIMES = ("_s", "_seconds", "/seconds", "/communication_share")


class Verdict(StrEnum):
    """How a trial came out again, from good to bad."""

    NOTHING = "nothing to compare"
    IDENTICAL = "identical"
    WITHIN_TOLERANCE = "within tolerance"
    DIFFERENT = "different"


OWN_ENDINGS = ("diverged", "failed")
"""Endings that nobody else decides: a policy stops a trial earlier or later, as the other trials go."""


@dataclass(frozen=True)
class Past:
    """What the ledger tells of a trial.

    Attributes:
        curve: Its metrics, as they were told last, up to its last report.
        report: Its last report; None before the first.
        conditions: What its numbers were computed with then.
    """

    curve: Curve
    report: Report | None
    conditions: Mapping[str, Value]


@dataclass(frozen=True)
class Leg:
    """A part of a trial's history through which the same number of ranks trained it.

    Attributes:
        ranks: How many.
        strategy: Whether each of them held the whole network, or a part of every parameter.
    """

    ranks: int
    strategy: str


@dataclass(frozen=True)
class Comparison:
    """Two curves of one trial.

    Attributes:
        verdict: Nothing to compare, if there is no epoch; identical, if every metric of every epoch is the same bit for
            bit, times left out; within tolerance, if at no epoch a metric is further off than `ROUNDING`, than it was
            for a twin by then, or `FACTOR` times so far up to `CAP`; else different. For a metric that a twin hardly
            moves, since it counts samples, the loss of its split stands in, up to `CAP`.
        epochs: How many epochs were compared.
        first_epoch: The first that is not identical; None if all are.
        metrics: By name what is not identical there, then and again.
        distance: The largest distance of two values, as a share of the larger one, or of what the metric usually is if
            that is more.
        spread: The largest distance of the twin, likewise; None if there was no twin.
        endings: How the trial ended then and again; empty if that was not compared.
    """

    verdict: Verdict
    epochs: int
    first_epoch: int | None = None
    metrics: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    distance: float = 0.0
    spread: float | None = None
    endings: tuple[str, ...] = ()


def past(events: Iterable[Event], number: int) -> Past:
    """What the ledger tells of trial `number`: an epoch that was trained again counts as it was told last."""
    curve: dict[int, Mapping[str, float | None]] = {}
    report: Report | None = None
    conditions: Mapping[str, Value] = {}
    for event in events:
        if isinstance(event, Progress):
            curve |= {lane.epoch: lane.metrics for lane in event.lanes if lane.trial == number}
        elif isinstance(event, Advanced):
            for each in event.reports:
                if each.trial == number:
                    report, conditions = each, event.conditions
    reached = 0 if report is None else report.epoch
    return Past({epoch: curve[epoch] for epoch in sorted(curve) if epoch <= reached}, report, conditions)


def legs(history: Sequence[Stretch]) -> list[Leg]:
    """The parts of a history that had the same ranks, in order; of folds, the first one's."""
    every = [Leg(stretch.ranks, stretch.strategy) for stretch in history if stretch.fold == 0]
    return every[:1] + [leg for before, leg in pairwise(every) if leg != before]


def is_time(name: str) -> bool:
    """Whether a metric is read off a clock, by its name: it ends in `_s`, `_per_s` or the like."""
    return f"/{name}".endswith(_TIMES)


def compare(then: Curve, again: Curve, twin: Curve | None = None) -> Comparison:
    """Compares a trial's curve with the one it has when it is trained again.

    Args:
        then: What the ledger tells.
        again: What came out now.
        twin: What came out now of initial weights that were moved by one unit in the last place; a training function's
            curve when it is called once more. What is not identical is different without one.
    """
    then, again, other_twin = _untimed(then), _untimed(again), _untimed(twin or {})
    sizes = _sizes(then, again, other_twin)
    first, wrong, distance = None, {}, 0.0
    spreads: dict[str, float] = {}
    is_within = twin is not None
    for epoch in sorted(then):
        before, now = then[epoch], again.get(epoch, {})
        for name, value in other_twin.get(epoch, {}).items():
            apart = _apart(value, now.get(name), sizes[name])
            if apart < math.inf:  # what is not finite tells nothing of how far is near
                spreads[name] = max(spreads.get(name, 0.0), apart)
        for name in sorted({*before, *now}):
            one, other = before.get(name), now.get(name)
            if one == other and name in before and name in now:
                continue
            apart = _apart(one, other, sizes[name])
            distance = max(distance, apart)
            is_within = is_within and apart <= _allowed(name, spreads)
            if first in (None, epoch):
                first = epoch
                wrong[name] = (one, other)
    verdict = Verdict.IDENTICAL if first is None else Verdict.WITHIN_TOLERANCE if is_within else Verdict.DIFFERENT
    spread = None if twin is None else max(spreads.values(), default=0.0)
    return Comparison(verdict if then else Verdict.NOTHING, len(then), first, wrong, distance, spread)


def with_endings(found: Comparison, then: str, again: str) -> Comparison:
    """The comparison of a trial that ended so, then and again: different, if it diverged or failed only once."""
    is_other = then != again and not {then, again}.isdisjoint(OWN_ENDINGS)
    return replace(found, verdict=Verdict.DIFFERENT if is_other else found.verdict, endings=(then, again))


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[str]]:
    """What two provenances say differently of code, packages and hardware, in words.

    What one of them does not tell, as those of older ledgers, is no difference.
    """
    return {
        "code": [
            *_changes({"Podium's own code": "source", "podium": "podium"}, then, now),
            *_changes({"commit": "commit"}, then.get("git", {}), now.get("git", {})),
        ],
        "packages": [*_changes({"python": "python"}, then, now), *_packages(then, now)],
        "hardware": [
            *_changes({"platform": "platform"}, then, now),
            *_changes(
                {"processor": "processor", "cores": "cores", "GPUs": "gpus"},
                then.get("hardware", {}),
                now.get("hardware", {}),
            ),
        ],
    }


def changed(then: Mapping[str, Value], now: Mapping[str, Value]) -> list[str]:
    """What two conditions of training say differently, in words."""
    return _changes({name: name for name in then}, then, now)


def _packages(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = (
        {name.replace("_", "-").lower(): version for name, version in each.get("packages", {}).items()}
        for each in (then, now)
    )
    found = [f"{name} {old[name]} -> {new.get(name, 'absent')}" for name in sorted(old) if old[name] != new.get(name)]
    return found if len(found) <= LISTED else [*found[:LISTED], f"and {len(found) - LISTED} more"]


def _changes(names: Mapping[str, str], then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {_short(then[key])} -> {_short(now[key])}"
        for name, key in names.items()
        if key in then and key in now and then[key] != now[key]
    ]


def _short(value: object) -> str:
    text = str(value)
    return text[:12] if len(text) >= 40 and text.isalnum() else text


def _untimed(curve: Curve) -> Curve:
    return {
        epoch: {name: value for name, value in metrics.items() if not is_time(name)} for epoch, metrics in curve.items()
    }


def _sizes(*curves: Curve) -> dict[str, float]:
    """By metric the median magnitude but for zeros, so that neither they nor an outlier say what is little."""
    found: dict[str, list[float]] = {}
    for metrics in (each for curve in curves for each in curve.values()):
        for name, value in metrics.items():
            found.setdefault(name, []).extend([abs(value)] if value else [])
    return {name: median(values or [0.0]) for name, values in found.items()}


def _apart(one: float | None, other: float | None, size: float) -> float:
    """How far two values are from each other, as a share of the largest of all three; infinite if one is no number."""
    if one is None or other is None:
        return math.inf
    return 0.0 if one == other else abs(one - other) / max(abs(one), abs(other), size)


def _allowed(name: str, spreads: Mapping[str, float]) -> float:
    """How far off a metric may be, by the twin's distances."""
    split = name.partition("/")[0]
    spread = max(spreads.get(name, 0.0), min(CAP, spreads.get(f"{split}/loss", 0.0)))
    return max(ROUNDING, spread, min(CAP, FACTOR * spread))

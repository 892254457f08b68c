"""Finalists: which trials of a sweep are trained again with fresh seeds, and the sweep that does it. Pure."""

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from podium.errors import Refused
from podium.registry.evidence import choose
from podium.spec.files import parse_sweep
from podium.spec.space import Value, signature
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial, TrialState

SEED = "seed"
ABOUT_THE_SEARCH = ("prior",)
ABOUT_THE_SWEEP = ("presets", "notify", "screen", "note")


def finalists(trials: Iterable[Trial], count: int, fixed: Mapping[str, Value], *, per_signature: bool) -> list[Trial]:
    """The best trials that differ in more than their seeds.

    Args:
        trials: The best first.
        count: How many are wanted.
        fixed: The settings that the sweep does not search.
        per_signature: Whether they have to differ in structure.
    """
    chosen: dict[Any, Trial] = {}
    for trial in trials:
        point = without_seed(trial.parameters)
        chosen.setdefault(signature(point, fixed) if per_signature else tuple(sorted(point.items())), trial)
    return list(chosen.values())[:count]


def without_seed(parameters: Mapping[str, Value]) -> dict[str, Value]:
    """A point without the trial's seed."""
    return {name: value for name, value in parameters.items() if name != SEED}


def confirming(spec: SweepSpec, name: str, points: Sequence[Mapping[str, Value]], seeds: int) -> SweepSpec:
    """The sweep that trains points from scratch to their full budget, each with fresh seeds, over the same data.

    The data seed is fresh, too: what a finalist owes to the order of the samples does not come again either.

    Args:
        spec: The sweep that they come from.
        name: The new sweep's name, of which its seeds are made.
        points: Whole points of the space.
        seeds: How often each is trained, in a row.
    """
    tree = {key: value for key, value in spec.written().items() if key not in (SEED, *ABOUT_THE_SWEEP)}
    search = {key: value for key, value in tree["search"].items() if key not in ABOUT_THE_SEARCH}
    epochs = spec.budget.epochs.max
    listed = [without_seed(point) for point in points for _ in range(seeds)]
    return parse_sweep(
        {
            **tree,
            "sweep": name,
            "tags": {**spec.tags, "podium.promotes": spec.sweep},
            "data": {**tree["data"], "seed": fresh(name, "data")},
            "search": {
                **search,
                "sampler": "list",
                "seed": fresh(name, "trials"),
                "space": without_seed(search.get("space", {})),
                "points": listed,
            },
            "budget": {
                "trials": len(listed),
                "epochs": {"min": epochs, "max": epochs},
                "policy": "none",
                "failures": len(listed),
                "prices": spec.budget.prices,
            },
            "tracking": {**tree.get("tracking", {}), "model": False, "inside": False},
        }
    )


def final(spec: SweepSpec, name: str, point: Mapping[str, Value], epochs: int) -> SweepSpec:
    """The sweep of one trial that trains a point on the train and the validation split together.

    How long it trains is settled, since nothing is left to validate by.

    Args:
        spec: The sweep that has confirmed the point.
        name: The new sweep's name, of which its seeds are made.
        point: A whole point of the space.
        epochs: How long it trains.

    Raises:
        SpecError: for settings that need a validation split.
    """
    tree = spec.written()
    search = {key: value for key, value in tree["search"].items() if key != "constraints"}
    stopping = {key: value for key, value in tree.get("stopping", {}).items() if key != "patience"}
    several = isinstance(search["objective"], list)
    objective = search["objective"] if several else {**search["objective"], "at": "last"}
    return parse_sweep(
        {
            **tree,
            "sweep": name,
            "data": {**tree["data"], "seed": fresh(name, "data"), "train_on": "train+validation"},
            "stopping": stopping,
            "search": {**search, "objective": objective, "seed": fresh(name, "trials"), "points": [dict(point)]},
            "budget": {**tree["budget"], "trials": 1, "epochs": {"min": epochs, "max": epochs}},
        }
    )


def fresh(name: str, purpose: str) -> int:
    """A seed below 2^31 that no earlier sweep has used but by chance."""
    return int.from_bytes(hashlib.sha256(f"{name}/{purpose}".encode()).digest()[:4]) >> 1


def values_of(
    trials: Sequence[Trial], seeds: int, is_good: Callable[[Trial], bool] = lambda trial: True
) -> list[list[float | None]]:
    """By finalist its values over fresh seeds, in the order of their trials; None where one did not end well.

    Args:
        trials: By number, those of each finalist in a row.
        seeds: How many each has.
        is_good: Whether a trial meets what the sweep demands of its best.
    """
    values: list[list[float | None]] = []
    for first in range(0, len(trials), seeds):
        own = trials[first : first + seeds]
        ended = [trial.state is TrialState.COMPLETE and bool(trial.values) and is_good(trial) for trial in own]
        values.append([t.last_values[0] if is_well else None for t, is_well in zip(own, ended, strict=True)])
    return values


def best(values: Sequence[Sequence[float | None]], *, maximize: bool) -> int:
    """The finalist with the best mean over its seeds; one of which a seed did not end well counts as infinitely bad.

    Raises:
        Refused: if that is so of every finalist.
    """
    worst = -math.inf if maximize else math.inf
    known = {index: [worst if value is None else value for value in own] for index, own in enumerate(values)}
    chosen = choose(known, maximize=maximize)
    if worst in known[chosen]:
        raise Refused(
            "no finalist can be trusted: of each of them a fresh seed diverged, failed, or misses the sweep's "
            "constraints; `podium promote SWEEP --anew` begins another promotion"
        )
    return chosen

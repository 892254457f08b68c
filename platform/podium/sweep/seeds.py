"""Trial seeds: a counter hash, so that one depends on its trial's number alone; which trials repeat a point. Pure."""

from collections.abc import Iterable, Mapping

from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial

MASK = (1 << 64) - 1

SEED = "seed"
"""The parameter that tells repetitions of one point apart."""


def splitmix64(state: int) -> int:
    """One output of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) for a 64-bit state."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def trial_seed(spec: SweepSpec, number: int, parameters: Mapping[str, Value]) -> int:
    """The searched `seed`, else the sweep's fixed one, else a hash of (search.seed, number); below 2^62."""
    searched = parameters.get(SEED, spec.seed)
    if isinstance(searched, int):
        return searched
    return splitmix64(splitmix64(spec.search.seed) ^ number) >> 2


def repeated(trials: Iterable[Trial]) -> list[list[Trial]]:
    """The trials of each point that was tried with several trial seeds, one a seed."""
    points: dict[tuple[tuple[str, str], ...], dict[int, Trial]] = {}
    for trial in trials:
        point = tuple(sorted((key, repr(value)) for key, value in trial.parameters.items() if key != SEED))
        points.setdefault(point, {}).setdefault(trial.seed, trial)
    return [list(by_seed.values()) for by_seed in points.values() if len(by_seed) > 1]

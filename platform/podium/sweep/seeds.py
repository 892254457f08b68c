"""Trial seeds: a counter hash, so that a trial's seed depends on its number and nothing else. Pure."""

from collections.abc import Mapping

from podium.spec.space import Value
from podium.spec.sweep import SweepSpec

MASK = (1 << 64) - 1


def splitmix64(state: int) -> int:
    """One output of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) for a 64-bit state."""
    state = (state + 0x9E3779B97F4A7C15) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def trial_seed(spec: SweepSpec, number: int, parameters: Mapping[str, Value]) -> int:
    """The searched `seed`, else the sweep's fixed one, else a hash of (search.seed, number); below 2^62."""
    searched = parameters.get("seed", spec.seed)
    if isinstance(searched, int):
        return searched
    return splitmix64(splitmix64(spec.search.seed) ^ number) >> 2

"""The unit interval as a domain, on the scale that it is searched on."""

import math

from podium.spec.space import Choice, Domain, Float, Int, Value


def from_unit(domain: Domain, place: float) -> Value:
    """The value of `domain` at `place` in [0, 1]; equal shares for the values of a finite domain."""
    if isinstance(domain, Choice):
        return domain.options[_bin(place, len(domain.options))]
    if isinstance(domain, Float) and domain.step is None:
        value = _exp(_between(place, domain.low, domain.high, domain.log), domain.log)
        return min(max(value, domain.low), domain.high)
    if isinstance(domain, Int) and domain.log:
        value = math.exp(_between(place, domain.low - 0.5, domain.high + 0.5, True))
        return min(max(round(value), domain.low), domain.high)
    values = domain.values()
    assert values is not None
    return values[_bin(place, len(values))]


def _bin(place: float, count: int) -> int:
    return min(int(place * count), count - 1)


def _between(place: float, low: float, high: float, log: bool) -> float:
    return _log(low, log) + place * (_log(high, log) - _log(low, log))


def _log(number: float, log: bool) -> float:
    return math.log(number) if log else number


def _exp(number: float, log: bool) -> float:
    return math.exp(number) if log else number

"""How numbers, times and parameters are written on the pages. Pure, but for the zone that times are told in."""

import time
from collections.abc import Sequence
from typing import Any

NOTHING = "–"

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400


def number(value: Any) -> str:
    """A value with as many digits as one can compare; several, separated by commas."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(number, value))
    if value is None:
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that fit."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def moment(at: float) -> str:
    """When something was, in the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def iso(at: float) -> str:
    """When something was, as browsers read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def percent(share: float) -> str:
    """A share from 0 to 1."""
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"

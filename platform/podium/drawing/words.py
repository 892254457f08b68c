"""Numbers, times and ranges as people read them, in terminals and on pages."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podium.spec.space import Parameter

MOST_OPTIONS = 12

UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "bytes"))


def number(value: Any) -> str:
    """A value in five significant digits, a count in all of them; several, separated by commas."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(number, value))
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def short(value: Any) -> str:
    """A parameter's value, numbers in three significant digits."""
    if isinstance(value, list | tuple):
        return ", ".join(map(short, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value)


def duration(seconds: float | None) -> str:
    """Seconds in the two largest units that matter."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24:,} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rate(per_s: float) -> str:
    """Trials a second, or a minute or an hour where that makes a number one can read."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.2g} trials/{unit}"
    return f"{per_s * 3600:.2g} trials/h"


def moment(at: float) -> str:
    """A time in seconds since 1970, to the minute, for readers anywhere."""
    return f"{datetime.fromtimestamp(at, UTC):%d %B %Y, %H:%M} UTC"


def local(at: float) -> str:
    """A time in seconds since 1970 in the zone of this machine."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def iso(at: float) -> str:
    """A time in seconds since 1970 as browsers read it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def size(count: float) -> str:
    """Bytes in the unit that fits."""
    unit, name = next((unit, name) for unit, name in UNITS if count >= unit or unit == 1)
    return f"{count / unit:.3g} {name}"


def percent(share: float) -> str:
    """A share of 1."""
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"


def listed(names: Iterable[object]) -> str:
    """Names in a row."""
    *most, last = map(str, names)
    return f"{', '.join(most)} and {last}" if most else last


def counted(counts: Mapping[str, int]) -> str:
    """How many there are of each kind, such as `5 stopped, 3 complete`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def one_line(text: str) -> str:
    """Text of a user's or of code's in one line, without what would move a cursor or change a colour."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))


def domain(parameter: "Parameter") -> str:
    """What a parameter is searched in."""
    from podium.spec.space import Choice

    found = parameter.domain
    if isinstance(found, Choice):
        more = f" and {len(found.options) - MOST_OPTIONS} more" if len(found.options) > MOST_OPTIONS else ""
        return f"{'; '.join(map(short, found.options[:MOST_OPTIONS]))}{more}"
    step = f" in steps of {found.step:g}" if found.step not in (None, 1) else ""
    return f"{found.low:g} to {found.high:g}{step}{' (log)' if found.log else ''}"

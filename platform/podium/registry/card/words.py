"""The model card: figures and the verdict in words. Pure."""

import math
import re
from collections.abc import Mapping
from typing import Any

UNKNOWN = "unknown"

ENOUGH = 0.8
"""The power at which a test set is large enough (Cohen, 1988)."""

_SHARE = re.compile(r"(^|[/_])(accuracy|iou|dice|f1|precision|recall|mean_average_precision)$|^(error|share of .*)$")


def is_share(name: str) -> bool:
    """Whether a metric or loss of that name is a share of 1, which people read in percent."""
    return bool(_SHARE.search(name))


def is_known(value: Any) -> bool:
    """Whether a value is a number that can be shown."""
    return isinstance(value, int | float) and math.isfinite(value)


def number(value: Any, share: bool, *, spread: float = 0.0, unit: str = " %", sign: str = "") -> str:
    """A number with sensible digits.

    Args:
        value: What is shown; `UNKNOWN` if it is no finite number.
        share: Whether it is shown in percent.
        spread: How uncertain it is: digits far below that are left out; 0 if that is not known.
        unit: What follows a share.
        sign: `+` shows the sign of what is above 0, too.
    """
    if not is_known(value):
        return UNKNOWN
    scale = 100 if share else 1
    value, spread = value * scale, abs(spread) * scale
    if not spread or not math.isfinite(spread):
        return (f"{value:{sign}z,.1f}" if share else f"{value:{sign},.4g}") + unit * share
    digits = max(0, math.ceil(0.7 - math.log10(spread)))
    if digits > 6:
        return f"{value:{sign}.3g}" + unit * share
    rounded = round(value, digits)
    return f"{rounded:{sign if rounded else ''}z,.{digits}f}" + unit * share


def points(value: Any, share: bool, *, spread: float = 0.0, sign: str = "") -> str:
    """A difference of two numbers; of shares in percentage points."""
    return number(value, share, spread=spread, unit=" points", sign=sign)


def bounded(interval: Mapping[str, Any] | None, share: bool, *, unit: str = " %", sign: str = "") -> str:
    """An estimate with its interval, such as `97.1 % (96.6 to 97.6)`."""
    if not interval:
        return UNKNOWN
    low, high = bounds(interval)
    if low is None or high is None:
        return f"{number(interval['estimate'], share, unit=unit, sign=sign)} (no interval)"
    if low == high:
        return f"{number(interval['estimate'], share, unit=unit, sign=sign)} (all values are equal)"
    spread = _spread(low, high, share)
    estimate = number(interval["estimate"], share, spread=spread, unit=unit, sign=sign)
    ends = (number(end, share, spread=spread, unit="", sign=sign) for end in (low, high))
    return f"{estimate} ({' to '.join(ends)})"


def _spread(low: float, high: float, share: bool) -> float:
    """Half the width of an interval; of shares small enough for one digit after the point."""
    return min((high - low) / 2, 0.02) if share else (high - low) / 2


def bounds(interval: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Both ends of an interval, None for one that is infinite."""
    low, high = (interval[end] if is_known(interval[end]) else None for end in ("low", "high"))
    return low, high


def chance(value: Any) -> str:
    """A probability, with two digits that count."""
    if not is_known(value):
        return UNKNOWN
    if value < 0.0001:
        return "less than 0.0001"
    return f"{value:.2g}" if value <= 0.99 else "over 0.99"


def percent(value: Any) -> str:
    """A level or power, such as `95 %` or `3.04 %`."""
    return f"{100 * value:.3g} %" if is_known(value) else UNKNOWN


def count(many: int, one: str, more: str = "") -> str:
    """A count with its noun; the plural ends in s unless given."""
    return f"{many:,} {one if many == 1 else more or one + 's'}"


def seconds(value: Any) -> str:
    """A short time in the unit that suits it."""
    if not is_known(value):
        return UNKNOWN
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def size(value: Any) -> str:
    """Bytes in the unit that suits them, of powers of ten."""
    if not is_known(value):
        return UNKNOWN
    for unit, many in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= many:
            return f"{value / many:.3g} {unit}"
    return f"{value} bytes"


def opponent(evidence: Mapping[str, Any]) -> str:
    """Who the candidate was compared with."""
    comparison = evidence.get("comparison") or {}
    name = str(comparison.get("with") or "")
    return name if comparison.get("is_champion") else f"the trivial answer ({name})"


def loss(evidence: Mapping[str, Any]) -> str:
    """What the loss of a test example is called."""
    return str((evidence.get("test") or {}).get("loss") or "loss")


def difference(evidence: Mapping[str, Any]) -> str:
    """How the candidate's loss differs from its opponent's, with interval, on which examples."""
    test, interval = evidence.get("test") or {}, evidence["comparison"]["difference"]
    share = is_share(loss(evidence))
    compared = test.get("compared")
    examples = f"on the same {count(compared, 'test example')}" if compared else "on the test split"
    if not interval or not is_known(interval["estimate"]):
        return f"how its {loss(evidence)} {examples} differs from that of {opponent(evidence)} is {UNKNOWN}"
    low, high = bounds(interval)
    spread = 0.0 if low is None or high is None else _spread(low, high, share)
    estimate = interval["estimate"]
    is_lower = f"is {_end(estimate, share, spread)} than" if estimate else "equals"
    said = f"its {loss(evidence)} {is_lower} that of {opponent(evidence)} {examples}"
    if low is None or high is None:
        return said
    if low == high:
        return f"{said} (on each of them alike)"
    ends = [_end(end, share, spread) for end in sorted((low, high), key=abs)]
    if low * high > 0:
        ends[0] = ends[0].split()[0]
    return f"{said} ({percent(interval['level'])} interval: {ends[0]} to {ends[1]})"


def sentence(evidence: Mapping[str, Any]) -> str:
    """The verdict for somebody who reads nothing else."""
    candidate = f"Version {evidence['version']} of {evidence['model']}"
    comparison = evidence.get("comparison")
    stays = "the champion, if there is one, stays"
    if comparison:
        stays = f"{comparison['with']} stays the champion" if comparison["is_champion"] else "there is no champion yet"
    if evidence["verdict"] == "promoted":
        return f"{candidate} is now the champion{_against(evidence)}."
    if evidence["verdict"] == "refused":
        failed = [str(check["gate"]) for check in evidence.get("checks") or () if check["outcome"] == "failed"]
        why = f": it failed {listed(failed)}" if failed else _against(evidence)
        return f"{candidate} was refused, and {stays}{why}."
    return f"{candidate} was not promoted, since the evidence does not tell; {stays}. {enough(evidence)}".rstrip()


def enough(evidence: Mapping[str, Any]) -> str:
    """What the test set could tell and how many examples would do; empty if nothing is known of that.

    Its power at the difference that was seen would tell nothing new: that follows from the p-value (Hoenig and Heisey,
    "The abuse of power", 2001).
    """
    comparison, test = evidence.get("comparison") or {}, evidence.get("test") or {}
    if not is_known(comparison.get("detectable")):
        return ""
    samples, least = test.get("compared") or test.get("samples"), comparison["detectable"]
    given = f"With {count(samples, 'test example')}" if samples else "On this test split"
    said = (
        f"{given}, a true difference of {points(least, is_share(loss(evidence)))} in mean loss would be found with a "
        f"probability of {percent(ENOUGH)}"
    )
    if comparison.get("needed") and samples and comparison["needed"] > samples:
        said += f"; for one as large as the one seen, about {comparison['needed']:,} are needed"
    return f"{said}."


def listed(names: list[str], most: int = 5) -> str:
    """Names in a row, the rest counted."""
    shown = names[:most] + ([f"{len(names) - most} more"] if len(names) > most else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _end(value: float, share: bool, spread: float) -> str:
    """By how much a loss is lower, or higher, given the lead over its opponent's."""
    return f"{points(abs(value), share, spread=spread)} {'lower' if value > 0 else 'higher'}"


def _against(evidence: Mapping[str, Any]) -> str:
    return f": {difference(evidence)}" if evidence.get("comparison") else ""


def plain(text: str, most: int = 2_000) -> str:
    """A text on one line, without what cannot be printed, and cut off where it is too long."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

"""Numbers and times in few characters, and text that does nothing to a terminal but stand there."""


def number(value: float | None) -> str:
    """A metric in five significant digits."""
    return "–" if value is None else f"{value:.5g}"


def short(value: object) -> str:
    """A parameter's value, floats in three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def rate(per_s: float) -> str:
    """Trials a second, or a minute or an hour where that makes a number one can read."""
    for unit, seconds in (("s", 1), ("min", 60)):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.2g} trials/{unit}"
    return f"{per_s * 3600:.2g} trials/h"


def one_line(text: str) -> str:
    """Text of a user's or of code's in one line, without what would move a cursor or change a colour."""
    return "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))

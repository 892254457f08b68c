"""Output where signs beyond ASCII cannot be shown: each becomes one that looks like it."""

import codecs
import io
import os
import sys

ALIKE = {
    "·": "-", "–": "-", "—": "-", "→": "->", "…": "...", "│": "|", "─": "-", "┌": "+", "└": "+", "×": "x", "≤": "<=",
    "≥": ">=", "±": "+-", "█": "#", "▓": "=", "▒": "*", "░": ".", "“": '"', "”": '"', "’": "'", "━": "-", "●": "*",
}  # fmt: skip
"""What stands for a sign; for all others, a question mark."""

HANDLER = "podium.alike"


def adapt_output(environment: "os._Environ[str] | dict[str, str]" = os.environ) -> None:
    """Lets standard output and error write anything.

    In a terminal all is ASCII where the locale is C; elsewhere what their encoding does not know.
    """
    codecs.register_error(HANDLER, _alike)
    is_plain = is_posix(environment)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if is_plain and stream.isatty():
                stream.reconfigure(encoding="ascii", errors=HANDLER)
            elif not stream.encoding.lower().startswith("utf"):
                stream.reconfigure(errors=HANDLER)


def is_posix(environment: "os._Environ[str] | dict[str, str]") -> bool:
    """Whether the user asked for the locale C, from which Python makes UTF-8 on its own."""
    asked = environment.get("LC_ALL") or environment.get("LANG")
    return asked in ("C", "POSIX") and "PYTHONIOENCODING" not in environment and "PYTHONUTF8" not in environment


def _alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(ALIKE.get(sign, "?") for sign in error.object[error.start : error.end]), error.end

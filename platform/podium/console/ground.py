"""Whether a terminal is light or dark, asked of itself."""

import os
import re
import select
import sys
import termios
import time
import tty

ANSWER_S = 0.3
"""How long a terminal may take to answer."""

ASK = b"\x1b]11;?\x1b\\\x1b[c"
"""What is the ground's colour (XTerm's OSC 11), and who are you (DA1): all answer the second, so nobody waits long."""

_COLOUR = re.compile(rb"\]11;rgb:([0-9a-fA-F]{2})[0-9a-fA-F]*/([0-9a-fA-F]{2})[0-9a-fA-F]*/([0-9a-fA-F]{2})")
_IDENTITY = re.compile(rb"\x1b\[\?[0-9;]*c")


def is_light() -> bool | None:
    """Whether the terminal on standard error has a light ground; None if it does not tell.

    It is asked only by a process in its foreground that can hear the answer on standard input.
    """
    told = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    if told.isdecimal():
        return int(told) in (7, *range(9, 16))
    try:
        return _ask(sys.stdin.fileno(), sys.stderr.fileno())
    except (OSError, ValueError, termios.error):
        return None


def _ask(source: int, target: int) -> bool | None:
    if not (os.isatty(source) and os.isatty(target)) or os.tcgetpgrp(source) != os.getpgrp():
        return None
    before = termios.tcgetattr(source)
    try:
        tty.setcbreak(source, termios.TCSANOW)
        os.write(target, ASK)
        return lightness(_answer(source))
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)


def _answer(source: int) -> bytes:
    answer, until = b"", time.monotonic() + ANSWER_S
    while not _IDENTITY.search(answer) and (left := until - time.monotonic()) > 0:
        if select.select([source], [], [], left)[0]:
            answer += os.read(source, 1024)
    return answer


def lightness(answer: bytes) -> bool | None:
    """Whether the colour in an answer is light, by its luma (ITU-R BT.601); None if there is none."""
    found = _COLOUR.search(answer)
    if found is None:
        return None
    red, green, blue = (int(part, 16) for part in found.groups())
    return 0.299 * red + 0.587 * green + 0.114 * blue > 127.5

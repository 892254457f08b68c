"""Findings: what is well, what is not, and what to do about it."""

from collections.abc import Callable
from typing import NamedTuple

from podium.errors import PodiumError


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        is_well: Whether it is as it should be.
        what: The thing.
        found: How it is.
        fix: What to do; empty if it is well, or if what was found says so.
    """

    is_well: bool
    what: str
    found: str
    fix: str = ""


def tried(what: str, look: Callable[[], str], fix: str = "") -> Finding:
    """What a look finds, or the error that it ends in."""
    try:
        return Finding(True, what, look())
    except (PodiumError, OSError, ImportError, RuntimeError, ValueError) as error:
        return Finding(False, what, f"{type(error).__name__}: {error}".partition("\n")[0], fix)

"""Sweeps whose drivers a cluster keeps running: what is done on it when one is submitted, and to hear of it later."""

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from podium.errors import LookupFailed, Refused
from podium.execution.driver_log import log_name
from podium.execution.frames import read as read_frame
from podium.store import read
from podium.tracking.provenance import user
from podium.wiring.place import Place

if TYPE_CHECKING:
    from podium.execution import guardian

RESTARTS = 10
"""How often a driver that is killed, or whose database fails, is started again on one host: for three minutes or so."""

GONE_S = 30.0
LOOK_EVERY_S = 0.5

BOUND = (
    "podium: the ledger or the runs are files on the head, so the driver stays there and ends with it; with "
    "PODIUM_LEDGER=postgresql://… and MLFLOW_TRACKING_URI=http://… on every host it moves to another\n"
)

Hear = Callable[[str, str], None]


class Asked(NamedTuple):
    """A driver that somebody wants to have.

    Attributes:
        sweep: The sweep's name.
        words: The driver's command, without `podium`.
        content: The digest of the folder that came along; empty without one.
        restarts: How often it may be started again on one host.
    """

    sweep: str
    words: tuple[str, ...]
    content: str
    restarts: int


def plant(place: Place, asked: Asked, hear: Hear) -> None:
    """Has the cluster keep the driver of a sweep running, unless it does so already.

    Args:
        place: Where the sweep lives.
        asked: Which one.
        hear: Told what the user should know: `err`, and the text.

    Raises:
        Refused: if a driver runs that was launched with something else, or one does not answer now.
    """
    from podium.execution import guardian
    from podium.execution.connection import connected

    name, sweep, command = _name(place, asked.sweep), asked.sweep, _command(place, asked.words)
    charge = guardian.Charge(sweep, command, asked.content, asked.restarts, place.store, user(), guardian.shared())
    with connected(place.cluster) as nodes:
        if place.is_on_one_host and len(nodes) > 1:
            hear("err", BOUND)
        deadline = time.monotonic() + GONE_S
        while not guardian.plant(name, charge, at_head=place.is_on_one_host):
            other = guardian.find(name)
            if other is not None:
                _require_like(other, charge)
                hear("err", f"podium: {sweep} is driven already, for {other.user}\n")
                return
            if time.monotonic() > deadline:
                raise Refused(f"the last driver of {sweep!r} is about to end, and has not for {GONE_S:g} s; try again")
            time.sleep(LOOK_EVERY_S)


def follow(place: Place, sweep: str, hear: Hear) -> int:
    """Passes on what the driver of a sweep has said and says; returns its exit code in the end.

    Raises:
        PodiumError: if it is gone without a word.
    """
    from podium.execution import guardian
    from podium.execution.connection import connected

    code = 0
    with connected(place.cluster):
        for said in guardian.follow(_name(place, sweep)):
            if isinstance(said, int):
                code = said
            elif frame := read_frame(said):
                hear(frame.kind, frame.text)
    return code


def driver_log(place: Place, sweep: str, *, follow: bool) -> Iterator[str]:
    """What the drivers of a submitted sweep have said; with `follow`, goes on until the last one has ended.

    Raises:
        LookupFailed: if nothing is known of one.
    """
    from podium.execution import guardian
    from podium.execution.connection import connected

    name = _name(place, sweep)
    if place.cluster not in ("inline", "local"):
        with connected(place.cluster):
            try:
                is_driven, earlier = guardian.find(name) is not None, guardian.earlier(name)
            except Refused:  # it is being started elsewhere, and will say more
                is_driven, earlier = follow, _stored(place, sweep)
            if is_driven:
                yield earlier
                for line in guardian.follow(name, to_end=follow):
                    if isinstance(line, str) and (frame := read_frame(line)):
                        yield frame.text
                return
    said = _stored(place, sweep)
    if not said:
        raise LookupFailed(
            f"nothing is known of a driver of {sweep!r}: what it says goes to the terminal that it was launched in, or "
            "to the store if it was submitted to a cluster"
        )
    yield said


def _stored(place: Place, sweep: str) -> str:
    return read(place.store, log_name(sweep)).decode(errors="replace")


def _command(place: Place, words: tuple[str, ...]) -> tuple[str, ...]:
    where = ("--home", str(place.home), "--store", place.store, "--cluster", place.cluster)
    return (sys.executable, "-m", "podium.cli.there", "--tied", "--", *words, *where)


def _name(place: Place, sweep: str) -> str:
    """What a guardian is found by: the sweep, and the ledger in which it has its name."""
    return f"{hashlib.sha256(place.ledger.encode()).hexdigest()[:12]}/{sweep}"


def _require_like(other: "guardian.Charge", charge: "guardian.Charge") -> None:
    """Refuses another launch of a sweep that is driven; to resume it is to follow it."""
    ours, theirs = ([word for word in each.command if word != "--json"] for each in (charge, other))
    if not charge.content or (ours, charge.content) == (theirs, other.content):
        return
    how = "and was launched with something else" if other.content else "who resumed it as it had been launched"
    raise Refused(
        f"sweep {other.sweep!r} is driven already, for {other.user}, {how}; `podium resume {other.sweep}` follows it, "
        f"`podium stop {other.sweep}` ends it"
    )

"""Data sets that no sweep uses, and their removal."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from podium.errors import UserError
from podium.folders import discard
from podium.store import accessing, local_path, names
from podium.wiring.place import Place
from podium.wiring.shelf import DATA_SET, SHARDS, users

_REMAINS = re.compile(r"\.([0-9a-f]{16})(\.work|-[0-9a-f]{32})")


class Removal(NamedTuple):
    """Something that no sweep uses.

    Attributes:
        path: Where it lies.
        what: `data set`, or `unfinished work` on one.
        bytes: What its files take; None if it stays, since a process is making it.
    """

    path: str
    what: str
    bytes: int | None


def collect(place: Place, *, dry_run: bool) -> list[Removal]:
    """Removes the data sets that no sweep of the ledger uses, and what was left of unfinished ones.

    Args:
        place: With a store on this host.
        dry_run: Whether to leave everything where it is.

    Raises:
        UserError: if the store is at an address.
        StorageFault: if something cannot be removed.
    """
    folder = local_path(place.store, SHARDS)
    if folder is None:
        raise UserError(
            f"the store {place.store} is at an address, where nobody sees what other hosts are making; `podium data "
            "gc` is for stores on this host. Remove data sets there with the tools of the store"
        )
    removed = []
    for path, name, what in _unused(place, folder):
        with accessing(place.store, f"{path} could not be removed"):
            removed.append(Removal(str(path), what, discard(path, name, dry_run=dry_run)))
    return removed


def _unused(place: Place, folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Path, name of the data set, and what it is, for all that no sweep uses."""
    used = users(place.book())
    for each in names(place.store, SHARDS):
        remains = _REMAINS.fullmatch(each)
        name = remains[1] if remains else each
        if DATA_SET.fullmatch(name) and name not in used:
            yield folder / each, name, "unfinished work" if remains else "data set"

"""The data sets of a store: which there are, what they hold, and which sweeps use them."""

import re
from pathlib import Path
from typing import Any

from podium.data.compare import common, differences, is_equal
from podium.data.manifest import MANIFEST, Manifest, describe, parse_manifest
from podium.data.prepare import name_of, shards
from podium.errors import DataError, LookupFailed
from podium.folders import has
from podium.ledger import Book
from podium.spec.files import read_sweep
from podium.store import names, read, written_at
from podium.sweep.messages import Launched
from podium.wiring.place import Place

SHARDS = "shards"
"""The folder of the store that data sets lie in."""

DATA_SET = re.compile(r"[0-9a-f]{16}")
"""What the name of a data set looks like."""

_PREFIX = re.compile(rf"(?:{SHARDS}/)?([0-9a-f]{{1,16}})")


def find(place: Place, what: str) -> str:
    """The name of the data set that is meant by a sweep file, a sweep's name, or a data set's own or how it begins.

    Raises:
        LookupFailed: if there is none, or there are several.
        UserError: for a sweep file that cannot be read, or whose source cannot be found.
    """
    if what.endswith((".yaml", ".yml")) or Path(what).is_file():
        return _of_file(place, what)
    book = place.book()
    if book.has(what):
        name = _data(book, what)
        if not name:
            raise LookupFailed(f"the sweep {what!r} has no data")
        return name
    begin = _PREFIX.fullmatch(what)
    found = [name for name in _data_sets(place) if begin and name.startswith(begin[1])]
    if not found:
        raise LookupFailed(
            f"{what!r} is no sweep file, no sweep, and begins no data set's name; `podium data list` shows the data "
            "sets, `podium list` the sweeps"
        )
    if len(found) > 1:
        raise LookupFailed(f"{what!r} begins the names of {len(found)} data sets: {', '.join(found)}; give more of one")
    return found[0]


def where(place: Place, name: str) -> str:
    """The path or address of a data set."""
    return f"{place.store.rstrip('/')}/{shards(name)}"


def fetch(place: Place, name: str) -> Path:
    """The folder of a data set on this host.

    Raises:
        UserError: if a store at an address does not have it whole.
        StorageFault: if the store cannot be read.
    """
    return place.fetch(shards(name))


def manifest(place: Place, name: str) -> Manifest:
    """What a data set holds, without fetching it.

    Raises:
        DataError: if it is not there, or its manifest cannot be read.
        StorageFault: if the store cannot be read.
    """
    folder = where(place, name)
    return parse_manifest(read(folder, MANIFEST), folder)


def show(place: Place, name: str) -> dict[str, Any]:
    """A data set as plain data: its manifest, where it lies, and the sweeps that use it."""
    described = describe(manifest(place, name))
    return {"name": name, "folder": where(place, name), **described, "sweeps": users(place.book()).get(name, [])}


def users(book: Book) -> dict[str, list[str]]:
    """By data set the sweeps that were launched with it, oldest first."""
    found: dict[str, list[str]] = {}
    for sweep in book.sweeps():
        if name := _data(book, sweep):
            found.setdefault(name, []).append(sweep)
    return found


def compare(place: Place, a: str, b: str) -> dict[str, Any]:
    """What differs between two data sets, and what they have in common; both are read, but for their test splits.

    Raises:
        DataError: if one is not there, or cannot be read.
        StorageFault: if the store cannot be read.
    """
    one, other = manifest(place, a), manifest(place, b)
    folders = [fetch(place, name) for name in (a, b)]
    return {
        "names": [a, b],
        "differences": differences(one, other),
        "common": common(*folders),
        "is_test_equal": is_equal(one, other, "test"),
    }


def overview(place: Place) -> list[dict[str, Any]]:
    """All data sets of the store in short, by age; of those that cannot be used, `problem` says why.

    Raises:
        StorageFault: if the store cannot be read.
    """
    used = users(place.book())
    rows = [_in_short(place, name) | {"sweeps": used.get(name, [])} for name in _data_sets(place)]
    return sorted(rows, key=lambda row: row["made_at"] or 0)


def _in_short(place: Place, name: str) -> dict[str, Any]:
    try:
        shown = describe(manifest(place, name))
    except DataError as error:
        nothing = dict.fromkeys(("samples", "bytes", "source", "made_at"))
        return {"name": name, **nothing, "problem": str(error)}
    is_whole = has(place.store, shards(name))
    return {
        "name": name,
        **{key: shown[key] for key in ("samples", "bytes", "source")},
        "made_at": written_at(where(place, name), MANIFEST),
        "problem": "" if is_whole else f"shards are missing or truncated; `podium data verify {name}` names them",
    }


def _of_file(place: Place, path: str) -> str:
    file = read_sweep(path)
    if file.spec.data is None:
        raise LookupFailed(f"the sweep of {path} has no data")
    name = name_of(file.spec.data, file.folder, place.cache)
    if not has(place.store, shards(name)):
        raise LookupFailed(f"the data of {path} are not prepared yet; `podium data prepare {path}` does it")
    return name


def _data_sets(place: Place) -> list[str]:
    return [name for name in names(place.store, SHARDS) if DATA_SET.fullmatch(name)]


def _data(book: Book, sweep: str) -> str:
    """The name of a sweep's data set; empty if it has none."""
    launched = next(iter(book.rows(sweep))).event
    assert isinstance(launched, Launched)
    return launched.data

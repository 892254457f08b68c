"""Pictures among a trial's artifacts: what its task has logged, and what was made of the inside of its network."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from podium import store
from podium.errors import LookupFailed
from podium.training.artifacts import artifact_folder
from podium.wiring.place import Place
from podium.wiring.tracker import INSIDE

KINDS = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
"""What is shown as a picture: formats that can do nothing."""

LOGGED = "logged"
"""What the pictures of the task are called in addresses, beside those of the inside."""


def found(place: Place, sweep: str, trial: int, facts: Mapping[str, Any]) -> dict[str, list[str]]:
    """By where they come from, the names of the pictures of a trial."""
    inside = _inside(place, sweep, trial, facts)
    names = sorted(each.name for each in inside.iterdir()) if inside is not None and inside.is_dir() else []
    logged = store.names(place.store, artifact_folder(sweep, trial))
    listed = {INSIDE: names, LOGGED: logged}
    pictures = {kind: [name for name in some if _kind(name) in KINDS] for kind, some in listed.items()}
    return {kind: some for kind, some in pictures.items() if some}


def read(place: Place, sweep: str, trial: int, facts: Mapping[str, Any], name: str) -> bytes:
    """What is in one of these.

    Raises:
        LookupFailed: if there is no such picture.
    """
    kind, _, file = name.partition("/")
    if file not in found(place, sweep, trial, facts).get(kind, ()):
        raise LookupFailed(f"trial {trial} of {sweep!r} has no picture {name!r}")
    if kind == LOGGED:
        return store.read(place.store, f"{artifact_folder(sweep, trial)}/{file}")
    inside = _inside(place, sweep, trial, facts)
    assert inside is not None, "it was found there"
    return (inside / file).read_bytes()


def _inside(place: Place, sweep: str, trial: int, facts: Mapping[str, Any]) -> Path | None:
    """The folder with pictures of the inside, where MLflow keeps artifacts in the home; None if it does not."""
    run = facts.get(f"run/{trial}")
    if not run or not place.tracking_uri.startswith("sqlite"):
        return None
    return place.artifacts / sweep / str(run) / "artifacts" / INSIDE


def _kind(name: str) -> str:
    return PurePosixPath(name).suffix.lower()

"""The user's code, copied into the store under its digest, so that every host runs what was launched."""

import ast
from pathlib import Path

from podium.errors import UserError
from podium.folders import make
from podium.store import local_path
from podium.training.sources import digest_of, is_hidden, require_digest
from podium.wiring.place import Place

MOST_FILES = 500


def stage(folder: Path, place: Place) -> str:
    """Copies the Python files of `folder` into the store; returns their digest, which names the copy.

    Hidden files and folders do not count, nor does what Podium itself keeps in store and home.

    Raises:
        UserError: if the folder holds so many files that it is hardly a sweep's own.
        StorageFault: if the store cannot be written.
    """
    contents = _contents(folder, place)
    digest = digest_of(contents)
    make(place.store, staged(digest), place.cache, lambda made: _write(contents, made))
    return digest


def digest(folder: Path, place: Place) -> str:
    """What `stage` would return, and copies nothing.

    Raises:
        UserError: if the folder holds so many files that it is hardly a sweep's own.
    """
    return digest_of(_contents(folder, place))


def fetched(digest: str, place: Place) -> Path | None:
    """The copy on this host, as it was launched; None if the sweep has no code of its own.

    Raises:
        TaskError: if it was changed since.
        UserError: if the store does not have it whole.
        StorageFault: if the store cannot be read.
    """
    if not digest:
        return None
    folder = place.fetch(staged(digest))
    require_digest(folder, digest)
    return folder


def _contents(folder: Path, place: Place) -> dict[str, bytes]:
    folder = folder.resolve()
    found = [path for path in sorted(folder.rglob("*.py")) if not is_hidden(path.relative_to(folder))]
    own = _own(place) - {folder, *folder.parents}
    files = [path for path in found if path.is_file() and not own.intersection(path.parents)]
    if len(files) > MOST_FILES:
        raise UserError(
            f"{folder} holds {len(files)} Python files, and a sweep may bring at most {MOST_FILES}; "
            "put the sweep file and its task into a folder of their own"
        )
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def is_task(reference: str, folder: Path) -> bool:
    """Whether `file.py:name` is a class or what one makes, so a task; a function, or what cannot be told, is none.

    The file is read and not run, since the driver has no other use for the libraries that it imports.
    """
    file, _, name = reference.partition(":")
    try:
        tree = ast.parse((folder / file).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    for node in reversed(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return isinstance(node, ast.ClassDef)
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == name for each in node.targets
        ):
            return isinstance(node.value, ast.Call)
    return False


def staged(digest: str) -> str:
    """Where the copy lies, relative to the store."""
    return f"code/{digest[:16]}"


def _own(place: Place) -> set[Path]:
    """The folders in which Podium itself keeps Python files."""
    home, store = place.home.resolve(), local_path(place.store, "")
    own = {home, home / "artifacts", place.cache.resolve()}
    return own if store is None else own | {store.resolve(), store.resolve() / "code"}


def _write(contents: dict[str, bytes], made: Path) -> None:
    for name, content in contents.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

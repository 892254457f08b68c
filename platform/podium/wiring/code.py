"""The user's code, copied into the store under its digest, so that every host runs what was launched."""

import hashlib
import shutil
import uuid
from pathlib import Path

from podium.errors import UserError

MOST_FILES = 500


def stage(folder: Path, store: Path, home: Path) -> str:
    """Copies the Python files of `folder` into the store; returns their digest, which names the copy.

    Hidden files and folders do not count, nor does what Podium itself keeps in store and home.

    Raises:
        UserError: if the folder holds so many files that it is hardly a sweep's own.
    """
    folder, store, home = folder.resolve(), store.resolve(), home.resolve()
    own = {store, store / "code", home, home / "artifacts"} - {folder}
    found = [path for path in sorted(folder.rglob("*.py")) if not _is_hidden(path.relative_to(folder))]
    files = [path for path in found if not own.intersection(path.parents)]
    if len(files) > MOST_FILES:
        raise UserError(
            f"{folder} holds {len(files)} Python files, and a sweep may bring at most {MOST_FILES}; "
            "put the sweep file and its task into a folder of their own"
        )
    contents = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
    parts = [part for name, content in contents.items() for part in (name.encode(), content)]
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).hexdigest()
    target = staged(digest, store)
    if not target.exists():
        _write(contents, target)
    return digest


def staged(digest: str, store: Path) -> Path:
    """The folder of staged code."""
    return store / "code" / digest[:16]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _write(contents: dict[str, bytes], target: Path) -> None:
    made = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    for name, content in contents.items():
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        made.rename(target)
    except OSError:
        shutil.rmtree(made)
        if not target.exists():
            raise

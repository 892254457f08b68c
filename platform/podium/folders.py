"""Folders that never change once they are made: shards and code, named by their content.

`make` makes one and leaves it in the store; `fetch` has it on any host. On this host it is there as a whole or not at
all; in a store at an address, what lies under a name counts only with the list of its contents, which is written last.
"""

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from podium.errors import UserError
from podium.store import accessing, at_once, files_of, local_path, open_remote, put_all

CONTENTS = ".contents.json"
"""The file of a made folder that gives the bytes of each other."""

LIMIT = "PODIUM_CACHE_GB"
"""Names in the environment how many gigabytes (10^9 bytes) of stores at addresses a host keeps; all, if unset."""

_held: dict[Path, int] = {}
"""What this process has fetched, and the open files whose locks keep it."""

_DRAFT = re.compile(r"\.(.+)-[0-9a-f]{32}")


def make(store: str, name: str, cache: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `name` on this host, made unless the store has it.

    Of several processes that make it at once, on one host one does and the others wait for it.

    Args:
        store: Path or address.
        name: What follows from the content of the folder, which never changes.
        cache: Where this host keeps what it has of a store at an address.
        fill: Writes the content into an empty folder.

    Raises:
        StorageFault: if the store, or this host's disk, cannot be written.
    """
    root = local_path(store, "")
    if root is not None:
        _make_once(root, root / name, fill)
        return root / name
    if not _has(store, name):
        _make_once(cache, cache / name, fill)
        _upload(store, name, cache / name)
    return fetch(store, name, cache)


def fetch(store: str, name: str, cache: Path) -> Path:
    """The folder `name`, which `make` has made on some host, on this one; copied to `cache` once from an address.

    Raises:
        UserError: if a store at an address does not have it whole.
        StorageFault: if the store cannot be read, or this host's disk cannot be written.
    """
    path = local_path(store, name)
    if path is not None:
        return path
    folder = cache / name
    while not _hold(folder):
        _make_once(cache, folder, lambda made: _download(store, name, made))
    _make_room(folder)
    return folder


def has(store: str, name: str) -> bool:
    """Whether the store has the folder `name` whole; a glance that reads none of its files.

    Raises:
        StorageFault: if a store at an address cannot be read.
    """
    path = local_path(store, name)
    return _has(store, name) if path is None else is_whole(path)


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """A folder for as long as the block lasts; those of processes that died within theirs are removed first.

    Args:
        parent: Where it lies, hidden.
        name: What its own name begins with.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _clear(parent)
    lock = f"{name}-{uuid.uuid4().hex}"
    with _locked(parent / f".{lock}.lock"):
        folder = parent / f".{lock}-{uuid.uuid4().hex}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def discard(path: Path, name: str, *, dry_run: bool) -> int | None:
    """Removes a made folder, or what is left of one in the making, unless some process is making it now.

    Args:
        path: What to remove.
        name: The made folder's name, beside `path`.
        dry_run: Whether to find out only.

    Returns:
        The bytes of its files; None if it stays, since a process is making it.

    Raises:
        OSError: if it cannot be removed.
    """
    with _locked(path.with_name(f".{name}.lock"), wait=False) as is_mine:
        if not is_mine:
            return None
        size = sum(file.stat().st_size for file in files_of(path))
        if path.exists() and not dry_run:
            aside = path.with_name(f".{name}-{uuid.uuid4().hex}")
            path.rename(aside)
            shutil.rmtree(aside)
    return size


def _hold(folder: Path) -> bool:
    """Keeps a folder from being removed while this process lives; whether it is there as a whole."""
    if is_whole(folder) and folder in _held:
        return True
    if folder in _held:
        os.close(_held.pop(folder))
    with suppress(FileNotFoundError), (folder / CONTENTS).open("rb") as file:
        with suppress(OSError):  # not every file system knows locks
            fcntl.flock(file, fcntl.LOCK_SH)
        if _is_at(file, folder / CONTENTS) and is_whole(folder):
            with suppress(OSError):
                os.utime(folder / CONTENTS)
            _held[folder] = os.dup(file.fileno())  # the lock is this one's, too
            return True
    return False


def _make_room(folder: Path) -> None:
    """Removes what was fetched beside a folder, the longest unused first, until no more is left than may be kept."""
    limit = os.environ.get(LIMIT, "")
    if not limit:
        return
    try:
        most = float(limit) * 1e9
    except ValueError:
        raise UserError(f"{LIMIT} is {limit!r}; it is a number of gigabytes, or left out") from None
    kept = {each: _size(each) for each in folder.parent.iterdir() if is_whole(each)}
    for each in sorted(kept, key=lambda each: (each / CONTENTS).stat().st_mtime):
        if sum(kept.values()) > most and each not in _held and _remove_unused(each):
            del kept[each]


def _size(folder: Path) -> int:
    return sum(_sizes((folder / CONTENTS).read_bytes()).values())


def _remove_unused(folder: Path) -> bool:
    """Removes a folder that no process of this host holds; whether it did."""
    with suppress(OSError), (folder / CONTENTS).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
        return True
    return False


def is_whole(folder: Path) -> bool:
    """Whether a made folder has all its files in their full size; a glance that reads none of them."""
    try:
        sizes = _sizes((folder / CONTENTS).read_bytes())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _make_once(root: Path, folder: Path, fill: Callable[[Path], None]) -> None:
    """Has a folder made elsewhere and put in its place, so that a reader sees all or nothing."""
    if is_whole(folder):
        return
    failed = f"{folder.relative_to(root)} could not be written"
    with accessing(str(root), failed):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear(folder.parent)
        with _locked(folder.with_name(f".{folder.name}.lock")):
            if not is_whole(folder):
                _make(root, folder, fill, failed)


def _make(root: Path, folder: Path, fill: Callable[[Path], None], failed: str) -> None:
    made = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    made.mkdir()
    try:
        with accessing(str(root), failed):  # says what is free before the draft is removed
            fill(made)
            _seal(made)
            _put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _put_in_place(made: Path, folder: Path) -> None:
    """Renames `made` to `folder`; what is whole there stays, what is damaged goes."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.exists():
            raise
        if is_whole(folder):
            return
        damaged = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
        folder.rename(damaged)
        made.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)


def _clear(parent: Path) -> None:
    """Removes what processes that died have left of folders in the making; who lives holds the folder's lock."""
    for path in parent.iterdir():
        draft = _DRAFT.fullmatch(path.name)
        if draft is not None:
            with _locked(parent / f".{draft[1]}.lock", wait=False) as is_mine:
                if is_mine:
                    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Holds a lock file, which is gone with its holder; gives whether it does: not every file system knows locks."""
    file = _lock(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield file is not None
    finally:
        if file is not None:
            path.unlink(missing_ok=True)
            file.close()


def _lock(path: Path, operation: int) -> IO[bytes] | None:
    while True:
        try:
            file = path.open("ab")
        except OSError:
            return None
        try:
            fcntl.flock(file, operation)
        except OSError:
            file.close()
            return None
        if _is_at(file, path):
            return file
        file.close()


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at its path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


def _seal(folder: Path) -> None:
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files_of(folder)}
    with (folder / CONTENTS).open("w") as file:
        json.dump(sizes, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _sizes(content: bytes) -> dict[str, int]:
    sizes = json.loads(content)
    if not isinstance(sizes, dict):
        raise ValueError(f"{CONTENTS} holds no object")
    return sizes


def _has(store: str, name: str) -> bool:
    """Whether a store at an address has a folder whole."""
    with accessing(store, f"{name} could not be looked up"):
        system, address = open_remote(store, name)
        try:
            sizes = _sizes(system.cat_file(f"{address}/{CONTENTS}"))
        except (FileNotFoundError, ValueError):
            return False
        found = system.find(address, detail=True)
    return all(found.get(f"{address}/{each}", {}).get("size") == size for each, size in sizes.items())


def _upload(store: str, name: str, folder: Path) -> None:
    with accessing(store, f"{name} could not be written"):
        system, address = open_remote(store, name)
        put_all(system, address, folder, [file for file in files_of(folder) if file.name != CONTENTS])
        system.put_file(str(folder / CONTENTS), f"{address}/{CONTENTS}")


def _download(store: str, name: str, made: Path) -> None:
    where = f"{store.rstrip('/')}/{name}"
    fix = f"delete {where} and launch the sweep again, and it is made anew"
    with accessing(store, f"{name} could not be read"):
        system, address = open_remote(store, name)
        try:
            sizes = _sizes(system.cat_file(f"{address}/{CONTENTS}"))
        except (FileNotFoundError, ValueError):
            raise UserError(f"{where} is not there as a whole; {fix}") from None

        def get(file: str) -> None:
            target = made / file
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                system.get_file(f"{address}/{file}", str(target))
            if not target.exists() or target.stat().st_size != sizes[file]:
                raise UserError(f"{where}/{file} is missing or truncated; {fix}")

        at_once(get, sizes)

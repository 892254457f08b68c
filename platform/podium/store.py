"""The store: a path or any fsspec address; everything in it is named relative to it."""

import shutil
from pathlib import Path
from typing import Any


def local_path(store: str, name: str) -> Path | None:
    """The path of `name` if the store is a folder of this host; None if it is an address."""
    if store.startswith("file://"):
        return Path(store.removeprefix("file://")) / name
    return None if "://" in store else Path(store) / name


def open_remote(store: str, name: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the full path of `name` in it."""
    import fsspec

    system, root = fsspec.core.url_to_fs(store)
    return system, f"{root.rstrip('/')}/{name}"


def copy_into(store: str, name: str, source: Path) -> None:
    """Copies a file, or a folder with all it holds, to `name` in the store; what is there already is replaced."""
    target = local_path(store, name)
    if target is None:
        system, path = open_remote(store, name)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put(str(source), path, recursive=source.is_dir())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)

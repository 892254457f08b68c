"""The store: a path or any fsspec address; everything in it is named relative to it.

Credentials for an address come from the environment alone, as the driver of its protocol reads them.
"""

import errno
import hashlib
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from podium.errors import PodiumError, StorageFault, UserError

EXTRAS = {"s3": "podium[s3]", "s3a": "podium[s3]"}
"""By protocol what to install for it."""

FILES_AT_ONCE = 2
"""How many files go to or come from an address at the same time; drivers hold much of each in memory, and split it."""

_PASSWORD = re.compile(r"://[^/:@]*:(?!\d+(/|$))[^@]*@")
_LOCAL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def local_path(store: str, name: str) -> Path | None:
    """The path of `name` if the store is a folder of this host; None if it is an address."""
    if store.startswith("file://"):
        return Path(store.removeprefix("file://")) / name
    return None if "://" in store else Path(store) / name


def open_remote(store: str, name: str) -> tuple[Any, str]:
    """The fsspec file system of an address, as it is now, and the full path of `name` in it.

    Raises:
        UserError: if the package for its protocol is not installed.
    """
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(store)
    except (ImportError, ValueError) as error:
        extra = EXTRAS.get(store.partition("://")[0])
        fix = f"run: pip install '{extra}'" if extra else "install the fsspec package for its protocol"
        raise UserError(f"the store {store} cannot be opened: {error}; {fix}, on every host") from error
    system.invalidate_cache()
    return system, f"{root.rstrip('/')}/{name}"


@contextmanager
def accessing(store: str, failed: str) -> Iterator[None]:
    """Makes of what goes wrong with the store one fault that begins with `failed`.

    Raises:
        StorageFault: if the store fails.
    """
    try:
        yield
    except PodiumError:
        raise
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        is_remote = local_path(store, "") is None
        if (is_remote and number in _LOCAL_DISK) or not (is_remote or isinstance(error, OSError)):
            raise
        raise fault(store, failed, error) from error


def fault(store: str, failed: str, error: Exception) -> StorageFault:
    """What is raised for an error of the store: what failed, where, why, and how much room there is."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    path = local_path(store, "")
    with suppress(OSError):
        if path is not None:
            usage = shutil.disk_usage(path)
            reason += f"; {usage.free / 1e6:,.1f} of {usage.total / 1e6:,.1f} MB are free there"
    return StorageFault(f"{failed}: {store}: {reason}")


def refuse_password(store: str) -> None:
    """Refuses an address that holds a password, which would end in logs and ledgers.

    Raises:
        UserError: if it does.
    """
    if _PASSWORD.search(store):
        raise UserError(
            f"the store {_PASSWORD.sub('://***@', store)} has a password in its address; give the address without it, "
            "and the credentials in the environment of every host: AWS_ACCESS_KEY_ID and its like, or FSSPEC_…"
        )


def require_usable(store: str) -> None:
    """Writes, reads and removes an object in a store at an address.

    Raises:
        UserError: if that does not work.
    """
    name, content = f".probe-{secrets.token_hex(8)}", secrets.token_bytes(16)
    try:
        write(store, name, content)
        found = read(store, name)
        remove(store, name)
    except StorageFault as error:
        raise UserError(
            f"the store {store} cannot be used: {error}. Give --store an address that you may write to and read from, "
            "with its credentials in the environment"
        ) from error
    if found != content:
        raise UserError(f"the store {store} does not give back what was written there; give another --store")


def size(store: str, name: str) -> int:
    """The bytes of a file of the store; 0 if there is none.

    Raises:
        StorageFault: if the store cannot be read.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be read"), suppress(FileNotFoundError):
        if path is not None:
            return path.stat().st_size
        system, address = open_remote(store, name)
        return int(system.size(address))
    return 0


def read(store: str, name: str, start: int = 0) -> bytes:
    """What a file of the store holds from byte `start` on; nothing if there is none.

    Raises:
        StorageFault: if the store cannot be read.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be read"), suppress(FileNotFoundError):
        if path is not None:
            with path.open("rb") as file:
                file.seek(start)
                return file.read()
        system, address = open_remote(store, name)
        if system.size(address) > start:
            return bytes(system.cat_file(address, start=start))
    return b""


def names(store: str, name: str) -> list[str]:
    """What lies directly in a folder of the store, by name; nothing if there is no such folder.

    Raises:
        StorageFault: if the store cannot be read.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be looked up"), suppress(FileNotFoundError):
        if path is not None:
            return sorted(each.name for each in path.iterdir())
        system, address = open_remote(store, name)
        return sorted(each.rstrip("/").rpartition("/")[2] for each in system.ls(address, detail=False))
    return []


def written_at(store: str, name: str) -> float:
    """When a file of the store was written, in seconds since 1970.

    Raises:
        StorageFault: if it is not there, or the store cannot be read.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be looked up"):
        if path is not None:
            return path.stat().st_mtime
        system, address = open_remote(store, name)
        return float(system.modified(address).timestamp())


def checksum(store: str, name: str) -> str | None:
    """The SHA-256 of a file of the store, in hexadecimal; None if there is none.

    Raises:
        StorageFault: if the store cannot be read.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be read"), suppress(FileNotFoundError):
        if path is None:
            system, address = open_remote(store, name)
        with path.open("rb") if path is not None else system.open(address, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return None


def write(store: str, name: str, content: bytes) -> None:
    """Makes a file of the store, or replaces it.

    Raises:
        StorageFault: if the store cannot be written.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be written"):
        if path is None:
            system, address = open_remote(store, name)
            system.pipe_file(address, content)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def remove(store: str, name: str) -> None:
    """Removes a file of the store.

    Raises:
        StorageFault: if the store cannot be written.
    """
    path = local_path(store, name)
    with accessing(store, f"{name} could not be removed"):
        if path is None:
            system, address = open_remote(store, name)
            system.rm_file(address)
        else:
            path.unlink()


def copy_into(store: str, name: str, source: Path) -> None:
    """Copies a file, or a folder with all it holds, to `name` in the store; what is there already is replaced.

    Raises:
        StorageFault: if the store cannot be written.
    """
    target = local_path(store, name)
    with accessing(store, f"{name} could not be written"):
        if target is None:
            system, address = open_remote(store, name)
            if source.is_dir():
                put_all(system, address, source, files_of(source))
            else:
                system.put_file(str(source), address)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)


def copy_from(store: str, name: str, target: Path) -> None:
    """Copies a file, or a folder with all it holds, from a store at an address; what is not there is left out.

    Raises:
        StorageFault: if the store cannot be read.
    """
    with accessing(store, f"{name} could not be read"):
        system, address = open_remote(store, name)
        for path in system.find(address):
            file = target / path.removeprefix(address).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                system.get_file(path, str(file))


def put_all(system: Any, address: str, folder: Path, files: Iterable[Path]) -> None:
    """Copies files of a folder below an address."""
    at_once(lambda file: system.put_file(str(file), f"{address}/{file.relative_to(folder).as_posix()}"), files)


def at_once(do: Callable[[Any], None], files: Iterable[Any]) -> None:
    """Does the same for several files at a time; the first error ends it."""
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        for _ in pool.map(do, files):
            pass


def files_of(folder: Path) -> list[Path]:
    """All files below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())

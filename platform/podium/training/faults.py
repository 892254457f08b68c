"""Training: what stands behind an error when a store was read or written."""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from podium.errors import PodiumError, StorageFault
from podium.store import local_path

PROBE = bytes(1 << 16)
"""What a disk has to take if a write that failed is not to be blamed on it."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors that are a disk's, whatever was written and by whom."""

_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def accessing(store: str, failed: str) -> Iterator[None]:
    """Makes whatever goes wrong with a store in the block one clear fault; that something is not there is none.

    Args:
        store: Path or fsspec address.
        failed: What failed then, in words.

    Raises:
        StorageFault: in place of what was raised.
    """
    try:
        yield
    except (PodiumError, FileNotFoundError):
        raise
    except Exception as error:
        if local_path(store, "") is not None and not isinstance(error, OSError):
            raise
        raise _fault(store, failed, error) from error


def fault_behind(error: BaseException, folder: Path, store: str, failed: str) -> StorageFault | None:
    """The fault behind an error of some library that wrote into `folder`; None if the disk takes what it is given.

    Many libraries hide the operating system's error in a text, or leave only a file that is too short.
    """
    if isinstance(error, PodiumError) or not isinstance(error, Exception):
        return None
    told = _NUMBER.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
    if number not in DISK:
        try:
            _probe(folder / ".probe")
        except OSError as refused:
            number, error = refused.errno, refused
    return _fault(store, failed, error) if number in DISK else None


def _probe(path: Path) -> None:
    try:
        with path.open("wb") as file:
            file.write(PROBE)
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def _fault(store: str, failed: str, error: Exception) -> StorageFault:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    path = local_path(store, "")
    with suppress(OSError):
        if path is not None:
            usage = shutil.disk_usage(path)
            reason += f"; {usage.free / 1e6:,.1f} of {usage.total / 1e6:,.1f} MB are free there"
    return StorageFault(f"{failed}: {store}: {reason}")

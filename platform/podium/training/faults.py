"""Training: what stands behind an error of a library: a disk that failed, memory that ran out."""

import errno
import os
import re
import sys
from pathlib import Path

from podium.errors import MeetingFailed, PodiumError, StorageFault
from podium.store import fault

PROBE = bytes(1 << 16)
"""What a disk has to take if a write that failed is not to be blamed on it."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors that are a disk's, whatever was written and by whom."""

_NUMBER = re.compile(r"\(os error (\d+)\)")


def fault_behind(error: BaseException, folder: Path, disk: str, failed: str) -> StorageFault | None:
    """The fault behind an error of some library that wrote into `folder`; None if the disk takes what it is given.

    Many libraries hide the operating system's error in a text, or leave only a file that is too short.

    Args:
        error: What the library raised.
        folder: Where it wrote.
        disk: A folder that names the disk for the user.
        failed: What failed, in words.
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
    return fault(disk, failed, error) if number in DISK else None


def _probe(path: Path) -> None:
    try:
        with path.open("wb") as file:
            file.write(PROBE)
            file.flush()
            os.fsync(file.fileno())
    finally:
        path.unlink(missing_ok=True)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory of the host or of the device ran out."""
    if "torch" in sys.modules:  # what was never imported has raised nothing
        import torch

        if isinstance(error, torch.OutOfMemoryError):
            return True
    # torch's allocator for the host raises a plain RuntimeError
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def is_parted(error: BaseException) -> bool:
    """Whether ranks could not reach each other any more: one of them is dead, or its host cut off."""
    if isinstance(error, MeetingFailed):
        return True
    if "torch" in sys.modules:
        import torch.distributed

        if isinstance(error, torch.distributed.DistError):
            return True
    return isinstance(error, RuntimeError) and "/gloo/" in str(error)

"""Files that commands write where they are told to."""

import os
from pathlib import Path

from podium.errors import UserError


def require_writable(path: Path) -> None:
    """Refuses a file that could not be written, before any work is done.

    Raises:
        UserError: saying why not.
    """
    if os.path.isdir(path):  # of a name that is too long it says no, where `Path.is_dir` raises
        raise UserError(f"{path} is a folder; give the file to write, such as {path / 'report.html'}")
    if not os.path.isdir(path.parent):
        raise UserError(f"{path.parent} is no folder that can be written to; make it, or give another file")
    _write(path, None)


def write(path: Path, content: bytes) -> None:
    """Writes a file; whoever reads it meanwhile sees the old one or the new one.

    Raises:
        UserError: if it cannot be written.
    """
    _write(path, content)


def _write(path: Path, content: bytes | None) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content or b"")
        if content is not None:
            draft.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}; give another file") from error
    finally:
        if os.path.exists(draft):
            draft.unlink()

"""A sweep's folder as one zip file that travels to a cluster; equal contents make equal bytes."""

import hashlib
import io
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from pathlib import Path

from podium.errors import UserError

MOST_BYTES = 50_000_000
"""So many bytes may travel with a sweep: Ray keeps them in its head's memory."""

MOST_FILES = 2000
LOOKED_AT = 20 * MOST_FILES
LARGEST = 3


def pack(folder: Path, notes: Mapping[str, str] | None = None) -> bytes:
    """The files of a folder, without what is hidden, made by Python, or kept by Podium.

    Args:
        folder: What a sweep file lies in.
        notes: By name the texts of files that are added.

    Raises:
        UserError: if the folder is too large to travel, or a file cannot; names it.
    """
    files = list(islice(_files(folder), LOOKED_AT))
    _refuse_much(folder, files)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        for file in files:
            zipped.writestr(_entry(_name(file, folder)), _read(file))
        for name, text in (notes or {}).items():
            zipped.writestr(_entry(name), text)
    return content.getvalue()


def digest(packed: bytes, notes: Collection[str] = ()) -> str:
    """Of what a parcel holds but for its notes, which differ with where and when it was packed."""
    found = hashlib.sha256()
    with zipfile.ZipFile(io.BytesIO(packed)) as zipped:
        for name in zipped.namelist():
            if name not in notes:
                found.update(f"{name}\0{hashlib.sha256(zipped.read(name)).hexdigest()}\0".encode())
    return found.hexdigest()


def _name(file: Path, folder: Path) -> str:
    name = file.relative_to(folder).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise UserError(f"{name!r} in {str(folder)!a} is no name in UTF-8 and cannot travel; rename it") from None
    return name


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(
            f"{file} cannot travel with the sweep: {error.strerror or error}; make it readable, or put the sweep file "
            "into a folder of its own"
        ) from error


def _files(folder: Path) -> Iterator[Path]:
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _stays(Path(path, name)))
        yield from (
            Path(path, name) for name in sorted(names) if not name.startswith(".") and Path(path, name).is_file()
        )


def _stays(folder: Path) -> bool:
    """Whether a folder is hidden, made by Python, or a home of Podium."""
    is_made = folder.name == "__pycache__" or (folder / "pyvenv.cfg").exists()
    return folder.name.startswith(".") or is_made or (folder / "ledger.db").exists()


def _refuse_much(folder: Path, files: list[Path]) -> None:
    sizes = {file: file.stat().st_size for file in files}
    if sum(sizes.values()) <= MOST_BYTES and len(files) <= MOST_FILES:
        return
    largest = sorted(files, key=lambda file: -sizes[file])[:LARGEST]
    named = ", ".join(f"{file.relative_to(folder)} ({sizes[file] / 1e6:,.1f} MB)" for file in largest)
    raise UserError(
        f"{folder} holds {len(files):,} files of {sum(sizes.values()) / 1e6:,.1f} MB, and with a sweep travel at "
        f"most {MOST_FILES:,} of {MOST_BYTES / 1e6:g} MB; the largest are {named}. Put data where the cluster finds "
        "them, say at an s3:// address or in a folder of its hosts, or the sweep file into a folder of its own"
    )


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without the time and the mode, which would make equal contents differ."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    return entry

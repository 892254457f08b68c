"""Files: what lies at the path of a source, on this host or at any fsspec address."""

import errno
import fnmatch
import hashlib
import json
import os
import posixpath
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from podium.data.manifest import file_sha256
from podium.errors import DataError, UserError
from podium.store import fault, local_path, open_remote, refuse_password

CHECKSUMS = "checksums"
"""The folder, in what this host keeps, with the checksums of files that have not changed since."""

COPIED_BYTES = 1 << 20

_SECRET = re.compile(r"https?://([^/]*@|.*\?)")

TELLING = ("etag", "lastmodified", "mtime", "modified", "updated", "md5", "md5hash", "crc32c", "sha256")
"""What servers call what changes with a file, without case, hyphens and underscores."""

ZARR = (".zgroup", ".zarray", ".zattrs", ".zmetadata")
"""Hidden files that belong to what is stored."""


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        path: On this host, or the address.
        name: What messages and orders call it: relative to the folder, with slashes.
    """

    path: str
    name: str

    @property
    def key(self) -> str:
        """A short name that no other file has."""
        return hashlib.sha256(self.path.encode()).hexdigest()[:16]

    def read(self) -> bytes:
        """All its bytes.

        Raises:
            DataError: if it cannot be read.
        """
        with self.open() as file:
            content: bytes = file.read()
        return content

    @contextmanager
    def streamed(self) -> Iterator[IO[bytes]]:
        """The file, to read its bytes one after the other, which is all that some servers allow.

        Raises:
            DataError: if it cannot be read, from within the block, too.
        """
        if not self.path.startswith(("http://", "https://")):
            with self.open() as file:
                yield file
            return
        system, address = _opened(self.path)
        with readable(self.path), system.open(address, "rb", block_size=0) as file:
            yield file

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, to read bytes from anywhere in it.

        Raises:
            DataError: if it cannot be read, from within the block, too.
        """
        with readable(self.path):
            if local_path(self.path, "") is not None:
                with Path(self.path).open("rb") as file:
                    yield file
            else:
                system, address = _opened(self.path)
                with system.open(address, "rb") as file:
                    yield file


class Files:
    """The files at a path: one file, all below a folder, or those that fit a pattern; ordered by name.

    Args:
        path: Relative to `base`, absolute, or an fsspec address; `*`, `?` and `**` make it a pattern.
        base: The sweep file's folder.
        cache: Where this host keeps checksums; None to reckon them each time.
        endings: Which files of a folder count, by ending; all if there are none.
        setting: The setting that the path is from, for errors.
    """

    def __init__(
        self,
        path: str,
        base: Path,
        cache: Path | None,
        endings: Sequence[str] = (),
        setting: str = "data.source.path",
    ) -> None:
        _refuse_secrets(path)
        self._given, self._base, self._cache, self._endings = path, base, cache, tuple(endings)
        self._setting = f"{setting} ({path!r})"
        self.place = path if local_path(path, "") is None else str(base / path.removeprefix("file://"))

    @property
    def is_local(self) -> bool:
        """Whether they lie on this host."""
        return local_path(self.place, "") is not None

    @property
    def is_folder(self) -> bool:
        """Whether the path is a folder."""
        with readable(self.place, self._setting):
            if self.is_local:
                return Path(self.place).is_dir()
            system, address = _opened(self.place)
            return bool(system.isdir(address))

    def found(self) -> list[File]:
        """The files.

        Raises:
            DataError: if there are none.
        """
        with readable(self.place, self._setting):
            files = sorted(self._local() if self.is_local else self._remote(), key=lambda file: file.name)
        if not files:
            wanted = f" with one of the endings {', '.join(self._endings)}" if self._endings else ""
            raise DataError(
                f"there is no file{wanted} at {self.place}; {self._setting} is relative to the sweep file's folder, or "
                "an address"
            )
        return files

    def fingerprint(self) -> str:
        """The files' names and checksums; of those at an address what the server tells: tag, size and time.

        Raises:
            DataError: if there are none.
        """
        files = self.found()
        marks = self._checksums(files) if self.is_local else [_remote_mark(file) for file in files]
        if len(files) == 1 and not (self._is_pattern or self.is_folder):
            return marks[0]
        text = "\n".join(f"{file.name} {mark}" for file, mark in zip(files, marks, strict=True))
        return f"{len(files)} files, sha256 of their list {hashlib.sha256(text.encode()).hexdigest()}"

    def _local(self) -> Iterator[File]:
        path = Path(self.place)
        if self._is_pattern and not path.exists():
            root = self._base / os.path.dirname(re.split(r"[*?\[]", self._given)[0])
            pattern = os.path.relpath(self.place, root)
            yield from (
                File(str(each), each.relative_to(root).as_posix()) for each in root.glob(pattern) if each.is_file()
            )
        elif path.is_dir():
            for each in _walk(path, frozenset()):
                if self._counts(each.name):
                    yield File(str(each), each.relative_to(path).as_posix())
        else:
            path.stat()
            yield File(str(path), path.name)

    @property
    def _is_pattern(self) -> bool:
        return any(sign in self._given for sign in "*?[")

    def _remote(self) -> Iterator[File]:
        system, address = _opened(self.place)
        protocol = self.place.partition("://")[0]
        if any(sign in address for sign in "*?["):
            root, found = posixpath.dirname(address.partition("*")[0]), system.glob(address)
        elif system.isdir(address):
            root, below = address, [posixpath.relpath(each, address) for each in system.find(address)]
            found = [f"{address}/{name}" for name in below if not _is_hidden(name) and self._counts(name)]
        else:
            system.info(address)
            root, found = posixpath.dirname(address), [address]
        for each in found:
            is_url = each.startswith(f"{protocol}://")
            yield File(each if is_url else f"{protocol}://{each}", posixpath.relpath(each, root or "/"))

    def _counts(self, name: str) -> bool:
        return not self._endings or any(fnmatch.fnmatch(name.lower(), f"*{ending}") for ending in self._endings)

    def _checksums(self, files: Sequence[File]) -> list[str]:
        """SHA-256 of each file; one that has kept its size, time and number on the disk is not read again."""
        known = self._known()
        marks = {file.path: _stamp(file.path, self._setting) for file in files}
        fresh = {}
        for file in files:
            stamp, checksum = known.get(file.path, ("", ""))
            if stamp != marks[file.path]:
                with readable(file.path, self._setting):
                    checksum = file_sha256(Path(file.path))
            fresh[file.path] = (marks[file.path], checksum)
        if fresh != known:
            self._keep(fresh)
        return [f"sha256 {fresh[file.path][1]}" for file in files]

    def _known(self) -> dict[str, tuple[str, str]]:
        with suppress(OSError, ValueError):
            if self._cache is not None:
                return {path: (mark[0], mark[1]) for path, mark in json.loads(self._note().read_text()).items()}
        return {}

    def _keep(self, marks: dict[str, tuple[str, str]]) -> None:
        """Notes checksums for later launches; a full or read-only disk only means that they are reckoned again."""
        if self._cache is None:
            return
        note = self._note()
        draft = note.with_name(f"{note.name}-{uuid.uuid4().hex}")
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(marks))
            draft.replace(note)

    def _note(self) -> Path:
        assert self._cache is not None
        name = hashlib.sha256(json.dumps([self.place, self._endings]).encode()).hexdigest()[:16]
        return self._cache / CHECKSUMS / f"{name}.json"


@contextmanager
def readable(place: str, setting: str | None = None) -> Iterator[None]:
    """Makes of what goes wrong in reading one error of the data.

    Raises:
        DataError: in the place of what the block raises for a file that is not there, or cannot be read.
        StorageFault: if this host's disk is full.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        hint = "" if setting is None else f"; {setting} is relative to the sweep file's folder"
        raise DataError(f"{place} does not exist{hint}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(f"{place} cannot be read ({error})") from None
    except (ValueError, NotImplementedError) as error:
        raise DataError(f"{place} cannot be read: {' '.join(str(error).split())}") from None
    except Exception as error:
        if local_path(place, "") is not None:
            raise
        raise DataError(f"{place} cannot be read: {fault(place, 'it failed', error)}") from None


def unpacked_once(target: Path, write: Callable[[IO[bytes]], None]) -> Path:
    """A file of the scratch folder, written as a whole the first time, and found there when preparation goes on."""
    if not target.exists():
        draft = target.with_name(f"{target.name}-{uuid.uuid4().hex}")
        with draft.open("wb") as file:
            write(file)
        draft.replace(target)
    return target


def fetched(file: File, scratch: Path) -> Path:
    """A file on this host: where it lies, or a copy in `scratch`.

    Raises:
        DataError: if it cannot be read.
    """
    path = local_path(file.path, "")
    if path is not None:
        return path
    target = scratch / file.key

    def copy(copied: IO[bytes]) -> None:
        with file.streamed() as opened:
            shutil.copyfileobj(opened, copied, COPIED_BYTES)

    return unpacked_once(target, copy)


def _opened(place: str) -> tuple[Any, str]:
    system, address = open_remote(place, "")
    return system, address.rstrip("/")


def _stamp(path: str, setting: str) -> str:
    with readable(path, setting):
        found = Path(path).stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}"


def _remote_mark(file: File) -> str:
    """What a server tells of a file that changes with it; a checksum, if that is no more than its size."""
    system, address = _opened(file.path)
    with readable(file.path):
        info = {re.sub("[-_]", "", str(name)).lower(): value for name, value in system.info(address).items()}
    told = {name: str(info[name]) for name in TELLING if info.get(name)}
    if not told:
        total = hashlib.sha256()
        with file.streamed() as opened:
            while part := opened.read(COPIED_BYTES):
                total.update(part)
        return f"sha256 {total.hexdigest()}"
    return json.dumps({"size": str(info.get("size")), **told}, sort_keys=True)


def _refuse_secrets(path: str) -> None:
    """Refuses an address that holds what may be a secret, and would end in manifests and errors."""
    refuse_password(path)
    if _SECRET.match(path):
        raise DataError(
            f"{path.partition('://')[0]}://… has a name before its host, or a query behind its path, which may be "
            "secrets; give the plain address, and credentials in the environment"
        )


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    """All files below a folder, behind links, too, but for hidden ones.

    Raises:
        DataError: for a link to a folder that it lies in.
    """
    found = folder.stat()
    if (found.st_dev, found.st_ino) in above:
        raise DataError(f"{folder} is a link to a folder that it lies in, so that its files would never end; remove it")
    for each in folder.iterdir():
        if each.is_dir():
            if not each.name.startswith("."):
                yield from _walk(each, above | {(found.st_dev, found.st_ino)})
        elif not _is_hidden(each.name):
            yield each


def _is_hidden(name: str) -> bool:
    """Whether a path has a part that tools hide, but for those that belong to what is stored."""
    return any(part.startswith(".") and part not in ZARR for part in name.split("/"))

"""Training: checkpoints, each a folder that is there as a whole or not at all. Nothing in it is pickled.

A folder is `checkpoints/<sweep>/<trial>/h<holder>-e<epoch>-s<step>-<unique>-<digest>` in the store. The unique part is
drawn anew for every checkpoint, so that no writer meets another's, and none is ever replaced; the holder epoch tells
what workers of a driver that lost its lease have left. `state.json` holds plain data and the SHA-256 of every other
file; the digest is its own, so that the name, which the ledger has, says what is in the folder. A name that begins with
a dot is no checkpoint: not yet, or no longer.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import CheckpointError
from podium.store import accessing, copy_from, files_of, local_path, open_remote, put_all
from podium.sweep.messages import Saved
from podium.training.faults import fault_behind

logger = logging.getLogger(__name__)

STATE = "state.json"
FORMAT = 2
"""The version of the layout; a checkpoint of another one is refused."""

_NAME = re.compile(r"h(\d+)-e(\d+)-s(\d+)(-[\w-]+)?")
_HIDDEN = re.compile(r"\.h(\d+)-.+")


@dataclass(frozen=True)
class Storage:
    """Where a trainer keeps things.

    Attributes:
        store: Where checkpoints and artifacts go: a path, or any fsspec address.
        holder: The driver's holder epoch, part of checkpoint names.
        cache: This host's folder, for what it found out about stacks.
    """

    store: str
    holder: int
    cache: str


@dataclass(frozen=True)
class Opened:
    """A checkpoint that was found whole.

    Attributes:
        folder: Its folder, relative to the store.
        path: Where its files are on this host, for as long as it is open.
        state: Its plain data.
    """

    folder: str
    path: Path
    state: dict[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one trial.

    Attributes:
        store: Path or fsspec address.
        sweep: The sweep's name.
        trial: The trial's number.
        holder: The holder epoch of the driver for which this process works.
    """

    store: str
    sweep: str
    trial: int
    holder: int

    @property
    def root(self) -> str:
        """The folder of the trial's checkpoints, relative to the store."""
        return f"{_root(self.sweep)}/{self.trial:05d}"

    def draft(self) -> "Draft":
        """Begins a checkpoint.

        Raises:
            StorageFault: if the store cannot be written.
        """
        return Draft(self)

    @contextmanager
    def opening(self, folder: str) -> Iterator[Opened | None]:
        """What `reading` gives of a checkpoint; of the furthest one before it if that is damaged; None without any.

        Going on from an earlier place costs time and changes no result.

        Raises:
            StorageFault: if the store cannot be read.
        """
        with ExitStack() as stack:
            yield self._first_intact(folder, stack) if folder else None

    def _first_intact(self, folder: str, stack: ExitStack) -> Opened | None:
        reached = _place(folder)[:2]
        before = [each for each in self.newest_first() if each != folder and _place(each)[:2] <= reached]
        for each in (folder, *before):
            try:
                return stack.enter_context(reading(self.store, each))
            except CheckpointError as error:
                logger.warning("%s; an earlier one has to do", error)
        logger.warning("no checkpoint of trial %d can be read: it begins anew", self.trial)
        return None

    def newest_first(self) -> list[str]:
        """The folders of all checkpoints, the furthest first, of every holder.

        Raises:
            StorageFault: if the store cannot be read.
        """
        target = local_path(self.store, self.root)
        with accessing(self.store, f"the checkpoints of trial {self.trial} could not be read"):
            if target is not None:
                names = [path.name for path in target.iterdir()] if target.is_dir() else []
            else:
                system, path = open_remote(self.store, self.root)
                found = system.ls(path, detail=False) if system.exists(path) else []
                names = [each.rstrip("/").rpartition("/")[2] for each in found]
        folders = [f"{self.root}/{name}" for name in names if _NAME.fullmatch(name)]
        return sorted(folders, key=_place, reverse=True)


class Draft:
    """A checkpoint in the making, which nobody opens before it is put in its place.

    Args:
        checkpoints: Those of its trial.

    Raises:
        StorageFault: if the store cannot be written.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints, self._unique = checkpoints, uuid.uuid4().hex[:8]
        self._failed = f"a checkpoint of trial {checkpoints.trial} could not be written"
        self._root = local_path(checkpoints.store, checkpoints.root)
        self._disk = checkpoints.store if self._root is not None else tempfile.gettempdir()
        with accessing(checkpoints.store, self._failed):
            if self._root is None:
                self._path = Path(tempfile.mkdtemp())
            else:
                self._path = self._root / f".h{checkpoints.holder}-{self._unique}"
                self._path.mkdir(parents=True)

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Gives the folder to write files into; a block that ends with an error discards the draft.

        Raises:
            StorageFault: if the disk is to blame for the error.
        """
        try:
            yield self._path
        except BaseException as error:
            fault = fault_behind(error, self._path, self._disk, self._failed)
            self.discard()
            if fault is not None:
                raise fault from error
            raise

    def place(self, epoch: int, step: int, state: Mapping[str, Any]) -> Saved:
        """Makes the draft a checkpoint.

        Args:
            epoch: Whole epochs in it.
            step: Steps beyond them.
            state: Plain data that `reading` gives back; numbers have to be finite.

        Raises:
            StorageFault: if the store cannot be written; the draft is discarded then.
        """
        owner = self._checkpoints
        try:
            content = _written(_checksums(self._path), state)
            name = f"h{owner.holder}-e{epoch}-s{step}-{self._unique}-{_digest(content)}"
            with accessing(owner.store, self._failed):
                (self._path / STATE).write_bytes(content)
                size = sum(_sizes(self._path).values())
                if self._root is None:
                    self._upload(f"{owner.root}/{name}")
                else:
                    _make_durable(self._path)
                    self._path.rename(self._root / name)
                    _sync(self._root)
        finally:
            self.discard()
        return Saved(trial=owner.trial, epoch=epoch, step=step, folder=f"{owner.root}/{name}", bytes=size)

    def discard(self) -> None:
        """Removes what was written, unless it is in its place."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _upload(self, folder: str) -> None:
        system, address = open_remote(self._checkpoints.store, folder)
        state = self._path / STATE
        try:
            put_all(system, address, self._path, (file for file in files_of(self._path) if file != state))
            system.put_file(str(state), f"{address}/{STATE}")
        except BaseException:
            with suppress(Exception):
                erase(self._checkpoints.store, folder)
            raise


@contextmanager
def reading(store: str, folder: str) -> Iterator[Opened]:
    """A checkpoint on this host; a copy from an address lasts as long as the block.

    Raises:
        CheckpointError: if it is missing, truncated or altered.
        StorageFault: if a store at an address cannot be read.
    """
    path = local_path(store, folder)
    if path is not None:
        yield Opened(folder, path, _verified(path, folder))
        return
    with tempfile.TemporaryDirectory() as scratch:
        fetched = Path(scratch) / "checkpoint"
        copy_from(store, folder, fetched)
        yield Opened(folder, fetched, _verified(fetched, folder))


def lying(store: str, sweep: str, holders: range) -> tuple[list[Saved], list[str]]:
    """What some holder epochs have left in the store: checkpoints, and folders that are none and never will be.

    Raises:
        StorageFault: if the store cannot be read.
    """
    with accessing(store, f"the checkpoints of {sweep} could not be read"):
        contents = _contents(store, _root(sweep))
    checkpoints, others = [], []
    for (trial, name), sizes in sorted(contents.items()):
        folder = f"{_root(sweep)}/{trial}/{name}"
        if (found := _NAME.fullmatch(name)) and STATE in sizes:
            epoch, step, size = int(found[2]), int(found[3]), sum(sizes.values())
            left = Saved(trial=int(trial), epoch=epoch, step=step, folder=folder, bytes=size)
            checkpoints += [left] if int(found[1]) in holders else []
        elif found := found or _HIDDEN.fullmatch(name):
            others += [folder] if int(found[1]) in holders else []
    return checkpoints, others


def withdraw(store: str, folder: str) -> str:
    """Takes a checkpoint away from who might open it, at once; returns the folder that is left to `erase`.

    In a store at an address nothing is done yet: who opens a checkpoint there has a copy, whole or none.

    Raises:
        OSError: if the store cannot be written.
    """
    path = local_path(store, folder)
    if path is None:
        return folder
    hidden = path.with_name(f".{path.name}")
    with suppress(FileNotFoundError):
        path.rename(hidden)
    return f"{folder.rpartition('/')[0]}/{hidden.name}"


def erase(store: str, folder: str) -> None:
    """Removes a folder and all it holds; none is as good."""
    path = local_path(store, folder)
    with suppress(FileNotFoundError):
        if path is not None:
            shutil.rmtree(path)
        else:
            system, address = open_remote(store, folder)
            system.rm(address, recursive=True)


def _root(sweep: str) -> str:
    return f"checkpoints/{sweep}"


def _contents(store: str, root: str) -> dict[tuple[str, str], dict[str, int]]:
    """The folders two levels below `root`, by the names of both levels: the size of every file in them."""
    contents: dict[tuple[str, str], dict[str, int]] = {}
    top = local_path(store, root)
    if top is not None:
        return {(path.parent.name, path.name): _sizes(path) for path in top.glob("*/*") if path.is_dir()}
    system, address = open_remote(store, root)
    for path, details in system.find(address, detail=True).items():
        trial, name, file = path.removeprefix(f"{address}/").split("/", 2)
        contents.setdefault((trial, name), {})[file] = details["size"]
    return contents


def _verified(path: Path, folder: str) -> dict[str, Any]:
    if not path.exists():
        raise CheckpointError(f"the checkpoint {folder} is not there any more")
    try:
        content = (path / STATE).read_bytes()
        written = json.loads(content)
        if written["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint {folder} has format {written['format']}, and this Podium reads {FORMAT}"
            )
        altered = [] if folder.endswith(f"-{_digest(content)}") else [STATE]
        altered += [name for name, digest in written["sha256"].items() if _sha256(path / name) != digest]
        state: dict[str, Any] = written["state"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint {folder} cannot be read: {error}") from error
    if altered:
        raise CheckpointError(f"the checkpoint {folder} was altered: {', '.join(altered)}")
    return state


def _written(checksums: Mapping[str, str], state: Mapping[str, Any]) -> bytes:
    """What `state.json` holds."""
    body = {"format": FORMAT, "sha256": dict(checksums), "state": dict(state)}
    return (json.dumps(body, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _digest(content: bytes) -> str:
    """The part of a name that says what `state.json` holds: 128 bits."""
    return hashlib.sha256(content).hexdigest()[:32]


def _checksums(made: Path) -> dict[str, str]:
    return {
        str(file.relative_to(made)): _sha256(file)
        for file in files_of(made)
        if file.name != STATE or file.parent != made
    }


def _sizes(made: Path) -> dict[str, int]:
    with suppress(FileNotFoundError):
        return {str(file.relative_to(made)): file.stat().st_size for file in files_of(made)}
    return {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_durable(made: Path) -> None:
    for path in (*files_of(made), *(each for each in made.rglob("*") if each.is_dir()), made):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _place(folder: str) -> tuple[int, int, int]:
    """(epoch, step, holder) of a checkpoint's folder."""
    match = _NAME.fullmatch(folder.rpartition("/")[2])
    assert match is not None
    holder, epoch, step = (int(match[group]) for group in (1, 2, 3))
    return epoch, step, holder

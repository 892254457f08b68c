"""Training: checkpoints, each a folder that is there as a whole or not at all. Nothing in it is pickled.

A folder is `checkpoints/<sweep>/<trial>/h<holder>-e<epoch>-s<step>` in the store. The holder epoch in its name keeps
workers of a driver that lost its lease from overwriting what its successor relies on. `state.json` holds plain data
and the SHA-256 of every other file.
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
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import CheckpointError
from podium.store import copy_into, local_path, open_remote

logger = logging.getLogger(__name__)

STATE = "state.json"
FORMAT = 1
"""The version of the layout; a checkpoint of another one is refused."""

_NAME = re.compile(r"h(\d+)-e(\d+)-s(\d+)")


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
        return f"checkpoints/{self.sweep}/{self.trial:05d}"

    def folder(self, epoch: int, step: int) -> str:
        """The folder of a checkpoint of this holder, relative to the store."""
        return f"{self.root}/h{self.holder}-e{epoch}-s{step}"

    @contextmanager
    def writing(self, folder: str, state: Mapping[str, Any]) -> Iterator[Path]:
        """Gives an empty folder to write files into; it becomes `folder` when the block ends without an error.

        Args:
            folder: From `folder`.
            state: Plain data that `reading` gives back; numbers have to be finite.
        """
        target = local_path(self.store, folder)
        if target is None:
            with tempfile.TemporaryDirectory() as made:
                yield Path(made)
                _seal(Path(made), state)
                for file in sorted(_files(Path(made)), key=lambda file: file.name == STATE):
                    copy_into(self.store, f"{folder}/{file.relative_to(made)}", file)
            return
        made_here = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
        made_here.mkdir(parents=True)
        try:
            yield made_here
            _seal(made_here, state)
            _make_durable(made_here)
            _put_in_place(made_here, target)
        finally:
            shutil.rmtree(made_here, ignore_errors=True)

    def amend(self, folder: str, state: Mapping[str, Any]) -> None:
        """Replaces the plain data of a checkpoint; its files stay."""
        target = local_path(self.store, folder)
        with tempfile.TemporaryDirectory() as scratch, reading(self.store, folder) as (made, _):
            path = Path(scratch) / STATE if target is None else target / f".{STATE}"
            path.write_text(_sealed(_checksums(made), state))
            if target is None:
                copy_into(self.store, f"{folder}/{STATE}", path)
            else:
                _sync(path)
                path.replace(target / STATE)

    def prune(self, keep: int) -> None:
        """Removes all but the newest `keep` checkpoints of a trial that lives.

        Two are enough: the driver may not have heard of the newest yet.
        """
        self.remove(self.newest_first()[keep:])

    def keep_only(self, folder: str) -> None:
        """Removes all but one checkpoint, once the ledger has the trial's end; it holds the best weights too."""
        self.remove([each for each in self.newest_first() if each != folder])

    def remove(self, folders: list[str]) -> None:
        """Removes some checkpoints."""
        for folder in folders:
            target = local_path(self.store, folder)
            if target is not None:
                shutil.rmtree(target, ignore_errors=True)
            else:
                system, path = open_remote(self.store, folder)
                system.rm(path, recursive=True)

    @contextmanager
    def opening(self, folder: str) -> Iterator[tuple[Path, dict[str, Any]] | None]:
        """What `reading` gives of a checkpoint; of the furthest one before it if that is damaged; None without any.

        Going on from an earlier place costs time and changes no result.
        """
        with ExitStack() as stack:
            yield self._first_intact(folder, stack) if folder else None

    def _first_intact(self, folder: str, stack: ExitStack) -> tuple[Path, dict[str, Any]] | None:
        limit = _place(folder)
        before = [each for each in self.newest_first() if each != folder and _place(each) <= limit]
        for each in (folder, *before):
            try:
                return stack.enter_context(reading(self.store, each))
            except CheckpointError as error:
                logger.warning("%s; going on from an earlier one", error)
        return None

    def newest_first(self) -> list[str]:
        """The folders of all checkpoints, the furthest first, of every holder."""
        target = local_path(self.store, self.root)
        if target is not None:
            names = [path.name for path in target.iterdir()] if target.is_dir() else []
        else:
            system, path = open_remote(self.store, self.root)
            names = (
                [each.rstrip("/").rpartition("/")[2] for each in system.ls(path, detail=False)]
                if system.exists(path)
                else []
            )
        folders = [f"{self.root}/{name}" for name in names if _NAME.fullmatch(name)]
        return sorted(folders, key=_place, reverse=True)


@contextmanager
def reading(store: str, folder: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A checkpoint's folder on this host, and its plain data; a copy from an address lasts as long as the block.

    Raises:
        CheckpointError: if it is missing, truncated or altered.
    """
    path = local_path(store, folder)
    if path is not None:
        yield path, _verified(path, folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        system, address = open_remote(store, folder)
        if not system.exists(f"{address}/{STATE}"):
            raise CheckpointError(f"the checkpoint {folder} is not in {store}")
        fetched = Path(scratch) / "checkpoint"
        system.get(address, str(fetched), recursive=True)
        yield fetched, _verified(fetched, folder)


def _verified(path: Path, folder: str) -> dict[str, Any]:
    try:
        written = json.loads((path / STATE).read_bytes())
        if written["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint {folder} has format {written['format']}, and this Podium reads {FORMAT}"
            )
        intact = _sealed(written["sha256"], written["state"]) == (path / STATE).read_text()
        damaged = [name for name, digest in written["sha256"].items() if _sha256(path / name) != digest]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"the checkpoint {folder} cannot be read: {error}") from error
    if damaged or not intact:
        raise CheckpointError(f"the checkpoint {folder} was altered: {', '.join(damaged) or STATE}")
    state: dict[str, Any] = written["state"]
    return state


def _seal(made: Path, state: Mapping[str, Any]) -> None:
    (made / STATE).write_text(_sealed(_checksums(made), state))


def _sealed(checksums: Mapping[str, str], state: Mapping[str, Any]) -> str:
    """The text of `state.json`, with a checksum of the rest of itself."""
    body = {"format": FORMAT, "sha256": dict(checksums), "state": dict(state)}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, allow_nan=False).encode()).hexdigest()
    return json.dumps({**body, "digest": digest}, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _checksums(made: Path) -> dict[str, str]:
    return {
        str(file.relative_to(made)): _sha256(file) for file in _files(made) if file.name != STATE or file.parent != made
    }


def _files(made: Path) -> list[Path]:
    return sorted(path for path in made.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_durable(made: Path) -> None:
    for path in (*_files(made), *(each for each in made.rglob("*") if each.is_dir()), made):
        _sync(path)


def _put_in_place(made: Path, target: Path) -> None:
    """Renames; a checkpoint of the same holder and place is that of an earlier attempt, and is replaced."""
    try:
        made.rename(target)
    except OSError:
        earlier = target.with_name(f"{made.name}-earlier")
        target.rename(earlier)
        made.rename(target)
        shutil.rmtree(earlier, ignore_errors=True)
    _sync(target.parent)


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
    holder, epoch, step = (int(group) for group in match.groups())
    return epoch, step, holder

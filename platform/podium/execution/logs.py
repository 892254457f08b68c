"""Log files: what a trial's code prints goes to a file of its own, and what a cohort prints, to that of its first lane.

In a store at an address nothing can be appended, so there each host writes its part into its cache, and `publish` moves
it behind what the store has.

No secret of the environment stays in them. What Python prints is masked on its way; what C code or another program
prints, when the advance has ended, or its process.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO, cast

from podium.masking import MaskedStream, Secrets
from podium.store import copy_from, copy_into, local_path, read, size

TAIL_LINES = 20


def log_name(sweep: str, trial: int) -> str:
    """The log of a trial, relative to the store."""
    return f"logs/{sweep}/trial-{trial:05d}.log"


def log_path(store: str, sweep: str, trial: int, cache: Path) -> Path:
    """The file that this host writes a trial's log to: in the store if it is a folder, else in `cache`."""
    name = log_name(sweep, trial)
    return local_path(store, name) or cache / name


def publish(store: str, sweep: str, trial: int, cache: Path) -> None:
    """Moves what this host has of a trial's log to a store at an address; one host at a time works on a trial.

    Raises:
        StorageFault: if the store fails; what this host has stays here then.
    """
    name = log_name(sweep, trial)
    part = cache / name
    if local_path(store, name) is not None or not part.exists():
        return
    whole = part.with_suffix(".whole")
    try:
        if part.stat().st_size:
            copy_from(store, name, whole)
            with part.open("rb") as new, whole.open("ab") as old:
                shutil.copyfileobj(new, old)
            copy_into(store, name, whole)
        part.unlink()
    finally:
        whole.unlink(missing_ok=True)


def read_log(store: str, sweep: str, trial: int, cache: Path, start: int = 0) -> bytes:
    """A trial's log from byte `start` on, with what this host has yet to publish.

    Raises:
        StorageFault: if the store cannot be read.
    """
    name = log_name(sweep, trial)
    published = size(store, name)
    text = read(store, name, start)
    part = cache / name
    if local_path(store, name) is None and part.exists():
        text += part.read_bytes()[max(0, start - published) :]
    return text


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, with what this process has yet to write there, masked; empty if there is none."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not path.exists():
        return ""
    with path.open("rb") as file:
        start = file.seek(max(0, path.stat().st_size - 200 * lines))
        text = Secrets().mask_end(file.read(), is_cut=start > 0)
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Sends everything this process writes, from C code too, to a file until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    start = path.stat().st_size if path.exists() else 0
    try:
        with path.open("ab") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            with (
                contextlib.redirect_stdout(cast(TextIO, MaskedStream(sys.stdout))),
                contextlib.redirect_stderr(cast(TextIO, MaskedStream(sys.stderr))),
            ):
                yield
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        Secrets().mask_file(path, start)


class _Tee:
    """Writes to two text streams."""

    def __init__(self, one: TextIO, other: TextIO) -> None:
        self._streams = (one, other)

    def write(self, text: str) -> int:
        for stream in self._streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self._streams:
            stream.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._streams[0], name)


@contextlib.contextmanager
def copied(path: Path) -> Iterator[None]:
    """Copies what Python prints to a file, and leaves it on the terminal for a debugger."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        log = cast(TextIO, MaskedStream(file))
        out, err = _Tee(sys.stderr, log), _Tee(sys.stderr, log)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield

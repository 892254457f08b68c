"""Log files: what a trial's code prints goes to a file of its own."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

TAIL_LINES = 20


def log_path(store: str, sweep: str, trial: int) -> Path:
    """The log file of a trial."""
    return Path(store) / "logs" / sweep / f"trial-{trial:05d}.log"


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, with what this process has yet to write there; empty if there is none."""
    sys.stdout.flush()
    sys.stderr.flush()
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200 * lines))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


@contextlib.contextmanager
def captured(path: Path) -> Iterator[None]:
    """Sends everything this process writes, from C code too, to a file until the block ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with path.open("ab") as file:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            yield
            sys.stdout.flush()
            sys.stderr.flush()
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)


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
        out, err = _Tee(sys.stderr, file), _Tee(sys.stderr, file)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield

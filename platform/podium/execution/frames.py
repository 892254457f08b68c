"""Frames: what a command writes, as lines of a job's log, in which outputs stay apart and files come along."""

import base64
import io
import json
import zlib
from collections.abc import Iterator
from typing import Literal, NamedTuple, TextIO, get_args

Kind = Literal["out", "err", "file", "planted"]

MARK = "podium> "
PIECE_BYTES = 48_000


class Frame(NamedTuple):
    """One line of a log.

    Attributes:
        kind: Standard output, standard error, a piece of a file, or that a sweep's driver has been taken over.
        text: What was written; of a file its compressed piece.
        name: The file's.
    """

    kind: Kind
    text: str
    name: str = ""

    def line(self) -> str:
        """As it stands in a log, with its end."""
        return f"{MARK}{json.dumps(self)}\n"


def read(line: str) -> Frame | None:
    """The frame on a line of a log; None if the line is something else."""
    if not line.startswith(MARK):
        return None
    try:
        parts = json.loads(line.removeprefix(MARK))
    except ValueError:
        return None
    is_frame = isinstance(parts, list) and len(parts) == len(Frame._fields) and parts[0] in get_args(Kind)
    return Frame(*parts) if is_frame and all(isinstance(part, str) for part in parts) else None


def of_file(name: str, content: bytes) -> Iterator[Frame]:
    """The frames that a file travels in."""
    packed = zlib.compress(content)
    for start in range(0, max(len(packed), 1), PIECE_BYTES):
        yield Frame("file", base64.b85encode(packed[start : start + PIECE_BYTES]).decode(), name)


def to_file(pieces: list[str]) -> bytes:
    """The content of a file that came in such pieces."""
    return zlib.decompress(b"".join(base64.b85decode(piece) for piece in pieces))


class Stream(io.TextIOBase):
    """A text stream that writes frames to a log.

    Args:
        kind: Which output of the command it is.
        log: Where the frames go.
    """

    def __init__(self, kind: Kind, log: TextIO) -> None:
        self._kind: Kind = kind
        self._log = log

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What may be written: everything."""
        return "utf-8"

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Writes one frame, at once."""
        if not isinstance(text, str):
            raise TypeError(f"a text stream takes no {type(text).__name__}")
        if text:
            self._log.write(Frame(self._kind, text).line())
            self._log.flush()
        return len(text)

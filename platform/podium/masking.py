"""Secrets that this process knows, kept out of what is written down: logs, errors, where a run comes from.

They are the values of variables of the environment whose names say so, passwords in addresses, and Ray's token.
"""

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TextIO
from urllib.parse import unquote

MASK = "***"

SHORTEST = 8
"""Characters of a secret; what is shorter would be masked in words that have nothing to do with it."""

PIECE_BYTES = 1 << 20
"""So much of a file is looked through at once."""

_TELLING = re.compile(r"(?i)(?!(old)?pwd$).*(token|secret|passw|pwd|credential|key)")
_FIRST_LINE = re.compile(rb"\A[^\r\n]*[\r\n]?")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_PASSWORD = re.compile(r"(?i)(://[^/\s:@]*:)([^\s@]+(?:@[^\s@/]+)*)(?=@)|([?&](?:ssl)?password=)([^&\s]+)")


class Secrets:
    """The secrets of the environment as it is when this is made."""

    def __init__(self) -> None:
        self._found = sorted(set(_found()), key=len, reverse=True)

    def mask(self, text: str) -> str:
        """The text with `***` in the place of secrets."""
        return without_passwords(self._in_text.sub(MASK, text))

    def mask_end(self, text: bytes, *, is_cut: bool) -> str:
        """The end of a text with `***` in the place of secrets.

        Where it was cut, a secret may have been, whose rest nobody would know: all up to the first line break is left
        out, and no secret goes over one.
        """
        whole = _FIRST_LINE.sub(b"", text) if is_cut else text
        return self.mask(whole.decode(errors="replace"))

    def hide(self, text: str) -> str:
        """Likewise, and in the place of users in addresses: for pages that others get to see."""
        return without_logins(self.mask(text))

    def mask_file(self, path: Path, start: int = 0) -> None:
        """Overwrites secrets in a file from byte `start` on with as many stars; who reads it meanwhile keeps the place.

        Raises:
            OSError: if the file cannot be written.
        """
        places = list(self._places(path, start)) if self._found and path.exists() else []
        if places:
            with path.open("r+b") as file:
                for place, length in places:
                    file.seek(place)
                    file.write(b"*" * length)

    def _places(self, path: Path, place: int) -> Iterator[tuple[int, int]]:
        """Where in a file secrets begin, and how many bytes each has."""
        secrets = [each.encode() for each in self._found]
        pattern = re.compile(b"|".join(map(re.escape, secrets)))
        with path.open("rb") as file:
            while True:
                file.seek(place)
                piece = file.read(PIECE_BYTES)
                yield from ((place + found.start(), len(found[0])) for found in pattern.finditer(piece))
                if len(piece) < PIECE_BYTES:
                    return
                place += PIECE_BYTES - len(max(secrets, key=len))  # one may lie across the end

    @cached_property
    def _in_text(self) -> "re.Pattern[str]":
        return re.compile("|".join(map(re.escape, self._found)) or r"(?!)")


class MaskedStream:
    """A text stream to which no secret is written.

    Args:
        stream: Takes what is left.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._secrets = stream, Secrets()

    def write(self, text: str) -> int:
        """Writes what may be written."""
        self._stream.write(self._secrets.mask(text))
        return len(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def without_passwords(text: str) -> str:
    """The text with `***` in the place of passwords in addresses, before the host or in the query."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[3]}{MASK}", text)


def without_logins(text: str) -> str:
    """The text with `***` in the place of users and passwords in addresses."""
    return _LOGIN.sub(MASK, without_passwords(text))


def mask(text: str) -> str:
    """The text without the secrets of this process's environment."""
    return Secrets().mask(text)


def _found() -> Iterator[str]:
    for name, value in os.environ.items():
        if _TELLING.match(name) and not os.path.exists(value):  # a file's path is none
            yield from _lines(value)
        for match in _PASSWORD.finditer(value):
            password = match[2] or match[4]
            yield from (part for each in (password, unquote(password)) for part in _lines(each))
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    if token.is_file() and os.access(token, os.R_OK):
        yield from _lines(token.read_text(errors="replace"))


def _lines(value: str) -> Iterator[str]:
    """The lines of a secret that are long enough, such as those of a key."""
    yield from (line for each in value.splitlines() if len(line := each.strip()) >= SHORTEST)

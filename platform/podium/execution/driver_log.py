"""What the driver of a sweep that was submitted says: kept in the store, without secrets."""

import threading
from contextlib import suppress

from podium.errors import StorageFault, UserError
from podium.execution.frames import read as read_frame
from podium.masking import Secrets
from podium.store import read, write

MOST_CHARACTERS = 2_000_000
"""So much of what a driver says is kept in the store."""

PUBLISH_S = 20.0


class DriverLog:
    """What a driver says, behind what drivers of its sweep had said before, in the store.

    It is written by a thread of its own: a slow store holds nobody up.

    Args:
        store: Which one.
        sweep: The sweep's name.
    """

    def __init__(self, store: str, sweep: str) -> None:
        self._store, self._name = store, log_name(sweep)
        self._earlier: str | None = None
        self._pieces, self._said, self._is_written = list[str](), "", True
        self._adding, self._reading = threading.Lock(), threading.Lock()
        self._is_over = threading.Event()
        self._writer = threading.Thread(target=self._write_on, daemon=True)
        self._writer.start()

    def earlier(self) -> str:
        """What had been said before; empty while the store cannot be read."""
        with suppress(StorageFault, UserError):
            return self._read()
        return ""

    def add(self, text: str) -> None:
        """Something more was said."""
        with self._adding:
            self._pieces.append(text)

    def close(self) -> None:
        """Writes what was said last."""
        self._is_over.set()
        self._writer.join()
        self._write()

    def _write_on(self) -> None:
        while not self._is_over.wait(PUBLISH_S):
            self._write()

    def _write(self) -> None:
        with self._adding:
            if self._is_written and not self._pieces:
                return
            self._said, self._is_written = (self._said + "".join(self._pieces))[-MOST_CHARACTERS:], False
            self._pieces.clear()
        with suppress(StorageFault, UserError):
            write(self._store, self._name, (self._read() + self._said)[-MOST_CHARACTERS:].encode())
            self._is_written = True

    def _read(self) -> str:
        with self._reading:
            if self._earlier is None:
                self._earlier = read(self._store, self._name).decode(errors="replace")
            return self._earlier


def masked(line: str, secrets: Secrets) -> tuple[str, str]:
    """A line of a driver's without secrets, and what it says to people, nothing if it is no frame."""
    frame = read_frame(line)
    if frame is None:
        return secrets.mask(line), ""
    frame = frame._replace(text=secrets.mask(frame.text))
    return frame.line(), frame.text


def log_name(sweep: str) -> str:
    """Where a driver's words are kept, relative to the store."""
    return f"logs/{sweep}/driver.log"

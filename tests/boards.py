"""A home with sweeps of all kinds, a board on it within this process, and requests to it without a network."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import board_homes
import pytest
from large_sweeps import Played

from podium.ledger import Book
from podium.wiring.place import Place
from podium_board.app import make
from podium_board.pictures import Picture
from podium_board.reading import Board


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


def ask(board: Board, path: str, method: str = "GET", host: str = "127.0.0.1:5002", **headers: str) -> Answer:
    """Asks the application of a board that has been started."""
    path, _, query = path.partition("?")
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    scope |= {"headers": [(b"host", host.encode()), *sent], "http_version": "1.1", "scheme": "http", "root_path": ""}
    scope |= {"server": ("127.0.0.1", 5002), "client": ("127.0.0.1", 1)}
    messages = []

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    asyncio.run(make(board)(scope, receive, send))
    begun = messages[0]
    body = b"".join(message.get("body", b"") for message in messages[1:])
    names = {name.decode(): value.decode() for name, value in begun["headers"]}
    return Answer(begun["status"], names, body.decode(errors="replace"))


def until(find: Callable[[], object], wait_s: float = 30.0) -> object:
    """What `find` finds, as soon as it is anything."""
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if found := find():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Played]]]:
    home = tmp_path_factory.mktemp("board") / "home"
    sweeps = board_homes.prepare(home)
    lease = Book.at_home(home).hold("driven")
    yield home, sweeps
    lease.release()


@pytest.fixture
def open_board() -> Iterator[Callable[[Path], Board]]:
    opened: list[Board] = []

    def make_board(home: Path) -> Board:
        board = Board(Place.of(home))
        board.start()
        opened.append(board)
        return board

    yield make_board
    for board in opened:
        board.close()


@pytest.fixture(scope="session")
def board(prepared: tuple[Path, dict[str, Played]]) -> Iterator[Board]:
    """A board that has read everything."""
    made = Board(Place.of(prepared[0]))
    made.start()
    for name in prepared[1]:
        until(lambda name=name: whole(made, name))
    yield made
    made.close()


def whole(board: Board, name: str) -> Picture | None:
    """The picture of a sweep that was read to its end."""
    picture = board.look(name)
    return picture if picture is not None and picture.is_whole else None

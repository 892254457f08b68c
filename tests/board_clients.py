"""A board that answers in this process, and a client that sends what it is told, and nothing that a browser adds."""

import http.client
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import uvicorn

from podium.registry.serving import listening
from podium.wiring.place import Place
from podium_board.access import FORM, Access
from podium_board.app import make
from podium_board.reading import Board

TOKEN = "the-token-of-the-tests"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class Client:
    """Asks the board at a port of this machine; keeps its cookies."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What pages of the board come from."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        """Fetches a page, and follows nothing."""
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Sends a form as a page of the board does, but for the headers given; an empty one is left out."""
        sent = {"Origin": self.origin, "Content-Type": FORM, "Sec-Fetch-Site": "same-origin"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return self._ask("POST", path, urlencode(fields), sent)

    def enter(self) -> None:
        """Trades the token."""
        assert self.get(f"/?token={TOKEN}").status == 303

    def wait(self, path: str, text: str, most_s: float = 30.0) -> str:
        """The page, once it has a text."""
        until = time.monotonic() + most_s
        while text not in (page := self.get(path).text):
            assert time.monotonic() < until, page
            time.sleep(0.05)
        return page

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {name: value for name, value in ({"Cookie": cookies} | dict(headers)).items() if value}
        connection.request(method, path, body, sent)
        with connection.getresponse() as response:
            text = response.read().decode(errors="replace")
            for name, value in response.getheaders():
                if name.lower() == "set-cookie":
                    cookie, _, content = value.partition(";")[0].partition("=")
                    self.cookies[cookie] = content
            answer = Answer(response.status, text, {name.lower(): value for name, value in response.getheaders()})
        connection.close()
        return answer


@contextmanager
def served(place: Place, token: str = TOKEN) -> Iterator[Client]:
    """A board of a place, as long as the block lasts."""
    with listening(0) as listener:
        settings = uvicorn.Config(make(Board(place), Access(token)), log_level="warning", timeout_graceful_shutdown=1)
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=lambda: server.run(sockets=[listener]))
        thread.start()
        try:
            yield Client(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()

"""The page of all sweeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium_board.pages import board_of, fragment, page, render
from podium_board.pictures import Picture
from podium_board.reading import LIST, Board


@dataclass(frozen=True)
class Entry:
    """One sweep in the list; without a picture as long as it was not read."""

    name: str
    picture: Picture | None
    broken: str

    @property
    def summary(self) -> Mapping[str, Any]:
        """What `podium status` says of it."""
        return {} if self.picture is None else self.picture.summary

    @property
    def counts(self) -> str:
        """How many trials are in each state, in words."""
        return "" if self.picture is None else ", ".join(f"{count:,} {state}" for state, count in self.picture.by_state)


def show(request: Request) -> Response:
    """The page."""
    return page(request, "sweeps.html", watched=LIST, **_shown(board_of(request)))


def listing(request: Request) -> Response:
    """Its table alone."""
    return fragment(
        request, render("sweeps_table.html", trouble=board_of(request).trouble, **_shown(board_of(request)))
    )


def _shown(board: Board) -> dict[str, Any]:
    pictures = board.look_at_all()
    names = board.names
    entries = None if names is None else [Entry(name, pictures.get(name), board.broken(name)) for name in names[::-1]]
    return {"entries": entries, "place": board.place, "read_at": board.read_at}


ROUTES = [Route("/", show), Route("/parts/sweeps", listing)]

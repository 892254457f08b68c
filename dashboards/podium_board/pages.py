"""What all pages share: the templates, how a page is answered, and its style.

A page is a module with a list `ROUTES`, which `podium_board.app` adds up; it gets the `Board` by `board_of(request)`
and answers with `page(request, template, ...)`. Its template extends `base.html`, or `sweep_base.html` for one of the
pages of a sweep, whose tabs are `TABS` here. What is in an element with `data-live="URL"` and an `id` is fetched from
that URL and brought up to date when the sweep that the page says it shows (`watched`) has changed.
"""

import importlib.resources
from functools import cache
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from podium.drawing import palette, words
from podium.drawing.pages import environment
from podium_board.access import Access
from podium_board.reading import Board

TABS = (("", "Overview"), ("/trials", "Trials"), ("/timeline", "Timeline"), ("/data", "Data"))
"""The pages of a sweep: what comes after its address, and what the tab says."""

STEER = ("/steer", "Steer")
"""The page for those who may steer."""


def board_of(request: Request) -> Board:
    """What the request's pages show."""
    board: Board = request.app.state.board
    return board


def access_of(request: Request) -> Access:
    """Who may steer."""
    access: Access = request.app.state.access
    return access


def page(request: Request, template: str, status: int = 200, **shown: Any) -> HTMLResponse:
    """Answers with a page, everything in it escaped."""
    board, access = board_of(request), access_of(request)
    may_steer = access.is_known(request)
    about = {
        "request": request,
        "path": request.url.path,
        "board": board,
        "trouble": board.trouble,
        "tabs": (*TABS, STEER) if may_steer else TABS,
        "may_steer": may_steer,
        "note": access.noted(request) if may_steer else "",
    }
    return HTMLResponse(_templates().get_template(template).render({"watched": None} | about | shown), status)


def render(template: str, **shown: Any) -> str:
    """A part of a page."""
    text: str = _templates().get_template(template).render(shown)
    return text


def fragment(request: Request, text: str) -> Response:
    """Answers with a part of a page; whoever has it already is told so."""
    import hashlib

    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"etag": tag})
    return HTMLResponse(text, headers={"etag": tag})


@cache
def style() -> str:
    """The style sheet: the colours, what all drawings share, and the board's own."""
    files = importlib.resources.files
    shared = (files("podium.drawing") / "style.css").read_text(encoding="utf-8")
    return palette.style() + shared + (files("podium_board") / "static" / "board.css").read_text(encoding="utf-8")


@cache
def _templates() -> Any:
    made = environment("podium_board")
    made.filters |= {name: getattr(words, name) for name in ("number", "duration", "iso", "percent")}
    made.filters["moment"] = words.local
    return made

"""The application: pages, parts of pages and the stream of news; for this machine only; read-only without a token."""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from podium.errors import LookupFailed, PodiumError
from podium_board import comparison, data, live, pages, promotions, steering, sweep, sweeps, timeline, trial, trials
from podium_board.access import READ_ONLY, TOKEN, UNKNOWN, Access
from podium_board.promoting import Promotions
from podium_board.reading import Board

PAGES = (sweeps, sweep, trials, trial, timeline, data, promotions, comparison, steering, live)
"""The modules of pages."""

NAMES = ("127.0.0.1", "localhost", "[::1]")
"""What a browser of this machine may call the board; a page elsewhere that has its own name point here has another."""

MOST_PATH = 1_000
"""Characters of an address's path."""

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def make(board: Board, access: Access | None = None) -> "Guard":
    """The application that shows a board, which it starts and closes; nobody may steer by it without `access`."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        board.start()
        yield
        board.close()

    routes = [
        *(route for page in PAGES for route in page.ROUTES),
        Route("/style.css", _style),
        Mount("/static", StaticFiles(packages=[("podium_board", "static")])),
    ]
    handlers: dict[Any, Any] = {
        LookupFailed: _not_found,
        PodiumError: _told,
        HTTPException: _refused,
        Exception: _defect,
    }
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.state.board, app.state.access = board, access or Access()
    app.state.promotions = Promotions(board.place)
    return Guard(app)


class Guard:
    """Lets requests to this machine through, and adds to each answer what a browser must not do with it.

    Those that may change something, all but GET and HEAD, come from whoever may steer.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        if why := _refusal(request):
            await PlainTextResponse(f"{why}\n", 403)(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                known = {name for name, _ in message["headers"]}
                own += [] if b"cache-control" in known else [(b"cache-control", b"no-cache")]
                message["headers"] = [*message["headers"], *own]
            await send(message)

        scope["app"] = self._app
        answered = self._admit(request)
        await (answered or self._app)(scope, receive, guarded)

    def _admit(self, request: Request) -> Response | None:
        """The answer to a request that nobody else is to answer; None to all others."""
        if len(request.scope["path"]) > MOST_PATH:
            return _refused(request, HTTPException(404))
        access: Access = self._app.state.access
        if request.method not in ("GET", "HEAD"):
            why = access.refusal(request)
            return pages.page(request, "error.html", 403, title="Not allowed", text=why) if why else None
        if TOKEN not in request.query_params:
            return None
        text = UNKNOWN if access.is_open else READ_ONLY
        return access.enter(request) or pages.page(request, "error.html", 403, title="Not allowed", text=text)


def _refusal(request: Request) -> str:
    """Why a request is not looked at, in words; empty if it is."""
    host = request.headers.get("host", "")
    name, _, port = (host, "", "80") if host in NAMES else host.rpartition(":")
    if name not in NAMES or not port.isdecimal() or len(port) > 5 or int(port) >= 2**16:
        return f"The board answers to {', '.join(NAMES)} only."
    is_own = request.headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    is_page = request.headers.get("sec-fetch-dest") == "document"
    return "" if is_own or is_page else "Pages of others may lead to the board's, and take nothing from it."


def _style(_: Request) -> Response:
    return Response(pages.style(), media_type="text/css")


def _not_found(request: Request, error: Exception) -> Response:
    return pages.page(request, "error.html", 404, title="Not here", text=str(error))


def _refused(request: Request, error: HTTPException) -> Response:
    text = "There is no such page." if error.status_code == 404 else error.detail
    return pages.page(request, "error.html", error.status_code, title="Not here", text=text)


def _told(request: Request, error: Exception) -> Response:
    return pages.page(request, "error.html", 503, title="Not now", text=str(error))


def _defect(request: Request, error: Exception) -> Response:
    print(f"podium: {request.url.path} cannot be shown: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    text = f"This page cannot be shown ({type(error).__name__}). The board goes on; the terminal it runs in says more."
    return pages.page(request, "error.html", 500, title="Something is wrong here", text=text)

"""News for pages that are open: a stream that says when what they show has changed (server-sent events)."""

import asyncio
import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from podium_board.pages import board_of
from podium_board.reading import Board

LOOK_EVERY_S = 0.1

ALIVE_EVERY_S = 10.0
"""How often a page is told that the board still runs."""


async def stream(request: Request) -> Response:
    """The editions of one sweep, or without `sweep` those of the list."""
    news = _news(board_of(request), request.query_params.get("sweep", ""))
    return StreamingResponse(news, media_type="text/event-stream", headers={"cache-control": "no-store"})


async def _news(board: Board, name: str) -> AsyncIterator[str]:
    told, silent = -1, 0.0
    yield "retry: 1000\n\n"
    while not board.is_closed:
        edition = board.edition(name)
        if edition != told or silent >= ALIVE_EVERY_S:
            told, silent = edition, 0.0
            yield f"data: {json.dumps({'edition': edition})}\n\n"
        await asyncio.sleep(LOOK_EVERY_S)
        silent += LOOK_EVERY_S


ROUTES = [Route("/live", stream)]

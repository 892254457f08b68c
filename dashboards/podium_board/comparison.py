"""The page that compares sweeps: what `podium compare --html` writes, within the board."""

from urllib.parse import urlencode
from xml.etree.ElementTree import Element  # written only: nothing is parsed

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from podium.drawing.comparison import fill
from podium.drawing.pages import to_html
from podium.errors import LookupFailed, PodiumError
from podium.wiring import comparing
from podium_board.kept import Kept
from podium_board.pages import board_of, page
from podium_board.reading import Board

MOST = 6
"""So many sweeps have a colour of their own."""

BEST = 5
"""Trials of each sweep that stand in the table."""

MOST_KEPT = 8
"""So many comparisons stay in memory."""


def show(request: Request) -> Response:
    """The page, at once; what takes long is fetched into it."""
    names = _names(request)
    known = board_of(request).book.sweeps()
    problem = ""
    if not names:
        problem = "Choose sweeps to compare, in the list or here."
    elif len(names) > MOST:
        problem = f"{len(names)} sweeps are too many to be told apart; choose {MOST} at most."
    missing = [name for name in names if name not in known]
    if missing:
        raise LookupFailed(f"there is no sweep {missing[0]!r} here; the newest are: {', '.join(known[-10:])}")
    where = f"/parts/compare?{urlencode([('sweep', name) for name in names])}"
    return page(request, "comparison.html", names=names, known=known[::-1], problem=problem, where=where)


def compared(request: Request) -> Response:
    """The comparison alone."""
    names = _names(request)
    if not names:
        raise LookupFailed("no sweep is named that is to be compared")
    try:
        return HTMLResponse(_compared(board_of(request), tuple(names[:MOST])))
    except PodiumError as error:
        root = Element("p", {"class": "problem"})
        root.text = str(error)
        return HTMLResponse(to_html(root))


def _names(request: Request) -> list[str]:
    return list(dict.fromkeys(request.query_params.getlist("sweep")))


_made = Kept[str](MOST_KEPT)


def _compared(board: Board, names: tuple[str, ...]) -> str:
    """The comparison of sweeps as they are now; it is made once for each of their states."""
    for name in names:
        board.book.require(name)
    key = tuple((name, board.book.origin(name), board.book.last(name)) for name in names)
    return _made.get(key, lambda: _written(board, names))


def _written(board: Board, names: tuple[str, ...]) -> str:
    comparison, panels = comparing.look(board.book, names, BEST)
    root = Element("div")
    fill(root, comparison, panels)
    return to_html(root)


ROUTES = [Route("/compare", show), Route("/parts/compare", compared)]

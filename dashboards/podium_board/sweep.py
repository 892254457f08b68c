"""The page of one sweep: how it stands, its charts, its best trials, and what failed."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.errors import LookupFailed
from podium_board import figures
from podium_board.pages import board_of, fragment, page, render
from podium_board.pictures import Picture
from podium_board.table import best_rows

MOST_BEST = 10
MOST_FAILURES = 20


def shown_of(request: Request) -> dict[str, Any]:
    """What every page of a sweep shows above its own: the name in the address, and the picture, if there is one yet.

    Raises:
        LookupFailed: if there is no such sweep.
    """
    board, name = board_of(request), request.path_params["name"]
    return {
        "name": name,
        "address": f"/sweeps/{name}",
        "watched": name,
        "picture": board.look(name),
        "broken": board.broken(name),
        "read_at": board.read_at,
    }


def picture_of(request: Request) -> Picture:
    """The picture alone.

    Raises:
        LookupFailed: if there is no such sweep, or it was not read yet.
    """
    name = request.path_params["name"]
    picture = board_of(request).look(name)
    if picture is None:
        raise LookupFailed(f"the ledger of {name!r} is not read yet; try again in a moment")
    return picture


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    picture = shown["picture"]
    if picture is None:
        return page(request, "sweep_reading.html", **shown)
    metric = figures.metric_of(picture, request.query_params.get("metric"))
    first = figures.draw(picture, "curves", metric, board_of(request).importance)
    about: dict[str, Any] = {"metric": metric, "first": first, "figures": figures.drawn(picture)}
    return page(request, "sweep.html", **shown, **_parts(picture), **about)


def part(request: Request) -> Response:
    """One part of it, by its name."""
    kind = request.path_params["part"]
    if kind not in ("banner", "headline", "best", "failures"):
        raise LookupFailed(f"a sweep's page has no part {kind!r}")
    shown = shown_of(request)
    if shown["picture"] is None and kind != "banner":
        return Response(status_code=204)
    parts = {} if shown["picture"] is None else _parts(shown["picture"])
    return fragment(request, render(f"sweep_{kind}.html", trouble=board_of(request).trouble, **shown, **parts))


def figure(request: Request) -> Response:
    """One chart."""
    picture = picture_of(request)
    kind = request.path_params["figure"]
    if kind not in figures.FIGURES:
        raise LookupFailed(f"a sweep has no chart {kind!r}; there are: {', '.join(figures.FIGURES)}")
    metric = figures.metric_of(picture, request.query_params.get("metric"))
    return fragment(request, figures.draw(picture, kind, metric, board_of(request).importance))


def _parts(picture: Picture) -> Mapping[str, Any]:
    failures = picture.summary["failures"]
    return {
        "summary": picture.summary,
        "best": best_rows(picture, MOST_BEST),
        "failures": failures[-MOST_FAILURES:][::-1],
        "num_failures": len(failures),
    }


ROUTES = [
    Route("/sweeps/{name}", show),
    Route("/sweeps/{name}/parts/{part}", part),
    Route("/sweeps/{name}/figures/{figure}", figure),
]

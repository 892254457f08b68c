"""The page of a sweep's trials: a table to be sorted, filtered and turned over."""

from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.sweep.trial import TrialState
from podium_board.pages import fragment, page, render
from podium_board.pictures import Picture
from podium_board.sweep import picture_of, shown_of
from podium_board.table import Query, select


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    return page(request, "trials.html", **shown, **_table(request, shown["picture"]))


def rows(request: Request) -> Response:
    """The table alone."""
    picture = picture_of(request)
    return fragment(request, render("trials_table.html", address=f"/sweeps/{picture.name}", **_table(request, picture)))


def _table(request: Request, picture: Picture) -> dict[str, Any]:
    query = Query.of(request.query_params, picture.spec)

    def link(**changes: Any) -> str:
        """The address of this table, asked for something else."""
        asked = {"state": query.state, "text": query.text, "sort": query.sort, "page": query.page} | changes
        kept = {key: value for key, value in asked.items() if value not in ("", "number", 1)}
        return f"?{urlencode(kept)}" if kept else "?"

    return {
        "query": query,
        "found": select(picture.trials.values(), query),
        "states": list(TrialState),
        "parameters": list(picture.spec.search.space),
        "objectives": [objective.metric for objective in picture.spec.search.objectives],
        "link": link,
        "total": len(picture.trials),
    }


ROUTES = [Route("/sweeps/{name}/trials", show), Route("/sweeps/{name}/trials/table", rows)]

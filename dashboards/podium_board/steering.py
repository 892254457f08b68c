"""The pages that steer a sweep: stop it or a trial, try a point, extend the budget, promote; each in somebody's name.

Nothing is changed by following a link: a page asks first, and its form is what changes something.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from podium.errors import LookupFailed, PodiumError
from podium.spec.files import parse_value
from podium.wiring import requests
from podium.wiring.place import Place
from podium_board import points
from podium_board.access import Access, form_of
from podium_board.pages import access_of, board_of, fragment, page, render
from podium_board.promoting import Promotions
from podium_board.sweep import shown_of
from podium_board.table import MOST_DIGITS

PROBLEM = 422

PATIENCE_S = 3.0
"""So long a request waits for the newest picture before the ledger is read."""


def show(request: Request) -> Response:
    """The page with all that can be asked of a sweep."""
    return _show(request)


def confirm_stop(request: Request) -> Response:
    """Asks whether the sweep, or a trial of it, is to be stopped."""
    shown, trial = _known(request), request.query_params.get("trial", "")
    if trial and (shown["picture"] is None or _number(trial) not in shown["picture"].trials):
        raise LookupFailed(f"sweep {shown['name']!r} has no trial {trial!r}")
    return page(request, "steer_stop.html", **shown, trial=trial)


def confirm_promotion(request: Request) -> Response:
    """Says what a promotion would train and judge, and asks whether it is to."""
    from podium.wiring import plans

    shown, place = _known(request), board_of(request).place
    found, problem, opened = None, "", None
    try:
        promotions_of(request).require_idle(shown["name"])
        opened = plans.find_open(place, shown["name"])
        found = plans.forecast(opened or plans.make_plan(place, shown["name"], None, None))
    except PodiumError as error:
        problem = str(error)
    return page(request, "steer_promotion.html", **shown, plan=found, problem=problem, goes_on=opened is not None)


def said(request: Request) -> Response:
    """What the promotion says that this board has begun."""
    shown = _known(request)
    return fragment(request, render("steer_said.html", **_promotion(request, shown["name"])))


async def stop(request: Request) -> Response:
    """Stops the sweep or the trial."""
    form = await form_of(request)
    trial = form.get("trial", "")
    number = _number(trial) if trial else None

    def ask() -> str:
        return _said(requests.stop(*_asked(request), number, _name(request), _standing(request)))

    return await _ask(request, ask, "stop", back="" if number is None else f"/trials/{number}")


async def enqueue(request: Request) -> Response:
    """Has a point tried next."""
    form = await form_of(request)
    picture = shown_of(request)["picture"]
    if picture is None:
        raise LookupFailed("the ledger is not read yet; try again in a moment")
    point, filled = points.read(picture.spec.space(), form)
    if any(each.problem for each in filled):
        return _show(request, status=PROBLEM, fields=filled, problems={"enqueue": "Not every value can be tried."})
    if not point:
        nothing = {"enqueue": "Give at least one value; those left out are drawn."}
        return _show(request, status=PROBLEM, fields=filled, problems=nothing)

    def ask() -> str:
        return _said(requests.enqueue(*_asked(request), point, _name(request), _standing(request)))

    return await _ask(request, ask, "enqueue", fields=filled)


async def extend(request: Request) -> Response:
    """Raises limits of the budget; fields left empty stay as they are."""
    form = {key: text.strip() for key, text in (await form_of(request)).items() if text.strip()}

    def ask() -> str:
        limits = {key: parse_value(text) for key, text in form.items()}
        return _said(requests.extend(*_asked(request), limits, _name(request), _standing(request)))

    if not form:
        return _show(request, status=PROBLEM, problems={"extend": "Give at least one limit that is higher than now."})
    return await _ask(request, ask, "extend", entered=form)


async def promote(request: Request) -> Response:
    """Begins a promotion."""
    await form_of(request)
    name, place = request.path_params["name"], board_of(request).place

    def ask() -> str:
        from podium.wiring import plans

        if plans.find_open(place, name) is None:
            plans.make_plan(place, name, None, None)  # which refuses what cannot be promoted
        promotions_of(request).begin(name, _name(request))
        return f"The promotion of {name} has begun, in a process of its own that goes on without the board"

    return await _ask(request, ask, "promote")


async def rename(request: Request) -> Response:
    """Has the browser remember in whose name it steers."""
    form = await form_of(request)
    answer = RedirectResponse(f"/sweeps/{quote(request.path_params['name'])}/steer", 303)
    access_of(request).rename(request, answer, form.get("by", ""))
    return answer


def promotions_of(request: Request) -> Promotions:
    """The promotions that this board begins."""
    found: Promotions = request.app.state.promotions
    return found


async def _ask(request: Request, ask: Callable[[], str], what: str, back: str = "/steer", **shown: Any) -> Response:
    """Asks, and says on the page that follows what came of it; where it is refused, beside the form."""
    try:
        text = await run_in_threadpool(ask)
    except PodiumError as error:
        problems = {what: str(error)}
        return await run_in_threadpool(lambda: _show(request, status=PROBLEM, problems=problems, **shown))
    key = access_of(request).note(text)
    return RedirectResponse(f"/sweeps/{quote(request.path_params['name'])}{back}?note={key}", 303)


def _said(outcome: Mapping[str, Any]) -> str:
    """What was asked, and when it will be done."""
    return f"Asked: {outcome['message']}" + ("; its driver takes it within a second" if outcome["driver"] else "")


def _show(
    request: Request,
    status: int = 200,
    problems: Mapping[str, str] | None = None,
    fields: list[points.Field] | None = None,
    entered: Mapping[str, str] | None = None,
) -> Response:
    shown = _known(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    spec = shown["picture"].spec
    return page(
        request,
        "steer.html",
        status,
        **shown,
        **_promotion(request, shown["name"]),
        limits=shown["picture"].standing.limits,
        fields=points.fields(spec.space()) if fields is None else fields,
        is_listed=spec.search.sampler == "list",
        problems=problems or {},
        entered=entered or {},
    )


def _known(request: Request) -> dict[str, Any]:
    """What the pages of those show who may steer.

    Raises:
        LookupFailed: if there is no such sweep, or the request may not steer.
    """
    if not access_of(request).is_known(request):
        raise LookupFailed("this page is for those who were let in to steer, by the address with the board's token")
    return {**shown_of(request), "by": _name(request)}


def _promotion(request: Request, name: str) -> dict[str, Any]:
    begun = promotions_of(request).begun(name)
    return {"begun": begun, "said": "" if begun is None else promotions_of(request).said(name)}


def _asked(request: Request) -> tuple[Place, str]:
    """Which sweep something is asked of, and where."""
    return board_of(request).place, request.path_params["name"]


def _standing(request: Request) -> requests.Standing | None:
    """How the sweep stands now, as the pictures have it; None if none comes soon enough to tell.

    A large ledger would take seconds to be read again.
    """
    board, name = board_of(request), request.path_params["name"]
    now, until = (board.book.origin(name), board.book.last(name)), time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        picture = board.look(name)
        if picture is not None and picture.origin == now[0] and picture.sequence >= now[1]:
            return picture.standing
        time.sleep(0.05)
    return None


def _number(trial: str) -> int:
    """The number of a trial.

    Raises:
        LookupFailed: for a text that is none.
    """
    if not trial.isdecimal() or len(trial) > MOST_DIGITS:
        raise LookupFailed(f"{trial[:MOST_DIGITS]!r} is no trial's number")
    return int(trial)


def _name(request: Request) -> str:
    access: Access = access_of(request)
    return access.name(request)


ROUTES = [
    Route("/sweeps/{name}/steer", show),
    Route("/sweeps/{name}/steer/stop", confirm_stop),
    Route("/sweeps/{name}/steer/stop", stop, methods=["POST"]),
    Route("/sweeps/{name}/steer/enqueue", enqueue, methods=["POST"]),
    Route("/sweeps/{name}/steer/extend", extend, methods=["POST"]),
    Route("/sweeps/{name}/steer/promote", confirm_promotion),
    Route("/sweeps/{name}/steer/promote", promote, methods=["POST"]),
    Route("/sweeps/{name}/steer/said", said),
    Route("/sweeps/{name}/steer/name", rename, methods=["POST"]),
]

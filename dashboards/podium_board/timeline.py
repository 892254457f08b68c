"""The page of a sweep's timeline: gangs against time, and what became of every second."""

from typing import Any, get_args
from xml.etree.ElementTree import Element, SubElement, tostring  # written only: nothing is parsed

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.drawing import timeline as drawing
from podium.sweep.gain import advice
from podium.sweep.timeline import Timeline
from podium_board.pages import board_of, fragment, page, render
from podium_board.pictures import Picture
from podium_board.sweep import picture_of, shown_of

COLOURS: tuple[drawing.Colour, ...] = get_args(drawing.Colour)


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    about: dict[str, Any] = {
        "charts": _charts(request, shown["picture"]),
        "colour": _colour(request),
        "colours": COLOURS,
    }
    return page(request, "timeline.html", **shown, **about)


def charts(request: Request) -> Response:
    """The charts and the advice alone."""
    return fragment(request, _charts(request, picture_of(request)))


def _colour(request: Request) -> drawing.Colour:
    asked = request.query_params.get("colour", "")
    return next((each for each in COLOURS if each == asked), COLOURS[0])


def _charts(request: Request, picture: Picture) -> str:
    """Those of a picture, drawn once, however many look at it: reading stands still meanwhile."""
    key = ("timeline", _colour(request))
    with board_of(request).timeline(picture.name) as found:
        if key not in picture.drawn:
            if found is None:
                return render("timeline_charts.html", advice="", charts=[])
            picture.drawn[key] = _drawn(found, picture.name, _colour(request))
        return picture.drawn[key]


def _drawn(found: Timeline, name: str, colour: drawing.Colour) -> str:
    gangs = Element("figure")
    caption = drawing.timeline(gangs, found, lambda number: f"/sweeps/{name}/trials/{number}", colour)
    sums = Element("figure")
    told = drawing.totals(sums, found)
    for figure, title, text in ((sums, "What gang time went into", told), (gangs, "Gangs against time", caption)):
        figure.attrib |= {"tabindex": "0", "aria-label": title}  # it scrolls on a narrow screen
        heading = Element("h2")
        heading.text = title
        figure.insert(0, heading)
        SubElement(figure, "figcaption").text = text or "No gang has been there yet."
    written = [tostring(figure, encoding="unicode", method="html") for figure in (sums, gangs)]
    return render("timeline_charts.html", advice=advice(found), charts=written)


ROUTES = [Route("/sweeps/{name}/timeline", show), Route("/sweeps/{name}/timeline/charts", charts)]

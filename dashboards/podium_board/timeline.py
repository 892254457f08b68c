"""The page of a sweep's timeline: gangs against time, and what became of every second."""

from typing import Any, get_args
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.drawing import timeline as drawing
from podium.drawing.pages import to_html
from podium.sweep.gain import advice
from podium_board.pages import board_of, fragment, page, render
from podium_board.sweep import shown_of

COLOURS: tuple[drawing.Colour, ...] = get_args(drawing.Colour)


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    return page(request, "timeline.html", **shown, **_drawn(request))


def charts(request: Request) -> Response:
    """The charts and the advice alone."""
    shown_of(request)
    return fragment(request, render("timeline_charts.html", **_drawn(request)))


def _drawn(request: Request) -> dict[str, Any]:
    name, asked = request.path_params["name"], request.query_params.get("colour", "")
    colour = next((each for each in COLOURS if each == asked), COLOURS[0])
    about: dict[str, Any] = {"colour": colour, "colours": COLOURS, "advice": "", "charts": []}
    with board_of(request).timeline(name) as found:
        if found is None:
            return about
        about["advice"] = advice(found)
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
        about["charts"].append(to_html(figure))
    return about


ROUTES = [Route("/sweeps/{name}/timeline", show), Route("/sweeps/{name}/timeline/charts", charts)]

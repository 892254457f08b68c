"""The page of one trial: its curves, what ails it, what goes on inside it, its log and its story."""

import json
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.drawing.aggregates import limits
from podium.drawing.pages import to_html
from podium.drawing.svg import Plot
from podium.errors import LookupFailed, StorageFault
from podium.execution import logs
from podium.masking import Secrets, without_logins
from podium.spec.space import fusible_because
from podium.store import read, size
from podium.sweep.trial import Trial
from podium.tracking import pages
from podium.tracking.diagnosis import FILE
from podium.training.artifacts import artifact_folder
from podium.wiring import summaries
from podium.wiring.place import Place
from podium_board import images, layers
from podium_board.curves import Curve
from podium_board.pages import board_of, fragment, page, render
from podium_board.pictures import Picture
from podium_board.sweep import picture_of, shown_of

TAIL_BYTES = 20_000
"""Of a log, so much of its end is shown."""

LINES = {"train": "s0", "validation": "s1"}
"""What the curves of each split are coloured by."""


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    trial = _trial(request, shown["picture"])
    return page(request, "trial.html", **shown, **_standing(request, shown["picture"], trial))


def part(request: Request) -> Response:
    """One part of it, by its name."""
    picture, kind = picture_of(request), request.path_params["part"]
    trial, board = _trial(request, picture), board_of(request)
    about: dict[str, Any] = {"trial": trial, "address": f"/sweeps/{picture.name}"}
    if kind == "standing":
        about |= _standing(request, picture, trial)
    elif kind == "curves":
        return fragment(request, _curves(picture, trial))
    elif kind == "inside":
        found = images.found(board.place, picture.name, trial.number, _facts(request, picture, trial))
        about |= {"drawn": _layers(board.place, picture.name, trial), "images": found}
    elif kind == "log":
        about |= _log(board.place, picture, trial)
    elif kind == "story":
        about["story"] = board.story(picture.name, trial.number)
    else:
        raise LookupFailed(f"a trial's page has no part {kind!r}")
    return fragment(request, render(f"trial_{kind}.html", **about))


def image(request: Request) -> Response:
    """One picture among its artifacts."""
    picture = picture_of(request)
    trial, name = _trial(request, picture), request.path_params["image"]
    content = images.read(board_of(request).place, picture.name, trial.number, _facts(request, picture, trial), name)
    kind = images.KINDS[PurePosixPath(name).suffix.lower()]
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=60"})


def _trial(request: Request, picture: Picture) -> Trial:
    number: int = request.path_params["number"]
    if number not in picture.trials:
        raise LookupFailed(
            f"sweep {picture.name!r} has no trial {number}; it has {len(picture.trials)}, counted from 0"
        )
    return picture.trials[number]


def _standing(request: Request, picture: Picture, trial: Trial) -> dict[str, Any]:
    """How it stands, in figures and words."""
    facts = _facts(request, picture, trial)
    run, experiment, uri = facts.get(f"run/{trial.number}"), facts.get("experiment"), facts.get("tracking_uri") or ""
    server = without_logins(uri).rstrip("/") if uri.startswith("http") else pages.UI
    return {
        "trial": trial,
        "spec": picture.spec,
        "objectives": [objective.metric for objective in picture.spec.search.objectives],
        "described": summaries.describe(trial, picture.spec, facts),
        "place": summaries.place_in(trial.cohort, trial.lane, trial.lanes) if trial.cohort else "",
        "fusible": fusible_because,
        "run": f"{server}/{pages.run(experiment, run)}" if run and experiment else "",
        "is_served": uri.startswith("http"),
        "last": max(picture.trials),
    }


def _facts(request: Request, picture: Picture, trial: Trial) -> dict[str, Any]:
    """Where MLflow has it; nothing while the ledger cannot be read, without which its page is shown all the same."""
    try:
        return board_of(request).book.facts(picture.name).some(["experiment", "tracking_uri", f"run/{trial.number}"])
    except StorageFault:
        return {}


# curves


def _curves(picture: Picture, trial: Trial) -> str:
    """A chart for each metric, those of one name over train and validation together; the objectives come first."""
    first = [objective.metric for objective in picture.spec.search.objectives]
    groups: dict[str, dict[str, Curve]] = {}
    curves = picture.curves.of_trial(trial.number)
    for metric in sorted(curves, key=lambda name: (name not in first, name.partition("/")[0] not in LINES, name)):
        split, _, rest = metric.partition("/")
        groups.setdefault(rest if split in LINES else metric, {})[metric] = curves[metric]
    groups = {name: dict(sorted(lines.items())) for name, lines in groups.items()}
    root = Element("div", {"class": "charts"})
    for name, lines in groups.items():
        _chart(root, name, lines, set(picture.spec.rungs()))
    if not groups:
        root = Element("p", {"class": "soft"})
        root.text = "It has reported nothing yet."
    return to_html(root)


def _chart(parent: Element, name: str, lines: dict[str, Curve], rungs: set[int]) -> None:
    points = {metric: [(at, value) for at, value in curve if value is not None] for metric, curve in lines.items()}
    drawn = {metric: curve for metric, curve in points.items() if curve}
    figure = SubElement(parent, "figure")
    SubElement(figure, "h3").text = name
    if not drawn:
        SubElement(figure, "p", {"class": "soft"}).text = "No value of it is a finite number."
        return
    legend = SubElement(figure, "p", {"class": "legend"})
    epochs = [at for curve in drawn.values() for at, _ in curve]
    low, high = limits((value for curve in drawn.values() for _, value in curve), ())
    ends = (min(epochs), max(epochs)) if min(epochs) < max(epochs) else (min(epochs) - 0.5, max(epochs) + 0.5)
    plot = Plot(figure, f"{' and '.join(drawn)} by epoch", ends, (low, high), ("epoch", name))
    plot.grid(plot.x.ticks(whole=True), plot.y.ticks())
    for metric, curve in drawn.items():
        colour = LINES.get(metric.partition("/")[0], "s2")
        SubElement(legend, "span", {"class": f"chip {colour}"})
        SubElement(legend, "span", {"class": "name"}).text = metric
        plot.line(curve, f"{colour} median", metric)
        for at, value in curve:
            if at in rungs or len(curve) <= 30:
                plot.dot((at, value), 3.5 if at in rungs else 2, colour, f"{metric}, epoch {at}: {value:.5g}")


# inside, log, story


def _layers(place: Place, sweep: str, trial: Trial) -> str:
    """Charts of what was measured of each layer; empty if nothing was."""
    content = read(place.store, f"{artifact_folder(sweep, trial.number)}/{FILE}")
    root = Element("div")
    layers.draw(root, json.loads(content) if content else [])
    return to_html(root) if len(root) else ""


def _log(place: Place, picture: Picture, trial: Trial) -> dict[str, Any]:
    """The end of its log, without secrets."""
    whole = size(place.store, logs.log_name(picture.name, trial.number))
    start = max(0, whole - TAIL_BYTES)
    end = logs.read_log(place.store, picture.name, trial.number, place.cache, start)
    return {"log": Secrets().mask_end(end, is_cut=start > 0), "is_cut": start > 0, "name": picture.name}


ROUTES = [
    Route("/sweeps/{name}/trials/{number:int}", show),
    Route("/sweeps/{name}/trials/{number:int}/parts/{part}", part),
    Route("/sweeps/{name}/trials/{number:int}/images/{image:path}", image),
]

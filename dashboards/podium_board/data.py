"""The page of a sweep's data: what the manifest says, how the classes are balanced, and some samples."""

import io
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement  # written only: nothing is parsed

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from podium.drawing.pages import to_html
from podium.drawing.svg import Scale, canvas, path, write
from podium.errors import LookupFailed, PodiumError
from podium.store import local_path
from podium.wiring import shelf
from podium.wiring.place import Place
from podium_board.kept import Kept
from podium_board.pages import board_of, page
from podium_board.sweep import picture_of, shown_of

MOST_CLASSES = 40
"""More than so many classes are told in a table alone."""

WIDTH, ROW, LEFT = 460, 34, 130

MOST_SHEETS = 4
"""So many sheets of samples stay in memory."""

DPI = 110


def show(request: Request) -> Response:
    """The page."""
    shown = shown_of(request)
    if shown["picture"] is None:
        return page(request, "sweep_reading.html", **shown)
    name, place = shown["picture"].launched.data, board_of(request).place
    found, problem = None, "This sweep has no data: its task makes or reads what it needs."
    if name:
        try:
            found = shelf.show(place, name)
        except PodiumError as error:
            problem = str(error)
    return page(request, "data.html", **shown, **_described(place, found), problem=problem)


def sheet(request: Request) -> Response:
    """Some samples of the train and validation splits, as PNG; the test split is read by promotion alone."""
    name = picture_of(request).launched.data
    if not name:
        raise LookupFailed("this sweep has no data")
    place = board_of(request).place
    content = _sheets.get(shelf.where(place, name), lambda: _sheet(place, name))
    return Response(content, media_type="image/png", headers={"cache-control": "private, max-age=3600"})


def _described(place: Place, found: Mapping[str, Any] | None) -> dict[str, Any]:
    from podium.cli.describing import lines_of

    if found is None:
        return {"data": None}
    schema, classes = found["schema"], found["classes"]
    count = schema["classes"] if classes else 0
    names = list(schema["class_names"]) or [str(number) for number in range(count)]
    return {
        "data": found,
        "lines": lines_of(dict(found)),
        "names": names,
        "classes": classes if count else {},
        "balance": _balance(names, classes) if 0 < count <= MOST_CLASSES else "",
        "is_here": local_path(place.store, "") is not None,
    }


def _balance(names: Sequence[str], classes: Mapping[str, Sequence[int]]) -> str:
    """The share that each class has of each split, as bars below each other."""
    root, splits = Element("figure"), [split for split, counts in classes.items() if sum(counts)]
    shares = {split: [count / sum(classes[split]) for count in classes[split]] for split in splits}
    legend = SubElement(root, "p", {"class": "legend"})
    for index, split in enumerate(splits):
        SubElement(legend, "span", {"class": f"chip s{index % 6}"})
        SubElement(legend, "span", {"class": "name"}).text = split
    row = ROW if len(splits) > 1 else ROW - 12
    bottom = row * len(names) + 10
    svg = canvas(root, "Share of each class in each split", WIDTH, bottom + 36)
    across = Scale(0, max(share for some in shares.values() for share in some), LEFT, WIDTH - 24)
    for value, _ in across.ticks():
        path(svg, [(across(value), 4), (across(value), bottom)], "grid")
        write(svg, (across(value), bottom + 14), f"{value:.3%}".rstrip("0%").rstrip(".") + "%", "tick middle")
    for number, name in enumerate(names):
        top = number * row + 12
        write(svg, (LEFT - 8, top + row / 2 - 6), name if len(name) <= 18 else f"{name[:17]}…", "tick end")
        for index, split in enumerate(splits):
            share, y = shares[split][number], top + index * 9 - 3
            title = f"{name}, {split}: {classes[split][number]:,} ({share:.1%})"
            path(svg, [(LEFT, y), (across(share), y)], f"share thin s{index % 6}", title)
    write(svg, ((LEFT + WIDTH - 24) / 2, bottom + 32), "share of the split's samples", "soft middle")
    return to_html(root)


_sheets = Kept[bytes](MOST_SHEETS)


def _sheet(place: Place, name: str) -> bytes:
    """The sheet of a data set."""
    from podium.data.reader import Reader
    from podium.data.sheet import draw

    file = io.BytesIO()
    draw(Reader(shelf.fetch(place, name))).savefig(file, format="png", dpi=DPI)
    return file.getvalue()


ROUTES = [Route("/sweeps/{name}/data", show), Route("/sweeps/{name}/data/sheet.png", sheet)]

"""Pages on paper: PDF by WeasyPrint, to which a drawing is a picture that the page's style sheet says nothing to."""

import importlib.resources
import re
from typing import NoReturn

from podium.drawing.palette import LIGHT, variables
from podium.errors import UserError

_RULE = re.compile(r"^([^@{}]+)\{([^{}]*)\}", re.MULTILINE)
_VARIABLE = re.compile(r"var\((--[\w-]+)\)")
_DRAWING = re.compile(r'<svg [^>]*aria-label="([^"]*)"[^>]*>')

_HALO = re.compile(r'(<text [^>]*class=")([^"]*)halo([^"]*"[^>]*>)([^<]*</text>)')

UNDER = f"text.under {{ fill: {LIGHT.ground}; stroke: {LIGHT.ground}; stroke-width: 4px; stroke-linejoin: round; }}"
"""WeasyPrint draws a stroke over letters; so what parts them from lines is a text of its own below them."""


def to_pdf(page: str) -> bytes:
    """A self-contained page as PDF, in the colours of the light theme, with bookmarks and tags.

    By its tags, software that reads it aloud tells headings and tables, and what a drawing shows.

    Raises:
        UserError: if a library is missing on this machine.
    """
    try:
        from weasyprint import HTML
    except (OSError, ImportError) as error:
        raise UserError(
            "a PDF needs the library Pango, which WeasyPrint does not find on this machine; install it, on Debian: "
            "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0. Or give --html alone; what was asked of "
            "that is written"
        ) from error
    rules = f"<style>{drawing_rules()}</style>"
    haloed = _HALO.sub(r"\1\2under\3\4\1\2\3\4", page)
    printed = _DRAWING.sub(lambda tag: f"{tag[0]}<title>{tag[1]}</title>{rules}", haloed)
    found: bytes | None = HTML(string=printed, url_fetcher=_refuse).write_pdf(pdf_tags=True)
    assert found is not None, "write_pdf returns the document where it is given no target"
    return found


def drawing_rules() -> str:
    """What the style sheet says of drawings, with the colours themselves in the place of variables."""
    colours = variables(LIGHT)
    sheet = (importlib.resources.files("podium.drawing") / "style.css").read_text(encoding="utf-8")
    found = [
        f"{selectors.strip()} {{{_VARIABLE.sub(lambda name: colours[name[1]], body)}}}"
        for selectors, body in _RULE.findall(_split(sheet))
        if ":" not in selectors
    ]
    return "\n".join([*found, UNDER])


def _split(sheet: str) -> str:
    """One rule a line, and none that holds others, such as those for narrow screens."""
    lines = (line for line in sheet.splitlines() if not line.lstrip().startswith("@"))
    return "\n".join(lines).replace("} ", "}\n")


def _refuse(url: str, *_: object, **__: object) -> NoReturn:
    raise ValueError(f"a report loads nothing, and {url} was asked for")

"""Errors for people: in a terminal with the line at fault and what is wrong in it; elsewhere as one plain line."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podium.errors import SpecError

if TYPE_CHECKING:
    from rich.console import Console

PREFIX = "podium: "

_NEW_LINE = re.compile(r"; (?=did you mean|allowed:)|(?<=\?) (?=allowed:)|\n")
_CODE = re.compile(r"`[^`]+`|'[^' ]+'")


def show(error: Exception) -> None:
    """Prints what went wrong on standard error."""
    if not sys.stderr.isatty():
        click.echo(f"{PREFIX}{error}", err=True)
        return
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    if isinstance(error, SpecError) and (error.file or error.key):
        _show_place(console, error)
        _show_text(console, error.problem, "  ")
    else:
        _show_text(console, str(error), "")


def show_usage(error: click.ClickException) -> None:
    """Prints what was wrong with a command line: how it is written, and in a terminal what to change in colour."""
    if not sys.stderr.isatty():
        error.show()
        return
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"{context.get_usage()}\nFor all of it:  {context.command_path} --help\n", err=True)
    show(click.ClickException(error.format_message()))


def excerpt(file: str, line: int | None) -> str | None:
    """The line of a file, or the override that stands for it; None if it cannot be read any more."""
    if line is None:
        return file if "=" in file else None
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()[line - 1]
    except (OSError, UnicodeDecodeError, IndexError):
        return None


def span(text: str, key: str, problem: str) -> tuple[int, int]:
    """Where in a line the value of a key stands, or the key where it is that which is wrong or has no value there."""
    names = [key, key.rpartition(".")[2]]
    for name in filter(None, names):
        found = re.search(rf"(?<![\w.])(?P<name>[\"']?{re.escape(name)}[\"']?)\s*[:=]\s*(?P<value>[^#]*)", text)
        if found:
            value = found["value"] if found["value"][:1] in ("{", "[", '"', "'") else found["value"].split(",")[0]
            value = value.split("}")[0] if not value.startswith("{") else value
            if not value.strip() or problem.startswith("unknown key"):
                return found.span("name")
            return found.start("value"), found.start("value") + len(value.rstrip())
    begins = len(text) - len(text.lstrip())
    return begins, max(len(text.rstrip()), begins + 1)


def _show_place(console: "Console", error: SpecError) -> None:
    """File, line and key, and the line itself with a mark below what is meant."""
    from rich.text import Text

    found = excerpt(error.file, error.line) if error.file else None
    where = error.key if error.file and error.line is None and found else ""
    where = where or ":".join(str(part) for part in (error.file, error.line) if part is not None)
    where = f"{where}: {error.key}" if error.key and error.key not in where else where
    console.print(Text.assemble((PREFIX, "bold red"), (where, "bold")), soft_wrap=True)
    if not found or not found.strip():
        return
    text = "".join(sign if sign.isprintable() else " " for sign in found)
    begin, end = span(text, error.key, error.problem)
    bar = "│" if console.encoding.startswith("utf") else "|"
    margin = f"{error.line or '':>5} {bar} "
    room = max(console.width - len(margin) - 1, 8)
    shift = max(min(begin - 4, end - room), 0)
    shown = text[shift : shift + room]
    begin, end = begin - shift, min(end - shift, len(shown))
    console.print(Text.assemble(margin, shown), soft_wrap=True)
    mark = "^" * max(end - begin, 1)
    console.print(Text.assemble(f"{'':>5} {bar} {' ' * begin}", (mark, "bold red")), soft_wrap=True)


def _show_text(console: "Console", text: str, indent: str) -> None:
    """A message in lines as wide as the terminal: what is wrong first, then what is meant, then what is allowed."""
    from rich.text import Text

    margin = indent or " " * len(PREFIX)
    first = Text(indent) if indent else Text(PREFIX, style="bold red")
    for part in filter(None, _NEW_LINE.split(text)):
        body = Text(part)
        body.highlight_regex(_CODE, "bold")
        for line in body.wrap(console, max(console.width - len(margin), 20)):
            line.rstrip()
            console.print(first + line, soft_wrap=True)
            first = Text(margin)

"""Every figure on the page of a sweep is that of `podium status --json`."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from boards import ask, until, whole

from podium.drawing import words
from podium.ledger import Book
from podium.wiring import summaries
from podium.wiring.watching import Watched
from podium_board import pages, promotions

ELSEWHERE = {"sweep", "failures", "ailing", "tracking_uri", "parent_run_id", "front"}
"""What a status tells and the headline does not: other parts and pages of the board do."""

OPTIONAL = {"startup_s", "wall_s", "driver", "model", "screened", "best", "user"}
"""Shown only where there is one."""


class Figures(HTMLParser):
    """The elements of a page that say which figure they show, with their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, tuple[Any, str]] = {}
        self._open: tuple[str, Any] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if "data-figure" in named:
            self._open = named["data-figure"], json.loads(named["data-value"])
            self.found[self._open[0]] = self._open[1], ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[self._open[0]] = self._open[1], self.found[self._open[0]][1] + data

    def handle_endtag(self, tag: str) -> None:
        self._open = None


def at(status: Any, path: str) -> Any:
    for key in path.split("."):
        status = status[key]
    return status


def shown_as(path: str, value: Any) -> str:
    if path in ("device_s", "wall_s", "startup_s"):
        return words.duration(value)
    if path == "wasted_share":
        return words.percent(value)
    return words.number(value)


@pytest.mark.parametrize("name", ["finished", "interrupted", "objectives", "troubled", "driven"])
def test_the_headline_is_the_status(board, prepared, name):
    book = Book.at_home(prepared[0])
    status = json.loads(json.dumps(summaries.summarize(book, name)))
    until(lambda: whole(board, name))
    found = Figures(ask(board, f"/sweeps/{name}/parts/headline").text).found
    assert len(found) > 10
    for path, (value, text) in found.items():
        assert value == at(status, path), path
        assert text == shown_as(path, value), path
    shown = {path.partition(".")[0] for path in found}
    hidden = {key for key in status if key not in shown and key not in ELSEWHERE}
    assert all(not status[key] for key in hidden - OPTIONAL), hidden
    assert {f"trials.{key}" for key in status["trials"]} <= set(found)


@pytest.mark.parametrize("name", ["finished", "interrupted", "objectives", "troubled", "driven"])
def test_the_list_and_the_failures_are_the_status(board, prepared, name):
    status = summaries.summarize(Book.at_home(prepared[0]), name)
    row = ask(board, "/").text.partition(f'id="sweep-{name}"')[2].partition("</tr>")[0]
    assert f"{words.number(status['trials']['total'])} of {words.number(status['trials']['budget'])}" in row
    assert f">{status['state']}<" in row
    assert words.number(status["best"]["value"]) in row
    failures = ask(board, f"/sweeps/{name}/parts/failures").text
    assert failures.count("<details") == len(status["failures"])


def test_what_users_wrote_is_escaped(board):
    failures = ask(board, "/sweeps/troubled/parts/failures").text
    assert "<b>no good" not in failures
    assert "&lt;b&gt;no good" in failures


def test_whoever_needs_the_first_event_reads_no_other(prepared, monkeypatch):
    """A database may send all that is asked for before the first row can be looked at."""
    book, read = Book.at_home(prepared[0]), []
    machine, rows = summaries.load(book, "finished"), Book.rows

    def counted(*asked, **more):
        found = list(rows(*asked, **more))
        read.append(len(found))
        return iter(found)

    monkeypatch.setattr(Book, "rows", counted)
    summaries.summarize(book, "finished", machine)
    Watched(book, "finished")
    promotions._promoting(book, "finished")
    assert read == [1, 1, 2]


def test_the_headline_tells_the_time_of_the_last_launch_as_status_does(open_board, prepared):
    Book.at_home(prepared[0]).facts("finished").put({"startup_s": 20.0, "wall_s": 5.0})
    board = open_board(prepared[0])
    until(lambda: whole(board, "finished"))
    headline = re.sub(r"<[^>]+>", "", ask(board, "/sweeps/finished/parts/headline").text)
    assert "the last launch took 5 s, after 20 s to start" in headline


def test_secrets_are_masked_in_what_users_wrote(board, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "<b>no good")
    pages._templates.cache_clear()
    try:
        failures = ask(board, "/sweeps/troubled/parts/failures").text
    finally:
        pages._templates.cache_clear()
    assert "***" in failures
    assert "no good" not in failures

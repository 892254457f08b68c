"""The report as a page: in Chromium, light and dark, wide and narrow; it asks for nothing, and axe finds nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from page_faults import find_faults
from shown_sweeps import Story, make_spec, make_story

from podium.ledger import Book
from podium.wiring.place import Place
from podium.wiring.reporting import report

__all__ = ["make_spec", "make_story"]

pytestmark = pytest.mark.browser


def outcome(number: int, epoch: int) -> Any:
    if number == 4:
        return ValueError("no luck")
    return None if number == 7 else (1 + abs(number - 9) / 10) / epoch


@pytest.fixture
def page_file(tmp_path: Path, make_story: Callable[..., Story]) -> Path:
    story = make_story("asha_stop", outcome, trials=24, note="Which rate and kind lead to the least loss?").play()
    held = Book.at_home(tmp_path).hold("shown")
    held.append([row.event for row in story.rows])
    held.release()
    report(Place.of(home=tmp_path), "shown", tmp_path / "report.html", None)
    return tmp_path / "report.html"


def test_it_is_clean_in_any_light_at_any_width(page_file: Path, chromium: Any) -> None:
    page = chromium.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.locator("figure svg").count() >= 5
    assert find_faults(page) == []
    assert asked == [page_file.as_uri()]
    page.close()


def test_every_chapter_is_reached_by_the_keyboard(page_file: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(page_file.as_uri())
    for link in page.locator("nav a").all():
        link.focus()
        page.keyboard.press("Enter")
        target = link.get_attribute("href").removeprefix("#")
        assert page.url.endswith(f"#{target}")
        assert page.locator(f"[id={target}] h2").first.is_visible()

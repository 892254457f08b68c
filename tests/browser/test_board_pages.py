"""Every page of the board can be used by everybody: with axe, with the keyboard, narrow, dark, and without scripts."""

import pytest
from board_homes import wait
from page_faults import find_faults

pytestmark = pytest.mark.browser

PAGES = [
    "/",
    "/sweeps/finished",
    "/sweeps/objectives",
    "/sweeps/troubled",
    "/sweeps/driven",
    "/sweeps/objectives/trials?sort=-value",
    "/sweeps/troubled/trials?state=failed",
    "/sweeps/finished/timeline",
    "/sweeps/interrupted/timeline?colour=lanes",
    "/nothing",
]


DRAWN = """
    document.querySelector("h1") && !document.querySelector("[data-reload]")
    && (document.body.dataset.watched === undefined || document.getElementById("pulse")?.textContent === "live")
    && ![...document.querySelectorAll("[data-live]")].some((part) => part.dataset.edition == null)
"""
"""Every part of the page was fetched; a page of a sweep that is still read comes again by itself."""


@pytest.mark.parametrize("path", PAGES)
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(board_url, open_page, path):
    page = open_page(board_url + path)
    wait(page, DRAWN)
    assert find_faults(page) == []


def test_the_keyboard_reaches_everything_and_opens_it(board_url, open_page):
    page = open_page(f"{board_url}/")
    page.wait_for_selector("#sweep-finished a")
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.id"))
        if reached[-1] == "/sweeps/finished":
            break
    assert reached[0] == "#main"  # the first is the way past the navigation
    assert {"/", "theme"} <= set(reached)
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/sweeps/finished")
    hrefs = page.eval_on_selector_all(
        "header a, .tabs a, .counts a", "all => all.map((each) => each.getAttribute('href'))"
    )
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.getAttribute('href')"))
    assert set(hrefs) <= seen


def test_the_theme_is_kept(board_url, open_page):
    page = open_page(f"{board_url}/", theme="light")

    def ground() -> str:
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    for name in ("Theme: light", "Theme: dark"):
        page.click("#theme")
        assert page.inner_text("#theme") == name
    dark = ground()
    assert dark != light
    page.goto(f"{board_url}/sweeps/finished")
    assert ground() == dark
    page.click("#theme")
    assert ground() == light


def test_without_scripts_all_can_be_seen(board_url, open_page):
    page = open_page(f"{board_url}/sweeps/finished", scripts=False)
    assert page.inner_text("[data-figure='trials.total']") == "40"
    assert page.locator("#figure-curves svg").count() == 1
    page.click("#figure-history a")
    assert page.locator("svg").count() == 1
    page.goto(f"{board_url}/sweeps/finished/trials")
    page.select_option("#state", "stopped")
    page.click("button:has-text('Filter')")
    assert set(page.locator("tbody tr td:nth-child(2)").all_inner_texts()) == {"stopped"}
    page.click("th a:has-text('Epochs')")
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Epochs")


def test_choosing_a_metric_draws_it(board_url, open_page):
    page = open_page(f"{board_url}/sweeps/finished")
    page.select_option("#metric", "train/loss")
    page.wait_for_url("**metric=train%2Floss")
    assert "train/loss" in page.inner_text("#figure-curves")


def test_the_wall_shows_the_sweep_large(board_url, open_page):
    page = open_page(f"{board_url}/sweeps/finished?wall")
    assert not page.is_visible("header")
    size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('.card .value')).fontSize)")
    assert size > 35

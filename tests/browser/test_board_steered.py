"""The pages of trials, data, promotions and comparisons, and steering, as a browser has them."""

import json
import subprocess
import sys
import urllib.request
from contextlib import contextmanager

import pytest
from board_homes import wait
from boards import until
from page_faults import find_faults
from trial_homes import prepare_trials

pytestmark = pytest.mark.browser

PAGES = [
    "/",
    "/sweeps/first/trials/3",
    "/sweeps/first/trials/2",
    "/sweeps/first/data",
    "/promotions",
    "/compare",
    "/compare?sweep=first&sweep=second",
    "/sweeps/first/steer",
    "/sweeps/asked/steer",
    "/sweeps/asked/steer/stop",
    "/sweeps/asked/steer/stop?trial=0",
    "/sweeps/asked/steer/promote",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    from podium.sweep.messages import GangReady, Proposed
    from podium.testing.simulation import launched, toy_spec

    place = prepare_trials(tmp_path_factory.mktemp("steered"))
    space = {"x": {"float": [0.0, 1.0]}, "depth": {"int": [1, 5], "when": {"kind": "deep"}}}
    spec = toy_spec(sweep="asked", search={"space": {"kind": {"choice": ["plain", "deep"]}, **space}})
    ledger = place.book().hold("asked")
    point = {"kind": "plain", "x": 0.5}
    ledger.append([launched(spec), GangReady(gang="g0"), Proposed(number=0, parameters=point)])
    ledger.release()
    return place


@contextmanager
def steered(place):
    """A board with a token, by its command; the address that lets in."""
    command = [sys.executable, "-m", "podium", "board", "--steer", "--home", str(place.home), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def entry(place):
    with steered(place) as url:
        for name in ("first", "asked"):
            address = f"{url.partition('?')[0]}sweeps/{name}"
            until(lambda address=address: b"data-reload" not in urllib.request.urlopen(address).read())
        yield url


@pytest.fixture
def open_inside(entry, open_page):
    """Opens pages for somebody who was let in."""

    def open_(path, *arguments, **options):
        page = open_page(entry, *arguments, **options)
        page.goto(entry.partition("/?")[0] + path)
        return page

    return open_


def all_drawn(page):
    """Waits until every part of a page was fetched, those below the screen too."""
    for name in page.eval_on_selector_all("[data-live]", "all => all.map((each) => each.id)"):
        page.evaluate(f"document.getElementById('{name}').scrollIntoView()")
        wait(page, f"document.getElementById('{name}')?.dataset.edition != null", most_s=90)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(open_inside):
    found, page = [], open_inside("/")
    board = page.url.rstrip("/")
    for path in PAGES:
        page.goto(board + path)
        wait(page, "document.querySelector('h1') && !document.querySelector('[data-reload]')")
        all_drawn(page)
        found += find_faults(page)
    assert found == []


def test_the_token_leaves_the_address_and_no_script_sees_the_cookie(entry, open_page):
    page = open_page(entry)
    assert "token" not in page.url
    assert page.evaluate("document.cookie") == ""
    cookies = {cookie["name"].rsplit("-", 1)[0]: cookie for cookie in page.context.cookies()}
    assert (cookies["podium-pass"]["httpOnly"], cookies["podium-pass"]["sameSite"]) == (True, "Strict")
    stranger = open_page(entry.partition("?")[0] + "sweeps/asked")
    assert stranger.locator("a:has-text('Steer')").count() == 0


@pytest.mark.parametrize("scripts", [True, False])
def test_a_sweep_is_steered_by_the_keyboard_alone(open_inside, place, scripts):
    page = open_inside("/sweeps/asked/steer", scripts=scripts)
    page.wait_for_selector("#by")
    page.focus("#by")
    page.keyboard.press("Control+a")
    page.keyboard.type("Ada")
    page.keyboard.press("Enter")
    page.wait_for_selector("#by[value=Ada]")
    page.focus("[id='budget.trials']")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem-extend")
    assert "budget.trials of 'asked' is 8 now" in page.inner_text("#problem-extend")
    page.focus("[name=x]")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    page.wait_for_selector("[name=x][aria-invalid]")
    described = page.get_attribute("[name=x]", "aria-describedby")
    assert "give a number from 0 to 1" in page.inner_text(f"#{described}")
    page.focus("[name=x]")
    page.keyboard.press("Control+a")
    page.keyboard.type("0.25")
    page.keyboard.press("Enter")
    page.wait_for_selector(".note")
    assert "Asked: asked will try x=0.25 when it is resumed" in page.inner_text(".note")
    page.focus("a:has-text('Stop the sweep')")
    page.keyboard.press("Enter")
    page.wait_for_selector("button:has-text('Stop the sweep')")
    page.focus("button:has-text('Stop the sweep')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".note")
    ledger = place.book().hold("asked")
    kinds = [(request.kind, request.by) for request in ledger.requests()]
    ledger.append([])  # which forgets them
    ledger.release()
    assert kinds == [("enqueued", "Ada"), ("stop_requested", "Ada")]


def test_sweeps_are_chosen_in_the_list_and_compared(open_inside):
    page = open_inside("/")
    page.check("[aria-label='Compare first']")
    page.check("[aria-label='Compare second']")
    page.click("button:has-text('Compare')")
    page.wait_for_url("**/compare?sweep=*")
    page.wait_for_selector("#compared svg")
    assert "data.batch_size" in page.inner_text("#compared")


def test_the_page_of_a_trial_has_its_pictures(open_inside):
    page = open_inside("/sweeps/first/trials/3")
    page.wait_for_selector("#curves")
    all_drawn(page)
    assert page.locator("#curves svg").count() == 1
    assert page.locator("#inside svg").count() == 5
    wait(page, "[...document.querySelectorAll('#inside img')].every((image) => image.naturalWidth > 0)")
    assert page.locator("#inside img").count() == 2
    assert page.locator("#story li").count() == 5
    assert "step 1 <script>" in page.inner_text("#log")

"""An open page follows its sweep, whatever happens to the ledger; what one looks at stays where it is."""

import json
import shutil
import sqlite3
from pathlib import Path

import board_homes
import pytest
from board_homes import wait
from large_sweeps import large_spec, play, write

from podium.ledger import Book

pytestmark = pytest.mark.browser

WAIT_MS = 20_000


@pytest.fixture(scope="module")
def played():
    return play(large_spec("lively", trials=60), gangs=2)


@pytest.fixture
def lively(tmp_path, played):
    """A home in which the first half of a sweep was played, and a board on it."""
    home = tmp_path / "home"
    write(home, played, played.rows[: len(played.rows) // 2])
    with board_homes.shown(home) as shown:
        yield home, f"{shown.url}/sweeps/lively"


def status(home: Path, key: str) -> object:
    from podium.wiring import summaries

    return json.loads(json.dumps(summaries.summarize(Book.at_home(home), "lively")))["trials"][key]


def test_new_events_come_and_what_is_looked_at_stays(lively, played, open_page):
    home, url = lively
    page = open_page(f"{url}/trials")
    page.wait_for_selector("tbody tr")
    page.fill("#text", "half a word")
    page.evaluate("document.querySelector('.wide').scrollLeft = 120; scrollTo(0, 200)")
    page.evaluate("document.querySelector('tbody a').marked = true")
    overview = open_page(url)
    before = int(overview.get_attribute("#sequence", "data-sequence"))
    overview.focus("#metric")
    held = Book.at_home(home).hold("lively")
    for _, event in played.rows[before + 1 :]:
        held.append([event])
    last = len(played.rows) - 1
    wait(overview, f"document.getElementById('sequence')?.dataset.sequence === '{last}'")
    assert overview.inner_text("[data-figure='state']") == "finished"
    assert overview.inner_text("[data-figure='trials.complete']") == str(status(home, "complete"))
    assert overview.evaluate("document.activeElement.id") == "metric"
    total = status(home, "total")
    wait(page, f"document.querySelector('#trials p').textContent.includes('{total} of {total}')")
    kept = "[document.querySelector('.wide').scrollLeft, scrollY, document.querySelector('tbody a').marked]"
    assert page.evaluate(kept) == [120, 200, True]
    assert page.input_value("#text") == "half a word"
    held.release()


def test_the_list_shows_a_sweep_that_is_launched_later(lively, played, open_page):
    home, url = lively
    page = open_page(url.rpartition("/sweeps")[0])
    page.wait_for_selector("#sweep-lively [data-state], #sweep-lively .state")
    other = play(large_spec("later", trials=3), gangs=1)
    write(home, other)
    page.wait_for_selector("#sweep-later .state", timeout=WAIT_MS)


def test_an_empty_home_is_explained_until_there_is_a_sweep(tmp_path, played, open_page):
    with board_homes.shown(tmp_path / "home") as shown:
        page = open_page(shown.url)
        page.wait_for_selector("text=Nothing was launched here yet", timeout=WAIT_MS)
        write(tmp_path / "home", played)
        page.wait_for_selector("#sweep-lively .state", timeout=WAIT_MS)


def test_a_deleted_ledger_is_told_with_the_age_of_what_is_shown_and_forgotten_when_it_is_back(lively, open_page):
    home, url = lively
    page = open_page(url)
    page.wait_for_selector("#headline .cards")
    shutil.move(home / "ledger.db", home / "kept.db")
    page.wait_for_selector(".banner.bad time[data-age]", timeout=WAIT_MS)
    assert "there is no ledger" in page.inner_text(".banner.bad").lower()
    wait(page, "document.querySelector('time[data-age]').textContent.includes('ago')")
    assert page.evaluate("getComputedStyle(document.querySelector('#headline')).filter") == "grayscale(1)"
    assert page.is_visible("[data-figure='trials.total']")
    shutil.move(home / "kept.db", home / "ledger.db")
    page.wait_for_selector(".banner.bad", state="detached", timeout=WAIT_MS)
    assert page.evaluate("getComputedStyle(document.querySelector('#headline')).filter") == "none"


def test_an_open_page_of_a_sweep_that_is_gone_says_so(lively, open_page):
    home, url = lively
    page = open_page(url)
    page.wait_for_selector("#headline .cards")
    for file in home.iterdir():
        file.unlink()
    write(home, play(large_spec("another", trials=3), gangs=1))
    page.wait_for_selector("text=there is no sweep 'lively' here; the newest are: another", timeout=WAIT_MS)


def test_a_half_written_event_is_told(lively, open_page):
    home, url = lively
    page = open_page(url)
    page.wait_for_selector("#headline .cards")
    with sqlite3.connect(home / "ledger.db") as database:
        columns = 'sweep, sequence + 1, at, holder_epoch, kind, schema_version, \'{"kind": "res\', previous_hash, hash'
        newest = "SELECT max(sequence) FROM events"
        database.execute(f"INSERT INTO events SELECT {columns} FROM events WHERE sequence = ({newest})")
    database.close()
    page.wait_for_selector("text=Not all can be shown", timeout=WAIT_MS)
    assert page.is_visible("[data-figure='trials.total']")


def test_a_hidden_page_rests(lively, open_page):
    _, url = lively
    page = open_page(url)
    page.wait_for_selector("#headline .cards", timeout=WAIT_MS)
    wait(page, "document.getElementById('pulse').textContent === 'live'")
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    assert page.inner_text("#pulse") == "paused"
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    wait(page, "document.getElementById('pulse').textContent === 'live'")


def test_a_board_that_ends_says_so_and_pages_go_on_with_the_next_one(tmp_path, played, open_page):
    half = len(played.rows) // 2
    write(tmp_path, played, played.rows[:half])
    with board_homes.shown(tmp_path) as shown:
        page = open_page(f"{shown.url}/sweeps/lively")
        page.wait_for_selector("#headline .cards", timeout=WAIT_MS)
        held = Book.at_home(tmp_path).hold("lively")
        for _, event in played.rows[half : half + 3]:
            held.append([event])
            wait(page, f"document.getElementById('sequence')?.dataset.sequence === '{half}'")
            half += 1
    wait(page, "document.getElementById('pulse').textContent === 'the board is away'")
    assert page.is_visible("[data-figure='trials.total']")
    with board_homes.shown(tmp_path, "--port", shown.url.rpartition(":")[2]):
        wait(page, "document.getElementById('pulse').textContent === 'live'")
        held.append([played.rows[half][1]])
        wait(page, f"document.getElementById('sequence')?.dataset.sequence === '{half}'")
    held.release()

"""One Chromium for all tests that need one, and a board on a home with sweeps of all kinds."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import board_homes
import pytest

from podium.ledger import Book

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE, NARROW = 1280, 390


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    binary = shutil.which("chromium")
    if binary is None:
        pytest.skip("Chromium is not installed; tests/services.sh installs it on Debian, as root")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def board_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("board") / "home"
    board_homes.prepare(home)
    lease = Book.at_home(home).hold("driven")
    yield home
    lease.release()


@pytest.fixture(scope="session")
def board_url(board_home: Path) -> Iterator[str]:
    """The address of a board that runs."""
    with board_homes.shown(board_home) as shown:
        yield shown.url


@pytest.fixture
def open_page(chromium: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens pages of a width and theme; a mistake in a script, or something the policy forbids, fails the test."""
    contexts, wrong = [], []

    def open_(url: str, width: int = WIDE, theme: str = "light", *, scripts: bool = True) -> "Page":
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not wrong

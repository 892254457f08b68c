"""An exported study in the real Optuna Dashboard."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from shown_sweeps import Story, make_spec, make_story

from podium.ledger import Book
from podium.wiring.exporting import export

__all__ = ["make_spec", "make_story"]

pytestmark = pytest.mark.browser


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def outcome(number: int, epoch: int) -> Any:
    if number == 4:
        return ValueError("no luck")
    if number == 7 and epoch > 1:
        return None
    return (1 + abs(number - 9) / 10) / epoch


@pytest.fixture
def address(tmp_path: Path, make_story: Callable[..., Story]) -> Iterator[str]:
    from optuna.storages import RDBStorage
    from optuna_dashboard import wsgi

    story = make_story("asha_stop", outcome, trials=24).play()
    held = Book.at_home(tmp_path).hold("shown")
    held.append([row.event for row in story.rows])
    held.release()
    export(Book.at_home(tmp_path), "shown", str(tmp_path / "study.db"), lambda text: None)
    application = wsgi(RDBStorage(f"sqlite:///{tmp_path / 'study.db'}"))
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/dashboard"
        server.shutdown()
        thread.join()


def test_the_dashboard_shows_trials_states_and_plots(address: str, open_page: Callable[..., Any]) -> None:
    from playwright.sync_api import expect

    expect.set_options(timeout=60_000)  # a hang, not a slow machine
    page = open_page(f"{address}/studies/1")
    expect(page.get_by_text("shown").first).to_be_visible()
    expect(page.get_by_text("Intermediate values").first).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    page.goto(f"{address}/studies/1/trials?numbers=7")
    expect(page.get_by_text("Pruned").first).to_be_visible()
    expect(page.get_by_text("not a number").first).to_be_visible()
    for state in ("Complete", "Pruned", "Fail"):
        expect(page.get_by_text(state, exact=True).first).to_be_visible()

"""Telling somebody: a real command, a real web server."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from wiring_cases import podium

from podium.spec.sweep import Notify
from podium.wiring import notify as notices
from podium.wiring.notify import notify

SUMMARY = {"sweep": "digits", "state": "finished", "best": {"value": 0.5}}


@contextmanager
def listening(status: int = 200) -> Iterator[tuple[str, list[tuple[str, dict[str, Any]]]]]:
    """A server on loopback: its address, and what was posted to it as (path, body)."""
    heard: list[tuple[str, dict[str, Any]]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", heard
        finally:
            server.shutdown()
            thread.join()


def test_nobody_is_told_by_default() -> None:
    assert notify(Notify(), SUMMARY) == []


def test_a_command_reads_the_summary(tmp_path: Path) -> None:
    told = tmp_path / "told.json"
    assert notify(Notify(command=f"cat > '{told}'"), SUMMARY) == []
    assert json.loads(told.read_text()) == SUMMARY


def test_a_command_that_fails_is_a_problem_in_words() -> None:
    (problem,) = notify(Notify(command="exit 3"), SUMMARY)
    assert problem == "notify.command ended with exit code 3: exit 3"


def test_a_command_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "TIMEOUT_S", 0.1)
    (problem,) = notify(Notify(command="exec sleep 30"), SUMMARY)
    assert problem == "notify.command took longer than 0.1 s: exec sleep 30"


def test_a_webhook_gets_the_summary_with_its_secret_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    with listening() as (address, heard):
        assert notify(Notify(webhook=f"{address}/hooks/$HOOK_SECRET"), SUMMARY) == []
    assert heard == [("/hooks/s3cret", SUMMARY)]


def test_a_webhook_that_refuses_is_a_problem_that_keeps_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    with listening(status=403) as (address, _):
        (problem,) = notify(Notify(webhook=f"{address}/hooks/$HOOK_SECRET"), SUMMARY)
    assert problem == f"notify.webhook {address}/hooks/$HOOK_SECRET could not be reached: HTTP Error 403: Forbidden"


@pytest.mark.parametrize("webhook", ["http://127.0.0.1:9/", "not an address", "$NOT_SET", "ftp:///x", "http://[bad"])
def test_a_webhook_that_is_not_there_is_a_problem(webhook: str) -> None:
    (problem,) = notify(Notify(webhook=webhook), SUMMARY)
    assert problem.startswith(f"notify.webhook {webhook} could not be reached: ")


def test_secrets_are_in_no_file_that_a_launch_writes(quick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", "s3cret-of-mine")
    with listening() as (address, heard):
        text = f"{(quick / 'sweep.yaml').read_text()}notify: {{webhook: '{address}/$HOOK_SECRET'}}\n"
        (quick / "sweep.yaml").write_text(text)
        outcome = podium(quick, "launch", "sweep.yaml", "--cluster", "inline", "--json")
    assert outcome.code == 0, outcome.problems
    assert heard == [("/s3cret-of-mine", outcome.json)]
    files = [path for path in quick.rglob("*") if path.is_file()]
    assert quick / ".podium" / "ledger.db" in files
    assert not [path for path in files if b"s3cret-of-mine" in path.read_bytes()]

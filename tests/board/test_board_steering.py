"""Steering by the board: who is let in, what is refused, and that each action is a request with a name."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from board_clients import TOKEN, Client, served
from wiring_cases import paced, podium_here, write_blobs, write_quick

from podium.errors import Refused
from podium.ledger import Book
from podium.sweep.messages import (
    Enqueued,
    Extended,
    GangReady,
    Promoting,
    Proposed,
    Request,
    StopRequested,
)
from podium.testing.simulation import launched, toy_spec
from podium.wiring import plans
from podium.wiring.place import Place
from podium_board import promoting
from podium_board.promoting import Promotions

STEERING = {
    "/sweeps/toy/steer/stop": {},
    "/sweeps/toy/steer/enqueue": {"x": "0.5"},
    "/sweeps/toy/steer/extend": {"budget.trials": "64"},
    "/sweeps/toy/steer/promote": {},
    "/sweeps/toy/steer/name": {"by": "eve"},
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place with a sweep that two trials of were proposed of, and that nobody drives."""
    place = Place.of(tmp_path / "home", cluster="inline")
    place.require_writable()
    spec = toy_spec(
        trials=8,
        budget={"prices": {"cpu": 1.0}, "cost": 5.0},
        search={"space": {"x": {"float": [0.0, 1.0]}, "kind": {"choice": ["plain", "deep"]}}},
    )
    events = [launched(spec), GangReady(gang="g0"), GangReady(gang="g1")]
    events += [Proposed(number=number, parameters={"x": 0.5, "kind": "deep"}) for number in range(2)]
    ledger = place.book().hold("toy")
    ledger.append(events)
    ledger.release()
    return place


@pytest.fixture
def board(place: Place) -> Iterator[Client]:
    """A board whose ledger was read."""
    with served(place) as client:
        client.wait("/sweeps/toy", "How it stands")
        yield client


@pytest.fixture
def insider(board: Client) -> Client:
    """Somebody who was let in, and is called Ada."""
    board.enter()
    assert board.post("/sweeps/toy/steer/name", {"by": "Ada"}).status == 303
    return board


def asked(place: Place, sweep: str = "toy") -> list[Request]:
    """What users have asked for."""
    ledger = place.book().hold(sweep)
    found = list(ledger.requests())
    ledger.release()
    return found


def words(page: str) -> str:
    """The text of a page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page)).split())


# who is let in


def test_without_the_token_nothing_can_be_asked(board: Client, place: Place) -> None:
    assert "/steer" not in board.get("/sweeps/toy").text
    assert board.get("/sweeps/toy/steer").status == 404
    for path, fields in STEERING.items():
        answer = board.post(path, fields)
        assert (answer.status, "Whoever steers needs the address" in words(answer.text)) == (403, True)
    assert asked(place) == []


def test_a_board_that_only_shows_lets_nobody_in(place: Place) -> None:
    with served(place, token="") as client:
        refused = client.get("/?token=")
        assert (refused.status, "set-cookie" in refused.headers) == (403, False)
        for path, fields in STEERING.items():
            answer = client.post(path, fields)
            assert (answer.status, "podium board --steer" in answer.text) == (403, True)
    assert asked(place) == []


@pytest.mark.parametrize("wrong", ["", "wrong", TOKEN[:-1], TOKEN.upper(), f"{TOKEN}x", "%C3%A9"])
def test_a_wrong_token_is_refused(board: Client, wrong: str) -> None:
    answer = board.get(f"/?token={wrong}")
    assert (answer.status, "set-cookie" in answer.headers, board.cookies) == (403, False, {})
    assert "Not allowed" in answer.text


def test_the_token_is_traded_for_a_cookie_and_leaves_the_address(board: Client) -> None:
    answer = board.get(f"/sweeps/toy/trials?state=waiting&token={TOKEN}&text=a+b")
    assert (answer.status, answer.headers["location"]) == (303, "/sweeps/toy/trials?state=waiting&text=a+b")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert "/sweeps/toy/steer" in board.get("/sweeps/toy").text


def test_no_page_shows_token_or_cookie(insider: Client, capfd: pytest.CaptureFixture[str]) -> None:
    secret = insider.cookies[f"podium-pass-{insider.port}"]
    for path in ("/", "/sweeps/toy", "/sweeps/toy/steer", "/sweeps/none", "/sweeps/toy/steer/stop"):
        text = insider.get(path).text
        assert TOKEN not in text
        assert secret not in text
    assert TOKEN not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "multipart/form-data; boundary=x"},
        {"Content_Type": ""},
        {"Cookie": ""},
        {"Cookie": "podium-pass=x"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_what_comes_from_elsewhere_changes_nothing(insider: Client, place: Place, headers: Mapping[str, str]) -> None:
    for path, fields in STEERING.items():
        answer = insider.post(path, fields, **headers)
        assert answer.status == 403, (path, answer)
    assert asked(place) == []


def test_no_link_changes_anything(insider: Client, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    for path in STEERING:
        answer = insider.get(f"{path}?x=0.5&budget.trials=64&by=eve")
        assert answer.status in (200, 404, 405), answer
    assert asked(place) == []
    assert insider.cookies[f"podium-name-{insider.port}"] == "Ada"


def test_a_form_that_is_too_large_is_refused(insider: Client, place: Place) -> None:
    assert insider.post("/sweeps/toy/steer/enqueue", {"x": "0" * 100_000}).status == 413
    assert asked(place) == []


# what is asked


@pytest.mark.parametrize(
    ("path", "fields", "request_", "text"),
    [
        ("stop", {}, StopRequested(by="Ada"), "Asked: sweep toy will be stopped when it is resumed"),
        ("stop", {"trial": "1"}, StopRequested(trial=1, by="Ada"), "Asked: trial 1 of toy will be stopped"),
        ("enqueue", {"x": "0.25", "kind": ""}, Enqueued(parameters={"x": 0.25}, by="Ada"), "toy will try x=0.25"),
        (
            "enqueue",
            {"x": "", "kind": '"plain"'},
            Enqueued(parameters={"kind": "plain"}, by="Ada"),
            "toy will try kind=plain",
        ),
        ("extend", {"budget.trials": "12"}, Extended(trials=12, by="Ada"), "toy will have budget.trials=12"),
        (
            "extend",
            {"budget.trials": "", "budget.cost": "7.5"},
            Extended(trials=8, cost=7.5, by="Ada"),
            "toy will have budget.cost=7.5",
        ),
    ],
)
def test_each_action_is_a_request_with_a_name(
    insider: Client, place: Place, path: str, fields: Mapping[str, str], request_: Request, text: str
) -> None:
    answer = insider.post(f"/sweeps/toy/steer/{path}", fields)
    assert answer.status == 303, answer
    assert asked(place) == [request_]
    shown = words(insider.get(answer.headers["location"]).text)
    assert text in shown
    assert "nobody drives it now" in shown


@pytest.mark.parametrize(
    ("path", "fields", "said"),
    [
        ("enqueue", {"x": "2"}, "is outside of what is searched; give a number from 0 to 1"),
        ("enqueue", {"x": "0.5", "kind": "fancy"}, "is none of the choices"),
        ("enqueue", {"x": " "}, "Give at least one value"),
        ("extend", {"budget.trials": "8"}, "budget.trials of 'toy' is 8 now; 8 is not a whole number above it"),
        ("extend", {"budget.trials": "many"}, "'many' is not a whole number above it"),
        ("extend", {"budget.trials": "[1"}, "cannot be read"),
        ("extend", {"budget.trials": "9" * 400}, "... is not a whole number below 1e+15 and above it"),
        ("extend", {"budget.cost": "9" * 400}, "... is not a number below 1e+15 and above it"),
        ("extend", {"budget.cost": ".inf"}, "inf is not a number below 1e+15 and above it"),
        ("extend", {"budget.cost": "9" * 5000}, "it has more than 1,000 characters"),
        ("extend", {"budget.gpu_hours": "9"}, "budget.gpu_hours of 'toy' cannot be raised"),
        ("extend", {}, "Give at least one limit"),
        ("stop", {"trial": "7"}, "has no trial 7"),
        ("promote", {}, "it can be promoted once it has ended"),
    ],
)
def test_what_does_not_do_is_said_beside_the_form(
    insider: Client, place: Place, path: str, fields: Mapping[str, str], said: str
) -> None:
    answer = insider.post(f"/sweeps/toy/steer/{path}", fields)
    assert (answer.status, said in words(answer.text)) == (422, True), words(answer.text)
    for key, value in fields.items():
        if value.strip() and key in ("x", "budget.trials"):
            assert f'name="{key}"' in answer.text
            assert f'value="{value}"' in answer.text, "what was entered is still there"
    assert asked(place) == []


def test_what_was_asked_for_already_counts(insider: Client, place: Place) -> None:
    assert insider.post("/sweeps/toy/steer/extend", {"budget.trials": "64", "budget.cost": "9"}).status == 303
    for key, limit in (("budget.trials", "10"), ("budget.cost", "7")):
        answer = insider.post("/sweeps/toy/steer/extend", {key: limit})
        assert (answer.status, "above it" in words(answer.text)) == (422, True), answer
    assert insider.post("/sweeps/toy/steer/extend", {"budget.cost": "10"}).status == 303
    assert asked(place) == [Extended(trials=64, cost=9, by="Ada"), Extended(trials=64, cost=10, by="Ada")]


def test_a_number_that_is_too_long_is_none(insider: Client) -> None:
    long = "9" * 5000
    for path in (f"/sweeps/toy/steer/stop?trial={long}", f"/sweeps/toy/trials/{long}"):
        assert insider.get(path).status == 404
    assert insider.post("/sweeps/toy/steer/stop", {"trial": long}).status == 404


@pytest.mark.parametrize("host", ["localhost:99999", "localhost:x", "localhost:", "127.0.0.1:" + "9" * 5000])
def test_a_port_that_there_is_not_is_refused(board: Client, host: str) -> None:
    assert board.get("/", Host=host).status == 403


def test_a_stop_is_asked_twice_without_a_script(insider: Client, place: Place) -> None:
    assert 'href="/sweeps/toy/steer/stop"' in insider.get("/sweeps/toy/steer").text
    assert "Stop toy?" in words(insider.get("/sweeps/toy/steer/stop").text)
    assert "Stop trial 1 of toy?" in words(insider.get("/sweeps/toy/steer/stop?trial=1").text)
    assert insider.get("/sweeps/toy/steer/stop?trial=9").status == 404
    assert insider.get("/sweeps/toy/steer/stop?trial=../x").status == 404
    assert asked(place) == []


def test_names_are_one_short_line_and_escaped(insider: Client, place: Place) -> None:
    insider.post("/sweeps/toy/steer/name", {"by": "  <b>Ada</b>\r\nSet-Cookie: x\x07 " + "y" * 200})
    page = insider.get("/sweeps/toy/steer").text
    assert "<b>Ada" not in page
    assert 'value="&lt;b&gt;Ada&lt;/b&gt;Set-Cookie: x yyy' in page
    insider.post("/sweeps/toy/steer/stop", {})
    (request,) = asked(place)
    assert request.by.startswith("<b>Ada</b>Set-Cookie: x yyy")
    assert len(request.by) == 60


# promotions


class Stub:
    """A promotion that says who wants it, and waits."""

    @staticmethod
    def command(place: Place, *arguments: str) -> tuple[list[str], dict[str, str]]:
        code = "import os, sys, time; print(os.environ['PODIUM_USER'], *sys.argv[1:], flush=True); time.sleep(60)"
        return [sys.executable, "-c", code, *arguments], {}


def test_one_promotion_of_a_sweep_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Place, "command", Stub.command)
    promotions = Promotions(place)
    promotions.begin("toy", "Ada")
    begun = promotions.begun("toy")
    assert begun is not None
    try:
        with pytest.raises(Refused, match="is being promoted already, in the name of Ada"):
            promotions.begin("toy", "Eve")
        until = time.monotonic() + 30
        while not promotions.said("toy") and time.monotonic() < until:
            time.sleep(0.05)
        assert promotions.said("toy") == "Ada promote toy\n"
    finally:
        begun.process.kill()
        begun.process.wait()
    assert begun.code is not None
    promotions.require_idle("toy")


def test_what_a_promotion_says_does_not_begin_within_a_secret(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "0123456789abcdef")
    log = Promotions(place).log("toy")
    log.parent.mkdir(parents=True)
    log.write_text("0123456789abcdef\n" + "x" * (promoting.TAIL_BYTES - 10) + "\n")
    assert Promotions(place).said("toy") == "x" * (promoting.TAIL_BYTES - 10) + "\n"


def test_a_promotion_that_somebody_else_drives_is_told_of(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    plan: Any = type("Plan", (), {"name": "toy-promotion-1"})
    monkeypatch.setattr(plans, "find_open", lambda *_: plan)
    held = place.book().hold("toy-promotion-1")
    with pytest.raises(Refused, match="drives toy-promotion-1"):
        promoting.Promotions(place).begin("toy", "Ada")
    held.release()


@pytest.mark.slow
def test_a_promotion_is_begun_in_the_name_of_who_asked(tmp_path: Path) -> None:
    write_blobs(tmp_path)
    podium_here(tmp_path, "launch", "sweep.yaml", "--cluster", "inline", "--json")
    place = Place.of(tmp_path / ".podium", cluster="inline")
    with served(place) as client:
        client.enter()
        client.post("/sweeps/blobs/steer/name", {"by": "Ada"})
        client.wait("/sweeps/blobs", "How it stands")
        shown = words(client.get("/sweeps/blobs/steer/promote").text)
        assert "3 finalists, 5 fresh seeds each: 15" in shown
        assert client.post("/sweeps/blobs/steer/promote", {}).status == 303
        page = words(client.wait("/promotions", "wanted by Ada"))
        assert "blobs-promotion-1" in page
        again = client.post("/sweeps/blobs/steer/promote", {})
        assert (again.status, "is being promoted already" in words(again.text)) == (422, True)
        ended = words(client.wait("/sweeps/blobs/steer/said", "is over", 300))
        assert "The promotion that Ada began is over" in ended
    rows = Book(place.ledger, looks=True).rows("blobs-promotion-1")
    assert [row.event.by for row in rows if isinstance(row.event, Promoting)] == ["Ada"]


# a real driver


@contextmanager
def driving(folder: Path) -> Iterator[Place]:
    """A sweep that is trained slowly in the background."""
    write_quick(folder)
    (folder / "train.py").write_text(paced(0.2))
    command = [sys.executable, "-m", "podium", "launch", "sweep.yaml", "budget.trials=60", "--cluster", "inline"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Place.of(folder / ".podium", cluster="inline")
            process.wait(60)
        finally:
            process.kill()


@pytest.mark.slow
def test_a_driver_takes_what_is_asked_and_the_story_tells_who(tmp_path: Path) -> None:
    with driving(tmp_path) as place:
        while not (place.home / "ledger.db").exists():
            time.sleep(0.1)
        with served(place) as client:
            client.enter()
            client.wait("/sweeps/quick/trials/0/parts/standing", "paused")
            client.post("/sweeps/quick/steer/name", {"by": "Ada"})
            answer = client.post("/sweeps/quick/steer/extend", {"budget.trials": "61"})
            shown = words(client.get(answer.headers["location"]).text)
            assert "Asked: quick will have budget.trials=61; its driver takes it within a second" in shown
            client.post("/sweeps/quick/steer/enqueue", {"x": "0.875", "kind": '"fancy"'})
            client.wait("/sweeps/quick/trials?text=x%3D0.875", "1 of")
            client.post("/sweeps/quick/steer/stop", {"trial": "0"})
            client.post("/sweeps/quick/steer/stop", {})
            client.wait("/sweeps/quick", "stopped by Ada")
    events = [row.event for row in place.book().rows("quick")]
    kinds = [Extended, Enqueued, StopRequested]
    by = {kind: [event.by for event in events if isinstance(event, kind)] for kind in kinds}  # type: ignore[attr-defined]
    assert by == {Extended: ["Ada"], Enqueued: ["Ada"], StopRequested: ["Ada", "Ada"]}
    told = podium_here(tmp_path, "ledger", "show", "quick").output
    assert "Ada raised the budget to 61 trials" in told
    assert "Ada wants this tried: x=0.875, kind=fancy" in told
    assert "Ada wants the end of the sweep" in told

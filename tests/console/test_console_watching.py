"""`podium watch`: a sweep that somebody else drives, and a ledger that is locked, gone or another one for a while."""

import io
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from rich.console import Console
from shown_sweeps import Story, make_spec, make_story, steady  # noqa: F401
from wiring_cases import podium_here

from podium.console import watching
from podium.console.terminal import Screen
from podium.console.watching import Watching
from podium.errors import LookupFailed
from podium.ledger import Book, HeldLedger
from podium.sweep.messages import Advanced, Event
from podium.wiring.clusters.elsewhere import Answer
from podium.wiring.place import Place
from podium.wiring.summaries import summarize
from podium.wiring.watching import newest_driven


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.of(home=tmp_path)


@pytest.fixture
def driven(place: Place, make_story: Callable[..., Story]) -> Iterator[tuple[Story, HeldLedger]]:  # noqa: F811
    """A sweep that this test drives: its story up to the first report, and the ledger it is written to."""
    story = make_story(trials=4)
    while len(story.rows) < 6:
        story.step()
    ledger = place.book().hold("shown")
    ledger.append(events(story))
    yield story, ledger
    ledger.release()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(watching, "SLOW_S", 0.2)
    monkeypatch.setattr("podium.console.terminal.LINE_EVERY_S", 0.0)


def events(story: Story) -> list[Event]:
    """What a story tells, without what was made up of its hosts."""
    told = [row.event for row in story.rows]
    return [event.model_copy(update={"usage": ()}) if isinstance(event, Advanced) else event for event in told]


def finish(story: Story, ledger: HeldLedger) -> None:
    before = len(story.rows)
    story.play()
    ledger.append(events(story)[before:])


@contextmanager
def watched(place: Place) -> Iterator[tuple[Callable[[str], None], list[object]]]:
    """A watcher at work; gives a wait until it has said something, and the list that gets its summary."""
    console = Console(file=io.StringIO(), width=200)
    ended: list[object] = []
    thread = threading.Thread(target=lambda: ended.append(Watching(place, "shown", Screen(console)).run()), daemon=True)

    def until(said: str) -> None:
        deadline = time.monotonic() + 8
        while said not in console.file.getvalue():  # type: ignore[attr-defined]
            assert time.monotonic() < deadline, console.file.getvalue()  # type: ignore[attr-defined]
            time.sleep(0.02)

    thread.start()
    yield until, ended
    thread.join(60)
    assert not thread.is_alive()


def test_a_sweep_is_watched_until_its_driver_has_left(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    story, ledger = driven
    with watched(place) as (until, ended):
        until("1/4 trials")
        finish(story, ledger)
        until("shown has finished; its driver writes the last runs to MLflow")
        assert ended == [], "what is noted at the very end is waited for"
        place.book().facts("shown").put({"wall_s": 3.0})
        ledger.release()
    assert ended == [summarize(place.book(), "shown")]
    assert ended[0]["wall_s"] == 3.0  # type: ignore[index]


def test_a_sweep_that_nobody_drives_is_told_at_once(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    driven[1].release()
    outcome = podium_here(place.home, "watch", "shown", "--home", str(place.home))
    assert (outcome.code, "Go on with:  podium resume shown" in outcome.output) == (75, True), outcome.problems
    assert "Nobody drives it" in outcome.problems
    outcome = podium_here(place.home, "watch", "shown", "--home", str(place.home), "--json")
    assert (outcome.code, outcome.json) == (75, summarize(place.book(), "shown"))


def test_a_driver_that_died_is_waited_for(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    story, ledger = driven
    with watched(place) as (until, ended):
        until("1/4 trials")
        ledger.release()
        until("Nobody drives it now; waiting for another driver")
        again = place.book().hold("shown")
        finish(story, again)
        again.release()
    assert ended[0]["state"] == "finished"  # type: ignore[index]


def test_a_driver_that_does_not_come_back_is_not_waited_for_long(
    place: Place, driven: tuple[Story, HeldLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "GONE_S", 0.2)
    with watched(place) as (until, ended):
        until("1/4 trials")
        driven[1].release()
    assert ended[0]["state"] == "interrupted"  # type: ignore[index]


def test_a_locked_ledger_is_waited_for(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    story, ledger = driven
    with watched(place) as (until, ended):
        until("1/4 trials")
        with closing(sqlite3.connect(place.home / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(0.5)
            other.execute("ROLLBACK")
        finish(story, ledger)
        ledger.release()
    assert ended[0]["state"] == "finished"  # type: ignore[index]


def test_whoever_waits_for_the_ledger_is_told(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    story, ledger = driven
    hold, look = threading.Event(), Watching._look
    hold.set()

    def held_up(self: Watching) -> None:
        hold.wait(60)
        look(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watching, "_look", held_up)
        with watched(place) as (until, ended):
            until("1/4 trials")
            hold.clear()
            until("The ledger does not answer; waiting for it")
            finish(story, ledger)
            ledger.release()
            hold.set()
    assert ended[0]["state"] == "finished"  # type: ignore[index]


def test_no_ledger_is_made_where_there_is_none(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    watching = Watching(Place.of(home=tmp_path), "shown", Screen(console))
    watching._look()
    watching._show()
    assert "No such file or directory; trying again" in console.file.getvalue()  # type: ignore[attr-defined]
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_is_replaced_is_read_anew(tmp_path: Path, make_story: Callable[..., Story]) -> None:  # noqa: F811
    place, story = Place.of(home=tmp_path), make_story(trials=4)
    while len(story.rows) < 6:
        story.step()
    first = place.book().hold("shown")
    first.append(events(story))
    with watched(place) as (until, ended):
        until("1/4 trials")
        first.release()
        for file in tmp_path.glob("ledger.db*"):
            file.unlink()
        until("No such file or directory; trying again")
        (tmp_path / "other").mkdir()
        whole = Book.at_home(tmp_path / "other")
        ledger = whole.hold("shown")
        ledger.append(events(make_story(trials=4).play()))
        ledger.release()
        whole.close()
        (tmp_path / "other" / "ledger.db").rename(tmp_path / "ledger.db")
    assert ended[0]["trials"]["complete"] == 4  # type: ignore[index]


def test_without_a_name_the_newest_running_sweep_is_meant(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    assert newest_driven(place.book()) == "shown"
    driven[1].release()
    with pytest.raises(LookupFailed, match="no sweep is running here"):
        newest_driven(place.book())
    outcome = podium_here(place.home, "watch", "--home", str(place.home))
    assert (outcome.code, outcome.problems.startswith("podium: no sweep is running here")) == (2, True)


def test_an_unknown_sweep_is_refused(place: Place, driven: tuple[Story, HeldLedger]) -> None:
    outcome = podium_here(place.home, "watch", "shwon", "--home", str(place.home))
    assert outcome.code == 2
    assert "there is no sweep 'shwon' here; known sweeps: shown" in outcome.problems


def test_leaving_a_sweep_that_is_watched_on_a_cluster_elsewhere_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def carry_out(_cluster: object, words: list[str], hear: Callable[[str, str], None], **_: object) -> Answer:
        asked.append(words)
        if words[0] == "watch":
            raise KeyboardInterrupt
        hear("out", '{"sweep": "shown"}')
        return Answer(0, "", "", {})

    monkeypatch.setattr("podium.wiring.clusters.elsewhere.carry_out", carry_out)
    outcome = podium_here(tmp_path, "watch", "shown", "--cluster", "http://head:8265")
    assert asked == [["watch", "shown"]]
    assert outcome.code == 0
    assert outcome.problems.endswith("podium: left; shown goes on as it was\n")
    outcome = podium_here(tmp_path, "watch", "shown", "--cluster", "http://head:8265", "--json")
    assert asked[1:] == [["watch", "--json", "shown"], ["status", "shown", "--json"]]
    assert (outcome.code, outcome.json) == (0, {"sweep": "shown"})


def test_leaving_with_json_tells_how_the_sweep_stands(
    place: Place, driven: tuple[Story, HeldLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(self: Watching) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Watching, "_show", leave)
    outcome = podium_here(place.home, "watch", "shown", "--home", str(place.home), "--json")
    assert (outcome.code, outcome.json) == (0, summarize(place.book(), "shown"))

"""What is drawn aside, or once for all who look: which parameters matter, and the timeline."""

import threading
from dataclasses import replace

import pytest
from boards import ask, until

from podium.search import importance as search
from podium_board import figures, importance, timeline
from podium_board.importance import Importance
from podium_board.pictures import Picture
from podium_board.reading import Board


@pytest.fixture
def picture(board: Board) -> Picture:
    found = board.look("finished")
    assert found is not None
    return replace(found, panels={}, drawn={})


def test_what_is_asked_while_another_is_worked_out_has_its_turn(picture, monkeypatch):
    going, told = threading.Event(), []
    monkeypatch.setattr(search, "importance", lambda *_: going.wait() and {"a": 1.0})
    asked = Importance(told.append)
    other = replace(picture, name="other", origin="other")
    assert asked.of(picture).shares == {}
    assert asked.of(other).shares == {}
    going.set()
    until(lambda: sorted(told) == ["finished", "other"])
    assert asked.of(other).shares == {"a": 1.0}


def test_the_last_picture_of_a_sweep_is_worked_out_though_nobody_asks_again(picture, monkeypatch):
    monkeypatch.setattr(importance, "AGAIN_S", 0.3)
    seen = []
    monkeypatch.setattr(search, "importance", lambda *_: seen.append(0) or {"a": 1.0 / len(seen)})
    told = []
    asked = Importance(told.append)
    asked.of(picture)
    until(lambda: told == ["finished"])
    asked.of(replace(picture, sequence=picture.sequence + 1))
    until(lambda: told == ["finished"] * 2)
    assert asked.of(picture).shares == {"a": 0.5}


def test_a_failure_is_told_where_the_charts_would_be(picture, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise ValueError("no <share>")

    monkeypatch.setattr(search, "importance", fail)
    told = []
    asked = Importance(told.append)
    figures.draw(picture, "importance", "", asked)
    until(lambda: told)
    shown = figures.draw(picture, "importance", "", asked)
    assert "Which parameters decide cannot be worked out (ValueError: no &lt;share&gt;)." in shown
    assert "Traceback" not in capsys.readouterr().err


def test_what_charts_share_is_worked_out_once(picture):
    asked = Importance(lambda _: None)
    asked._known[picture.origin] = importance.Found({"optimizer.kind": 1.0}, place=picture.place)
    for kind in ("slices", "history"):
        figures.draw(picture, kind, "", asked)
    made = list(picture.panels.values())
    for kind in ("heat", "parallel", "pairs"):
        figures.draw(picture, kind, "", asked)
    assert [id(panel) for panel in picture.panels.values()] == [id(panel) for panel in made]
    assert len(made) == 2


def test_a_timeline_is_drawn_once_for_all_who_look(board, monkeypatch):
    picture = board.look("finished")
    picture.drawn.clear()
    drawn = []
    draw = timeline.drawing.timeline
    monkeypatch.setattr(timeline.drawing, "timeline", lambda *about: drawn.append(about[-1]) or draw(*about))
    first = ask(board, "/sweeps/finished/timeline/charts?colour=cohort").text
    assert "<svg" in first
    assert ask(board, "/sweeps/finished/timeline/charts?colour=cohort").text == first
    assert first in ask(board, "/sweeps/finished/timeline?colour=cohort").text
    assert drawn == ["cohort"]
    ask(board, "/sweeps/finished/timeline/charts?colour=lanes")
    assert drawn == ["cohort", "lanes"]

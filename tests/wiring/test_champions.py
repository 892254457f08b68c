"""The champion of a model: it moves in one way, noted before and after, whatever dies in between."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_runs import make_empty_runs
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient

from podium.errors import LookupFailed
from podium.ledger import HeldLedger
from podium.registry.client import connect
from podium.registry.reigns import reigns
from podium.sweep.messages import Crowned, Crowning
from podium.wiring import champions
from podium.wiring.place import Place
from podium.wiring.verification import verify

MODEL = "digits"


class Killed(BaseException):
    """Nobody catches it, as nobody survives a kill."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A registry with four versions of a model, and no champion."""
    address = make_empty_runs(tmp_path / "mlflow.db")
    client: MlflowClient = connect(address)
    client.create_experiment("shapes", artifact_location=str(tmp_path / "runs"))
    client.create_registered_model(MODEL)
    for _ in range(4):
        client.create_model_version(MODEL, "/nowhere")
    return Place.of(tmp_path, tracking_uri=address)


def alias(place: Place) -> str:
    found = connect(place.tracking_uri).get_registered_model(MODEL).aliases
    assert set(found) <= {"champion"}
    return str(found.get("champion", ""))


def crown(place: Place, version: str) -> None:
    with champions.throne(place, MODEL) as held:
        held.crown(version, "promotion", "some-promotion")


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """A countdown of appends to the next kill, before or after the append."""
    countdown = [1000]
    append = HeldLedger.append

    def mortal(self: HeldLedger, events: list[object]) -> int:
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Killed
        done = append(self, events)
        countdown[0] -= 1
        if countdown[0] == 0:
            raise Killed
        return done

    monkeypatch.setattr(HeldLedger, "append", mortal)
    return countdown


def test_a_champion_is_crowned_and_taken_back(place: Place) -> None:
    assert champions.champion(place, MODEL) == ""
    for version in ("1", "3"):
        crown(place, version)
        assert alias(place) == champions.champion(place, MODEL) == version
    done = champions.rollback(place, MODEL)
    assert (done["version"], done["previous"], alias(place)) == ("1", "3", "1")
    told = champions.history(place, MODEL)
    assert [(each["version"], each["how"]) for each in told] == [
        ("1", "promotion"),
        ("3", "promotion"),
        ("1", "rollback"),
    ]
    with pytest.raises(LookupFailed, match="no champion before version 1 that is still there"):
        champions.rollback(place, MODEL)
    assert place.book().sweeps() == []
    assert verify(place.book(), champions.ledger_of(MODEL)) == []


def test_a_model_that_is_not_there(place: Place) -> None:
    for call in (champions.rollback, champions.history):
        with pytest.raises(LookupFailed, match="no registered model 'letters'; there are: digits"):
            call(place, "letters")
    assert champions.history(place, MODEL) == []


def test_an_alias_that_somebody_else_has_moved_is_taken_note_of(place: Place) -> None:
    crown(place, "1")
    connect(place.tracking_uri).set_registered_model_alias(MODEL, "champion", "4")
    assert champions.champion(place, MODEL) == "4"
    assert champions.history(place, MODEL)[-1]["by"] == "somebody outside of Podium"
    assert champions.rollback(place, MODEL)["version"] == "1"


def test_a_kill_at_any_append_leaves_one_champion_and_the_next_command_ends_the_move(
    place: Place, killing: list[int]
) -> None:
    versions = itertools.cycle("1234")
    crown(place, next(versions))
    for moment in range(1, 5):
        before, version = alias(place), next(versions)
        killing[0] = moment
        with pytest.raises(Killed):
            crown(place, version)
        assert alias(place) == (before if moment < 3 else version)
        killing[0] = 1000
        assert champions.champion(place, MODEL) == alias(place) == (before if moment == 1 else version)
        assert place.book().holder(champions.ledger_of(MODEL)) is None


def test_versions_that_are_gone_are_passed_over(place: Place) -> None:
    for version in ("1", "2", "3"):
        crown(place, version)
    client: MlflowClient = connect(place.tracking_uri)
    client.delete_model_version(MODEL, "2")
    assert champions.rollback(place, MODEL)["version"] == "1"
    client.delete_model_version(MODEL, "1")
    assert champions.champion(place, MODEL) == alias(place) == ""
    assert champions.history(place, MODEL)[-1]["how"] == "found"
    with pytest.raises(LookupFailed, match="has had no champion that is still there"):
        champions.rollback(place, MODEL)
    crown(place, "4")
    assert alias(place) == "4"


def test_a_move_to_a_version_that_is_gone_is_given_up(place: Place, killing: list[int]) -> None:
    crown(place, "1")
    killing[0] = 2
    with pytest.raises(Killed):
        crown(place, "2")
    killing[0] = 1000
    connect(place.tracking_uri).delete_model_version(MODEL, "2")
    assert champions.champion(place, MODEL) == alias(place) == "1"
    crown(place, "3")
    assert champions.rollback(place, MODEL)["version"] == "1"


def test_two_who_crown_at_once_come_one_after_the_other(place: Place) -> None:
    crown(place, "1")
    threads = [threading.Thread(target=crown, args=(place, version)) for version in "234"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    told = champions.history(place, MODEL)
    assert sorted(each["version"] for each in told) == ["1", "2", "3", "4"]
    assert [each["previous"] for each in told[1:]] == [each["version"] for each in told[:-1]]
    assert alias(place) == told[-1]["version"]


@given(st.lists(st.one_of(st.integers(1, 9), st.none()), max_size=20))
def test_a_rollback_goes_to_the_champion_before(moves: list[int | None]) -> None:
    events: list[Crowning | Crowned] = []
    stack: list[str] = []
    for move in moves:
        if move is None and len(stack) < 2:
            continue
        version = stack[-2] if move is None else str(move)
        how = "rollback" if move is None else "promotion"
        events += [Crowning(version=version, previous=stack[-1] if stack else "", how=how, by="ann")]
        assert reigns(events).champion == (stack[-1] if stack else ""), "it has not moved yet"
        events += [Crowned(version=version)]
        stack = stack[:-1] if move is None else [*stack, version]
        assert (reigns(events).champions, reigns(events).open) == (tuple(stack), None)

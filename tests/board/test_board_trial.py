"""The pages of a trial, of data, of promotions and of comparisons: what they show, and what they must not."""

import json
from collections.abc import Iterator
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest
from boards import ask, until, whole
from shown_sweeps import Story

from podium.data.prepare import prepare, shards
from podium.ledger import Book
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Crowned, Crowning, Event, Judged, Promoting
from podium.sweep.trial import TrialState
from podium.tracking.diagnosis import PANELS
from podium.training.artifacts import artifact_folder
from podium.wiring.place import Place
from podium_board import images, layers
from podium_board.reading import Board

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)

DATA = {"source": {"kind": "arrays", "path": "blobs.npz"}, "batch_size": 8}


def moments() -> list[dict[str, object]]:
    layer = {"gradient": 0.5, "weight": 2.0, "update": 1e-4, "activation": 0.1, "dead": 0.25, "saturated": None}
    return [
        {"epoch": epoch, "loss": 1.0, "layers": [{"name": name, **layer} for name in ("<in>", "out")]}
        for epoch in (0, 1, 3)
    ]


def story(name: str, trials: int, **more: object) -> Story:
    settings = {
        "sweep": name,
        "task": "task.py:Mine",
        "search": {
            "objective": {"metric": "validation/loss", "direction": "minimize"},
            "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}},
        },
        "budget": {"trials": trials, "epochs": {"min": 1, "max": 3}, "policy": "none"},
        "retries": {"exception": 0},
    }

    def outcome(number: int, epoch: int) -> object:
        return RuntimeError("<i>no</i> good") if number == 2 else 1 / (number + 1) / epoch

    return Story(SweepSpec.model_validate(settings | more), outcome).play()


def keep(book: Book, name: str, events: list[Event]) -> None:
    ledger = book.hold(name)
    ledger.append(events)
    ledger.release()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with two sweeps over prepared data, two promotions of one of them, and what a trial leaves behind."""
    folder = tmp_path_factory.mktemp("trials")
    place = Place.of(folder / "home")
    place.require_writable()
    drawn = np.random.default_rng(0)
    np.savez(folder / "blobs.npz", x=drawn.normal(size=(60, 2)).astype("float32"), y=np.arange(60) % 3)
    first = story("first", 4, data=DATA)
    assert first.spec.data is not None
    made = prepare(first.spec.data, base=folder, store=place.store, cache=place.cache)
    assert made == place.home / shards(made.name)
    book = place.book()
    for played in (first, story("second", 3, data={**DATA, "batch_size": 16})):
        launched = played.launched.model_copy(update={"data": made.name, "spec": played.spec.written()})
        keep(book, played.spec.sweep, [launched, *(row.event for row in played.rows[1:])])
    for number, verdict in enumerate(("promoted", "refused"), 1):
        name = f"first-promotion-{number}"
        promotion = story(name, 3)
        launched = promotion.launched.model_copy(update={"spec": promotion.spec.written()})
        wanted = Promoting(sweep="first", model="first", finalists=(3, 1), seeds=5, settings={}, by="<b>Ada</b>")
        keep(book, name, [launched, wanted, *(row.event for row in promotion.rows[1:])])
        keep(book, "model/first", decided(name, verdict, str(number)))
    book.facts("first").put({"run/3": "abc", "experiment": "1", "tracking_uri": place.tracking_uri})
    artifacts = place.home / artifact_folder("first", 3)
    artifacts.mkdir(parents=True)
    (artifacts / "diagnosis.json").write_text(json.dumps(moments()))
    (artifacts / "samples.png").write_bytes(PIXEL)
    (artifacts / "page.svg").write_text("<svg onload='alert(1)'/>")
    inside = place.artifacts / "first" / "abc" / "artifacts" / "inside"
    inside.mkdir(parents=True)
    (inside / "filters.png").write_bytes(PIXEL)
    (place.home / "secret.png").write_bytes(b"secret")
    log = place.home / "logs" / "first" / "trial-00003.log"
    log.parent.mkdir(parents=True)
    log.write_text("step 1 <script>\n")
    return place


def decided(promotion: str, verdict: str, version: str) -> list[Event]:
    evidence = {
        "metric": "validation/loss",
        "finalists": [
            {"trial": 3, "reported": 0.0625, "interval": {"estimate": 0.07, "low": 0.06, "high": 0.08}, "chosen": True}
        ],
        "checks": [{"gate": "better", "outcome": "passed", "reason": "it <is> better"}],
        "test": {"samples": 750, "reading": 2, "compared": 741, "left_out": 9, "left_out_why": "equal images"},
    }
    judged = Judged(
        promotion=promotion,
        version=version,
        champion="",
        verdict=verdict,  # type: ignore[arg-type]
        reasons=(f"{verdict}, since so it is",),
        evidence=evidence,
    )
    if verdict == "refused":
        return [judged, Crowning(version="9", previous=version, how="rollback", by="Eve")]  # begun, and never made
    moved = Crowning(version=version, previous="", how="promotion", promotion=promotion, by="Ada")
    return [judged, moved, Crowned(version=version)]


@pytest.fixture(scope="module")
def board(place: Place) -> Iterator[Board]:
    made = Board(place)
    made.start()
    for name in ("first", "second", "first-promotion-1"):
        until(lambda name=name: whole(made, name))
    yield made
    made.close()


def shown(board: Board, path: str) -> str:
    """What a page says."""
    answer = ask(board, path)
    assert answer.status == 200, answer.text
    return answer.text


def test_a_trial_tells_how_it_stands(board: Board) -> None:
    page = unescape(shown(board, "/sweeps/first/trials/3"))
    picture = board.look("first")
    assert picture is not None
    trial = picture.trials[3]
    assert trial.state is TrialState.COMPLETE
    assert "full budget" in page
    assert f"{trial.last_values[0]:.5g}" in page
    assert f"{trial.parameters['rate']:.5g}" in page
    assert "fusible" not in page.partition("rate</th>")[2][:60], "no training function's own parameter is"
    assert "lane 0 of 1 in cohort" in page
    assert 'href="http://127.0.0.1:5000/#/experiments/1/runs/abc"' in page
    assert 'rel="prev">Trial 2<' in page
    assert 'rel="next"' not in page
    assert "Stop this trial" not in page, "nobody may steer here"


def test_a_trial_has_its_curves_with_both_splits_in_one_chart(board: Board) -> None:
    text = shown(board, "/sweeps/first/trials/3/parts/curves")
    root = ElementTree.fromstring(f"<div>{text}</div>")
    assert [figure.findtext("h3") for figure in root.iter("figure")] == ["loss"]
    titles = {title.text for title in root.iter("title")}
    assert {"train/loss", "validation/loss", "validation/loss, epoch 3: 0.083333"} <= titles
    assert "epoch" in text


def test_what_users_wrote_is_escaped(board: Board) -> None:
    failed = shown(board, "/sweeps/first/trials/2/parts/standing")
    assert "&lt;i&gt;no&lt;/i&gt; good" in failed
    assert "<i>no" not in failed
    assert "step 1 &lt;script&gt;" in shown(board, "/sweeps/first/trials/3/parts/log")
    assert "<in>" not in shown(board, "/sweeps/first/trials/3/parts/inside")
    promotions = shown(board, "/promotions")
    assert "<b>Ada" not in promotions
    assert "it &lt;is&gt; better" in promotions


def test_a_trial_shows_what_goes_on_inside_it(board: Board) -> None:
    page = shown(board, "/sweeps/first/trials/3/parts/inside")
    assert [title for measure, title in PANELS.items() if title not in page] == [PANELS["saturated"]]
    assert "layer 2: out" in page
    pictures = ("images/inside/filters.png", "images/logged/samples.png")
    for picture in pictures:
        assert picture in page
        answer = ask(board, f"/sweeps/first/trials/3/{picture}")
        assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert "Nothing was measured" in shown(board, "/sweeps/first/trials/1/parts/inside")


@pytest.mark.parametrize(
    "name",
    [
        "logged/page.svg",
        "logged/diagnosis.json",
        "logged/../../../secret.png",
        "inside/../../../../../secret.png",
        "logged//secret.png",
        "other/filters.png",
        "filters.png",
        "",
    ],
)
def test_no_file_is_a_picture_but_those_of_the_trial(board: Board, place: Place, name: str) -> None:
    facts = board.book.facts("first").all()
    with pytest.raises(images.LookupFailed):
        images.read(place, "first", 3, facts, name)
    assert ask(board, f"/sweeps/first/trials/3/images/{name}").status == 404


def test_a_trial_has_its_story(board: Board) -> None:
    text = unescape(shown(board, "/sweeps/first/trials/3/parts/story"))
    assert text.count("<li>") == 5
    for each in (
        "proposed: rate=",
        "until epoch 3, from the beginning",
        "saved at epoch 3",
        "is complete: full",
    ):
        assert each in text
    assert "exception after 1 attempt" in unescape(shown(board, "/sweeps/first/trials/2/parts/story"))


def test_trials_that_there_are_not_are_told_of(board: Board) -> None:
    assert "has no trial 9; it has 4" in unescape(ask(board, "/sweeps/first/trials/9").text)
    for path in ("/sweeps/first/trials/9", "/sweeps/none/trials/0", "/sweeps/first/trials/3/parts/nothing"):
        assert ask(board, path).status == 404


def test_the_data_page_says_what_the_manifest_says(board: Board) -> None:
    page = unescape(shown(board, "/sweeps/first/data"))
    counted = board.look("first")
    assert counted is not None
    assert counted.launched.data in page
    assert "3 classes" in page
    for share in ("0, train: ", "2, test: "):
        assert share in page
    answer = ask(board, "/sweeps/first/data/sheet.png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    assert "has no data" in shown(board, "/sweeps/first-promotion-1/data")
    assert ask(board, "/sweeps/first-promotion-1/data/sheet.png").status == 404


def test_promotions_are_shown_with_their_evidence(board: Board) -> None:
    page = unescape(shown(board, "/promotions"))
    assert page.index('id="promotion-first-promotion-2"') < page.index('id="promotion-first-promotion-1"'), (
        "the newest first"
    )
    for each in (
        "The champion is version 1.",
        "Champions so far: 1",
        "promoted, since so it is",
        "refused, since so it is",
        "0.06 to 0.08",
        "750 samples, reading 2; 741 compared, 9 left out: equal images",
    ):
        assert each in page, each
    assert "rollback" not in page, "that was begun and never made"


def test_sweeps_are_compared(board: Board) -> None:
    assert 'data-live="/parts/compare?sweep=first&amp;sweep=second"' in shown(
        board, "/compare?sweep=first&sweep=second"
    )
    found = unescape(shown(board, "/parts/compare?sweep=first&sweep=second"))
    assert "data.batch_size" in found
    assert "first/3" in found
    assert "second/1" in found
    assert "Choose sweeps to compare" in shown(board, "/compare")
    assert ask(board, "/compare?sweep=first&sweep=none").status == 404
    assert 'name="sweep" value="first"' in shown(board, "/parts/sweeps")


def test_layers_without_moments_draw_nothing() -> None:
    root = ElementTree.Element("div")
    layers.draw(root, [])
    assert len(root) == 0

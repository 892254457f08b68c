"""The pages of a trial, of data, of promotions and of comparisons: what they show, and what they must not."""

from collections.abc import Iterator
from html import unescape
from xml.etree import ElementTree

import pytest
from boards import ask, until, whole
from trial_homes import prepare_trials

from podium.sweep.trial import TrialState
from podium.tracking.diagnosis import PANELS
from podium.wiring.place import Place
from podium_board import images, layers, trial
from podium_board.reading import Board


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return prepare_trials(tmp_path_factory.mktemp("trials"))


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
    assert 'href="http://127.0.0.1:5000/#/experiments/1/runs/abc?workflowType=machine_learning"' in page
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


def test_the_end_of_a_log_does_not_begin_within_a_secret(
    board: Board, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "0123456789abcdef")
    log = place.home / "logs" / "first" / "trial-00001.log"
    log.write_text("0123456789abcdef\n" + "x" * (trial.TAIL_BYTES - 10) + "\n")
    page = shown(board, "/sweeps/first/trials/1/parts/log")
    assert "xxx" in page
    assert "abcdef" not in page


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


def test_a_trial_is_shown_though_the_ledger_is_away(board: Board, place: Place) -> None:
    path, away = place.home / "ledger.db", place.home / "away.db"
    path.rename(away)
    try:
        page = shown(board, "/sweeps/first/trials/3")
        assert "Its run" not in page
        for part in ("standing", "curves", "inside", "log", "story"):
            shown(board, f"/sweeps/first/trials/3/parts/{part}")
    finally:
        away.rename(path)
    assert "Its run" in shown(board, "/sweeps/first/trials/3")


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
    for path in ("/compare?sweep=first&sweep=none", "/parts/compare"):
        assert ask(board, path).status == 404
    assert 'name="sweep" value="first"' in shown(board, "/parts/sweeps")


def test_layers_without_moments_draw_nothing() -> None:
    root = ElementTree.Element("div")
    layers.draw(root, [])
    assert len(root) == 0

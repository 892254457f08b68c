"""What the board answers over HTTP: to this machine alone, reading alone, with no script of others and no traceback."""

import re

import pytest
from boards import ask

from podium_board import figures, sweep

PATHS = [
    "/",
    "/sweeps/finished",
    "/sweeps/finished?metric=train/loss",
    "/sweeps/finished?metric=nonsense&wall",
    "/sweeps/objectives",
    "/sweeps/interrupted",
    "/sweeps/finished/trials",
    "/sweeps/finished/trials?state=stopped&text=adam&sort=-value&page=7",
    "/sweeps/finished/timeline",
    "/parts/sweeps",
    *(f"/sweeps/finished/parts/{part}" for part in ("banner", "headline", "best", "failures")),
    *(f"/sweeps/objectives/figures/{figure}" for figure in figures.FIGURES),
]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_answers_and_may_load_nothing_from_elsewhere(board, path):
    answer = ask(board, path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"(src|href)=.?https?:", answer.text)
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", answer.text)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5002", "127.0.0.1.evil.example", "", "[::2]"])
def test_a_name_that_points_here_is_refused(board, host):
    assert ask(board, "/", host=host).status == 403


@pytest.mark.parametrize("host", ["127.0.0.1:5002", "localhost:8000", "localhost", "127.0.0.1", "[::1]:9"])
def test_names_of_this_machine_are_served(board, host):
    assert ask(board, "/parts/sweeps", host=host).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ["/", "/sweeps/finished", "/live"])
def test_reading_alone(board, method, path):
    answer = ask(board, path, method=method)
    assert (answer.status, "This board only shows" in answer.text) == (403, True)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "There is no such page"),
        ("/sweeps/none", "there is no sweep"),
        ("/sweeps/finished/figures/none", "has no chart"),
        ("/sweeps/finished/parts/none", "has no part"),
        ("/static/../app.py", "There is no such page"),
        ("/sweeps/<script>", "there is no sweep"),
    ],
)
def test_what_there_is_not_is_told_in_words(board, path, said):
    answer = ask(board, path)
    assert answer.status == 404
    assert said in answer.text.replace("&#39;", "'")
    assert "<script>" not in answer.text


def test_a_defect_is_told_without_a_traceback(board, monkeypatch, capsys):
    def fail(*_: object) -> None:
        raise RuntimeError("secret insides")

    monkeypatch.setattr(sweep, "_parts", fail)
    with pytest.raises(RuntimeError):  # the server logs it
        ask(board, "/sweeps/finished")
    assert "cannot be shown: RuntimeError" in capsys.readouterr().err


def test_what_has_not_changed_is_not_sent_again(board):
    first = ask(board, "/sweeps/finished/parts/best")
    again = ask(board, "/sweeps/finished/parts/best", if_none_match=first.headers["etag"])
    assert (again.status, again.text) == (304, "")


def test_charts_lead_to_trials(board):
    drawn = ask(board, "/sweeps/finished/figures/curves").text
    assert 'href="/sweeps/finished/trials/0"' in drawn


def test_the_style_has_both_themes(board):
    style = ask(board, "/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "[data-theme=dark]" in style.text


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_others_lead_here_and_have_nothing_else_done(board, site):
    assert ask(board, "/sweeps/finished", sec_fetch_site=site, sec_fetch_dest="document").status == 200
    for dest in ("image", "iframe", "empty", "script"):
        for path in ("/sweeps/finished/data/sheet.png", "/sweeps/finished", "/parts/sweeps", "/style.css"):
            assert ask(board, path, sec_fetch_site=site, sec_fetch_dest=dest).status == 403
    assert ask(board, "/style.css", sec_fetch_site="same-origin", sec_fetch_dest="style").status == 200


def test_sweeps_are_compared_once_there_are_two(board, open_board, tmp_path):
    assert "<button>Compare" in ask(board, "/parts/sweeps").text
    assert "<button>Compare" not in ask(open_board(tmp_path), "/").text


def test_the_best_of_all_trials_are_on_their_first_page(board):
    for name, sort in (("finished", "-value"), ("objectives", "value")):
        picture = board.look(name)
        direction = picture.spec.search.objectives[0].direction
        assert sort == ("-value" if direction == "maximize" else "value")
        assert f"trials?sort={sort}" in ask(board, f"/sweeps/{name}/parts/best").text

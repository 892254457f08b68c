"""Reports: what they say equals the ledger, is escaped, masked and self-contained; sweeps of all kinds have one."""

import errno
import json
import os
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from pypdf import PdfReader
from shown_sweeps import Story, make_spec, make_story

from podium.cli import podium
from podium.errors import LookupFailed, UserError
from podium.ledger import Book
from podium.sweep.gain import advice
from podium.sweep.messages import Judged, Promoting, Resumed
from podium.testing.simulation import launched, simulate, toy_spec
from podium.wiring import champions, comparing, networks, summaries
from podium.wiring.exporting import export
from podium.wiring.place import Place
from podium.wiring.reporting import collect, endings, report
from podium.wiring.verification import verify

__all__ = ["make_spec", "make_story"]

Make = Callable[..., Story]
EVIL = "<script>alert('x')</script>"


class Words(HTMLParser):
    """A page's text, its tags, and all that could be loaded or followed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def faulty(number: int, epoch: int) -> Any:
    """Trial 1 diverges at once, trials 2 and 3 always fail, the others learn, each worse than the one before."""
    if number in (2, 3):
        return ValueError(f"no luck with {number}.5 of them")
    return None if number == 1 else (number + 1) / epoch


def keep(story: Story, home: Path) -> Place:
    held, events = Book.at_home(home).hold(story.spec.sweep), [row.event for row in story.rows]
    for some in (events[:8], events[8:]):  # what is written at once has one time
        held.append(some)
    held.release()
    return Place.of(home=home)


def page_of(place: Place, sweep: str, tmp_path: Path) -> Words:
    report(place, sweep, tmp_path / "report.html", None)
    return Words((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_the_page_says_what_the_ledger_says(tmp_path: Path, make_story: Make) -> None:
    story = make_story("asha_stop", faulty, trials=8, note="Is it 42?").play()
    place = keep(story, tmp_path)
    summary = summaries.summarize(place.book(), "shown")
    text = page_of(place, "shown", tmp_path).text
    best = story.machine.best()
    assert best is not None
    assert "Is it 42?" in text
    assert f"Best validation/loss {best.last_values[0]:.5g} Trial {best.number} at epoch {best.best_epoch}" in text
    reached = sum(t.rung == best.rung for t in story.machine.trials.values() if story.machine.ranking.is_candidate(t))
    assert f"the best of the {reached} that reached rung {best.rung}" in text
    for state, count in story.machine.count().items():
        assert f"{count} {state}" in text
    assert "8 of 8" in text
    assert f"device time {summary['device_s']:.2g} s" in text
    assert "2 failed such as: exception after" in text
    assert "Traceback: no luck with 2.5 of them" in text
    assert "no luck with 3.5" not in text
    assert "c0ffee" in text
    assert "1 lines of changes" not in text  # it is not dirty by its provenance
    assert "torch 2.13.0" in text
    assert "sweep: shown" in text
    assert f"podium reproduce shown/{best.number}" in text
    assert advice(collect(place, "shown").timeline) in text
    assert "What the gangs did" in text


def test_the_best_twenty_are_in_order(tmp_path: Path, make_story: Make) -> None:
    story = make_story("asha", lambda number, epoch: (number * 7 % 31 + 1) / epoch, trials=30).play()
    found = collect(keep(story, tmp_path), "shown")
    ranking = story.machine.ranking
    ranked = sorted(filter(ranking.is_candidate, story.machine.trials.values()), key=ranking.order)
    assert [row["trial"] for row in found.best] == [trial.number for trial in ranked[:20]]
    assert found.best[0]["trial"] == found.summary["best"]["trial"]
    assert sum(row["count"] for row in found.endings) == 30


def test_endings_that_differ_in_numbers_are_one(make_story: Make) -> None:
    story = make_story(outcome=faulty, trials=5).play()
    rows = endings(story.machine.trials.values())
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["count"], failed["trials"], failed["varies"]) == (2, [2, 3], True)


def test_it_loads_nothing_and_runs_nothing(tmp_path: Path, make_story: Make) -> None:
    story = make_story(note=EVIL, trials=3)
    story.point = lambda number: {"rate": 0.1 / (number + 1), "kind": "ab"[number % 2]}  # type: ignore[method-assign]
    found = page_of(keep(story.play(), tmp_path), "shown", tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert EVIL in found.text
    assert "script" not in found.tags
    assert not {"link", "img", "iframe", "object", "embed", "form"} & set(found.tags)
    assert all(address.startswith("#") for address in found.addresses)
    assert "url(" not in text
    assert "@import" not in text
    for target in found.addresses:
        assert f'id="{target[1:]}"' in text


def test_secrets_are_masked(tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush-hush")

    def fails(number: int, epoch: int) -> Any:
        return ValueError("hush-hush-hush at postgresql://me:hidden@host/db")

    monkeypatch.setenv("OTHER_TOKEN", "less<more&more")
    kinds = ["hush-hush-hush", "s3://me:hidden@host/b", "c"]
    goal = {"metric": "validation/loss", "direction": "minimize"}
    search = {"objective": goal, "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": kinds}}}
    story = make_story(outcome=fails, note="token hush-hush-hush, less<more&more", trials=2, search=search).play()
    good = make_story(trials=6, search=search, sweep="good")
    good.point = lambda number: {"rate": 0.1 / (number + 1), "kind": kinds[number % 3]}  # type: ignore[method-assign]
    keep(good.play(), tmp_path)
    place = keep(story, tmp_path)
    for sweep in ("shown", "good"):
        page_of(place, sweep, tmp_path)
        comparing.compare(place.book(), [sweep], 5, tmp_path / "compared.html")
        for name in ("report.html", "compared.html"):
            text = (tmp_path / name).read_text()
            assert "***" in text or name == "compared.html"
            for secret in ("hush-hush", "hidden", "more&amp;more"):
                assert secret not in text, (sweep, name)
    assert "***" in text, "the ticks of a chart"


def test_what_the_data_were_made_of_is_told_as_it_was_written(
    tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = SimpleNamespace(
        source={"kind": "arrays", "path": "mankind photos.npz"}, fingerprint="f", rows={}, licence="", test_set="t"
    )
    monkeypatch.setattr(networks, "load_manifest", lambda place, launched: made)
    story = make_story(trials=2).play()
    first = story.rows[0]
    story.rows[0] = first._replace(event=first.event.model_copy(update={"data": "data/0"}))
    text = page_of(keep(story, tmp_path), "shown", tmp_path).text
    assert "arrays, path mankind photos.npz" in text


def elements(node: Any) -> Iterator[Any]:
    """The elements of a PDF's structure, which software reads aloud, below a node of it."""
    for child in node.get("/K", ()):
        below = child.get_object()
        if isinstance(below, dict) and "/S" in below:
            yield below
            yield from elements(below)


def test_the_pdf_says_the_same(tmp_path: Path, make_story: Make) -> None:
    pytest.importorskip("weasyprint", exc_type=OSError, reason="Pango is not installed; tests/services.sh does that")
    story = make_story("asha_stop", faulty, trials=14, note="Is it 42?").play()
    place = keep(story, tmp_path)
    done = report(place, "shown", tmp_path / "report.html", tmp_path / "report.pdf")
    pdf = PdfReader(tmp_path / "report.pdf")
    texts = [" ".join(page.extract_text().split()) for page in pdf.pages]
    best = done["best"]
    first = texts[0]
    assert "Is it 42?" in first
    assert f"Trial {best['trial']} at epoch {best['epoch']}" in first
    assert f"{best['value']:.5g}" in first
    assert "How sure:" in first
    assert f"1 / {len(texts)}" in first
    assert pdf.metadata is not None
    assert pdf.metadata.title == "shown: report of a sweep"
    assert pdf.trailer["/Root"]["/Lang"] == "en"
    chapters = [item["/Title"] for item in pdf.outline[1] if not isinstance(item, list)]  # below the sweep's name
    assert "How to reproduce it" in chapters
    told = list(elements(pdf.trailer["/Root"]["/StructTreeRoot"]))
    assert {"/H1", "/H2", "/TH", "/TD"} <= {one["/S"] for one in told}
    figures = [one.get("/Alt") for one in told if one["/S"] == "/Figure"]
    assert "Learning curves of shown" in figures
    assert all(figures)
    everything = " ".join(texts)
    assert "validation/loss (lower is better)" in everything  # drawn by the charts
    for heading in ("How trials ended", "What it cost", "The best"):
        assert heading in everything


def test_without_pango_the_page_is_there_and_the_error_says_what_to_install(
    tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = keep(make_story().play(), tmp_path)
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(UserError, match="apt install libpango") as error:
        report(place, "shown", tmp_path / "report.html", tmp_path / "report.pdf")
    assert error.value.exit_code == 2
    assert (tmp_path / "report.html").exists()
    assert not (tmp_path / "report.pdf").exists()


@pytest.mark.parametrize("target", ["nowhere/report.html", "."])
def test_what_cannot_be_written_is_refused_before_any_work(tmp_path: Path, target: str, make_story: Make) -> None:
    stages: list[str] = []
    with pytest.raises(UserError, match="folder"):
        report(keep(make_story(), tmp_path), "shown", None, tmp_path / target, stages.append)
    with pytest.raises(UserError, match="give two files"):
        report(Place.of(home=tmp_path), "shown", tmp_path / "a", tmp_path / "a", stages.append)
    assert stages == []


def test_a_file_that_cannot_be_made_is_refused_before_any_work(tmp_path: Path, make_story: Make) -> None:
    name = "n" * 300 + ".html"
    stages: list[str] = []
    place = keep(make_story(), tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match="cannot be written"):
        report(place, "shown", tmp_path / name, None, stages.append)
    with pytest.raises(UserError, match="cannot be written"):
        comparing.compare(place.book(), ["shown"], 5, tmp_path / name, stages.append)
    assert stages == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_write_that_fails_leaves_nothing_behind(
    tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = keep(make_story(), tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError, match="cannot be written: No space left on device; give another file"):
        report(place, "shown", tmp_path / "report.html", None)
    assert sorted(tmp_path.iterdir()) == before


def test_there_is_no_report_of_a_models_ledger(tmp_path: Path, make_story: Make) -> None:
    place = keep(make_story(), tmp_path)
    judged = Judged(promotion="p", version="7", champion="", verdict="refused", reasons=(), evidence={})
    held = place.book().hold(champions.ledger_of("shown"))
    held.append([judged])
    held.release()
    with pytest.raises(LookupFailed, match="no sweep 'model/shown'"):
        report(place, "model/shown", tmp_path / "report.html", None)
    with pytest.raises(LookupFailed, match="no sweep 'model/shown'"):
        export(place.book(), "model/shown", str(tmp_path / "study.db"), lambda text: None)
    assert verify(place.book(), "model/shown") == []


def test_there_is_no_report_of_no_sweep(tmp_path: Path) -> None:
    with pytest.raises(LookupFailed, match="no sweep 'other'"):
        report(Place.of(home=tmp_path), "other", tmp_path / "report.html", None)
    assert not (tmp_path / "report.html").exists()


def test_an_empty_sweep_has_a_report(tmp_path: Path) -> None:
    Book.at_home(tmp_path).hold("toy").append([launched(toy_spec())])
    text = page_of(Place.of(home=tmp_path), "toy", tmp_path).text
    assert "No value yet" in text
    assert "No trial was trained yet." in text
    assert "No trial has ended yet." in text
    assert "Too few trials have a value to tell." in text


def test_a_sweep_that_goes_on_says_so(tmp_path: Path, make_story: Make) -> None:
    story = make_story("asha", trials=6)
    while story.machine.best() is None:
        story.step()
    text = page_of(keep(story, tmp_path), "shown", tmp_path).text
    assert "Best so far validation/loss" in text
    assert "the sweep is interrupted, and this may change" in text


def test_time_without_a_driver_is_no_time_of_the_sweep(tmp_path: Path, make_story: Make) -> None:
    story = make_story(trials=4)
    for _ in range(6):
        story.step()
    story.todo = story.tell(Resumed(holder="another"))
    found = collect(keep(story.play(), tmp_path), "shown")
    assert 0 <= found.driven_s <= found.timeline.at - found.timeline.begin


def test_several_objectives_have_their_front(tmp_path: Path, make_story: Make) -> None:
    goals = [
        {"metric": "validation/loss", "direction": "minimize"},
        {"metric": "parameters", "direction": "maximize"},
    ]
    search = {"objective": goals, "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}}}
    text = page_of(keep(make_story(search=search, trials=5).play(), tmp_path), "shown", tmp_path).text
    assert "Best validation/loss, parameters" in text
    assert "Objectives against each other" in text


def test_repeated_points_have_an_interval(tmp_path: Path, make_story: Make) -> None:
    story = make_story(outcome=lambda number, epoch: 1 / epoch + number / 100, trials=4)
    story.point = lambda number: {"rate": 0.01, "kind": "ab"[number // 2]}  # type: ignore[method-assign]
    text = page_of(keep(story.play(), tmp_path), "shown", tmp_path).text
    assert "has a mean validation/loss of 0.33833 over 2 trial seeds, 95% interval" in text
    assert "One trial seed says little" not in text
    assert "Points with several trial seeds" in text


def test_a_promotion_is_the_answer_to_how_sure(tmp_path: Path, make_story: Make) -> None:
    place = keep(make_story(trials=3).play(), tmp_path)
    assert "Nobody has asked for evidence." in page_of(place, "shown", tmp_path).text
    again = make_story(trials=2, sweep="shown-promotion-1")
    promoting = Promoting(sweep="shown", model="shown", finalists=(2, 1), seeds=1, settings={}, by="somebody")
    again.tell(promoting)
    keep(again.play(), tmp_path)
    assert "not judged yet" in page_of(place, "shown", tmp_path).text
    judged = Judged(
        promotion="shown-promotion-1",
        version="7",
        champion="",
        verdict="refused",
        reasons=("it is worse",),
        evidence={"version": "7", "model": "shown", "verdict": "refused", "comparison": None},
    )
    place.book().hold(champions.ledger_of("shown")).append([judged])
    text = page_of(place, "shown", tmp_path).text
    assert "How sure: Version 7 of shown was refused" in text
    assert "it is worse" in text
    assert "Nobody has asked" not in text


def test_a_large_sweep_makes_a_small_page(tmp_path: Path) -> None:
    space = {"x": {"float": [0.0, 1.0]}, "y": {"log": [0.001, 1.0]}, "kind": {"choice": ["a", "b", "c"]}}
    goal = {"metric": "score", "direction": "minimize"}
    spec = toy_spec(1500, search={"objective": goal, "space": space})

    def curve(lane: Any) -> list[float]:
        return [lane.parameters["x"] + 1 / epoch for epoch in range(1, 10)]

    simulation = simulate(spec, 4, curve)
    held = Book.at_home(tmp_path).hold("toy")
    held.append(simulation.events)
    held.release()
    text = page_of(Place.of(home=tmp_path), "toy", tmp_path).text
    assert f"Trial {simulation.best.number} at epoch" in text
    assert "1,500 of 1,500" in text
    assert (tmp_path / "report.html").stat().st_size < 600_000


def test_the_command_writes_both_where_nothing_else_is_said(
    tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(make_story().play(), tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(podium, ["report", "shown", "--home", str(tmp_path), "--json"], catch_exceptions=False)
    done = json.loads(result.stdout.splitlines()[-1])
    assert (done["html"], done["pdf"], done["state"]) == ("shown-report.html", "shown-report.pdf", "finished")
    assert Path("shown-report.pdf").read_bytes().startswith(b"%PDF")
    assert not [name for name in os.listdir() if name.startswith(".shown")]
    only = CliRunner().invoke(
        podium, ["report", "shown", "--home", str(tmp_path), "--html", "page.html"], catch_exceptions=False
    )
    assert only.stdout.strip() == "the report of shown is in page.html"

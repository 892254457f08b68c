"""A sweep in the pages of a real MLflow server, as a person with a browser meets them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from shown_sweeps import Story
from tracking_server import Server

from podium.spec.sweep import SweepSpec
from podium.sweep.trial import Trial
from podium.tracking import pages, views
from podium.tracking.client import connect
from podium.tracking.projector import Projector

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000
TRIALS, LOADED = 120, 100


class Facts(dict[str, Any]):
    def put(self, mapping: Any) -> None:
        self.update(mapping)


@dataclass
class Site:
    """A sweep in MLflow: the page of a browser, the server's address, what is shown, and the trials behind it."""

    page: "Page"
    address: str
    experiment: str
    parent: str
    runs: dict[int, str]
    trials: dict[int, Trial]

    def open(self, path: str) -> None:
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/{path}")

    @cached_property
    def links(self) -> dict[str, str | None]:
        """Where the links of the parent's description lead, by their texts."""
        self.open(pages.run(self.experiment, self.parent))
        self.page.get_by_text("Show more").first.click()
        self.page.get_by_text("Which rate and width lose").first.wait_for()
        self.page.get_by_text("1 failed: exception after").first.wait_for()
        return {link.inner_text(): link.get_attribute("href") for link in self.page.get_by_role("link").all()}

    def follow(self, name: str) -> None:
        """Goes where a link of the parent's description leads; by itself it opens beside."""
        link = self.links[name]
        assert link is not None
        assert link.startswith("#/"), "it holds on whichever server shows the run"
        self.open(link)

    def finds(self, condition: str, count: int) -> None:
        """Waits until the table, in an order in which it is flat, has as many runs by a filter."""
        order = f"orderByKey={quote('metrics.`objective`')}&orderByAsc=true"
        table = f"#/experiments/{self.experiment}/runs?searchFilter={quote(condition)}&{order}"
        self.open(f"{table}&{pages.TRAINING_VIEW}")
        self.has_rows(count)

    def has_rows(self, count: int) -> None:
        self.page.get_by_text(f"{count} matching run").first.wait_for()


def outcome(number: int, epoch: int) -> Any:
    chance = random.Random(number)
    if number == 4:
        return RuntimeError("CUDA out of memory")
    return 0.1 + chance.random() + 2 * chance.random() / epoch


def point(number: int) -> dict[str, Any]:
    chance = random.Random(-number - 1)
    return {"rate": 10 ** chance.uniform(-3, -1), "kind": chance.choice("ab"), "width": chance.randint(8, 64)}


def play(trials: int) -> Story:
    spec = SweepSpec.model_validate(
        {
            "sweep": "shown",
            "note": "Which rate and width lose **least**?",
            "task": "train.py:train",
            "search": {
                "objective": {"metric": "validation/loss", "direction": "minimize"},
                "space": {
                    "rate": {"log": [0.001, 0.1]},
                    "kind": {"choice": ["a", "b"]},
                    "width": {"int": [8, 64]},
                },
            },
            "budget": {"trials": trials, "epochs": {"min": 1, "max": 9, "factor": 3}, "policy": "asha"},
        }
    )
    story = Story(spec, outcome)
    story.point = point  # type: ignore[method-assign]
    return story.play()


def show(folder: Path, story: Story) -> Facts:
    """Writes a sweep into the file that a server shows, with a version of its best model."""
    uri, facts = f"sqlite:///{folder / 'mlflow.db'}", Facts()
    projector = Projector(story.spec, "one", tracking_uri=uri, artifacts=str(folder / "runs"), facts=facts)
    projector.launch(story.rows[0].at, story.launched, None)
    machine = story.machine
    best = machine.best()
    assert best is not None
    projector.project(story.rows, machine.trials)
    client = connect(uri)
    run_id = facts[f"run/{best.number}"]
    logged = client.create_logged_model(facts["experiment"], name="best", source_run_id=run_id)
    client.create_registered_model("shown")
    client.create_model_version("shown", str(folder), run_id, model_id=logged.model_id)
    model = {"name": "shown", "version": "1", "model_id": logged.model_id}
    end = story.rows[-1].at + 1
    for _ in range(2):  # the second time as `podium sync` would
        projector.finish(end, machine.state, machine.reason, machine.trials, best, {"rate": 0.7, "width": 0.3}, model)
    return facts


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: "Browser") -> Iterator[Site]:
    """A sweep of more trials than the table loads at once."""
    folder = tmp_path_factory.mktemp("site")
    server, story = Server(folder), play(TRIALS)
    facts = show(folder, story)
    server.start()
    try:
        page = chromium.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{server.address}/#/experiments?{pages.TRAINING_VIEW}")  # once there, its assistant stays shut
        page.get_by_text("shown").first.wait_for()
        runs = {int(key[4:]): run for key, run in facts.items() if key.startswith("run/")}
        yield Site(page, server.address, facts["experiment"], facts["parent_run"], runs, story.machine.trials)
        page.close()
    finally:
        server.kill()


def test_the_parents_description_leads_to_all_there_is(site: Site) -> None:
    page = site.page
    assert pages.file(site.experiment, site.parent, "sweep.yaml") == site.links["sweep file"]
    site.follow("learning curves")
    page.wait_for_function("[...document.images].some(image => image.naturalWidth > 500)")
    site.follow("model shown, version 1")
    page.get_by_text("Version 1", exact=True).first.wait_for()
    site.follow("the best 10 compared")
    page.get_by_text("Comparing 10 Runs").first.wait_for()


def test_a_trials_page_tells_what_came_of_it(site: Site) -> None:
    site.open(pages.run(site.experiment, site.runs[4]))
    site.page.get_by_text("Trial 4 of").first.wait_for()
    site.page.get_by_text("CUDA out of memory").first.wait_for()
    site.page.get_by_text("podium logs shown/4").first.wait_for()


def test_trials_are_found_by_state_and_rung(site: Site) -> None:
    trials = site.trials.values()
    stopped = [trial for trial in trials if trial.state == "stopped" and trial.rung == 3]
    low = [trial for trial in trials if trial.last_values and (trial.last_values[0] or 9) < 1]
    assert 0 < len(stopped) < LOADED
    assert 0 < len(low) < LOADED
    site.finds("tags.state = 'stopped' and tags.rung = '3'", len(stopped))
    site.finds("metrics.objective < 1 and tags.rung != ''", len(low))


def test_a_saved_view_has_the_columns_and_the_charts(site: Site) -> None:
    site.follow("all trials by objective")
    site.has_rows(LOADED)
    for column in ("objective", "best_epoch", "state", "rung", "rate"):
        site.page.get_by_text(column, exact=True).first.wait_for()
    site.follow("trials by state and rung")
    site.page.get_by_text("Group: state").first.wait_for()
    site.open(f"{pages.view(site.experiment, views.TRIALS)}&compareRunsMode=CHART")
    for section in ("Trials", "train", "Model metrics", "spending", "system/rank_0"):
        site.page.get_by_text(section, exact=True).first.wait_for(state="attached")

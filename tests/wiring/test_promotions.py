"""Promotions, from a sweep to the alias: on evidence, whatever dies, and one after the other."""

import gc
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from wiring_cases import podium_here, write_blobs

import podium
from podium.errors import ModelError
from podium.ledger import HeldLedger
from podium.registry.client import connect
from podium.registry.examination import Examination, Latency
from podium.sweep import messages
from podium.sweep.messages import Chosen, Crowned, Crowning, Event, Judged, Launched, Promoting
from podium.wiring import champions, judging, promotions, summaries
from podium.wiring.place import Place

pytestmark = pytest.mark.slow

QUIET = {"plots": False, "inside": False, "diagnosis": False}
SMALL = {"finalists": 2, "seeds": 2}
DECISIONS = (Chosen, messages.TestRead, Judged, Crowning, Crowned)


class Killed(BaseException):
    """Nobody catches it, as nobody survives a kill."""


class Silent:
    """Watches, and says nothing."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def stage(self, text: str) -> None: ...
    def news(self, machine: Any, events: Sequence[Event]) -> None: ...
    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def is_interrupted(self) -> bool:
        return False


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where a sweep over clouds that overlap has ended: a third of the test samples cannot be told."""
    folder = write_blobs(tmp_path_factory.mktemp("promotions"), 1500)
    with np.load(folder / "blobs.npz") as found:
        points, labels = found["x"], found["y"]
    labels[::4] = np.random.default_rng(1).integers(0, 3, len(labels[::4]))
    np.savez(folder / "blobs.npz", x=points, y=labels)
    spec = podium.load_sweep(folder / "sweep.yaml", {"tracking": QUIET, "budget.trials": 3})
    podium.launch(spec, home=folder / ".podium", cluster="inline")
    return Place.of(folder / ".podium", cluster="inline")


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean process is spared, which has tests of its own."""
    latency = (Latency(1, 200, 1e-3, 2e-3), Latency(64, 200, 1e-3, 2e-3))

    def examine(folder: Path, samples: Any, lengths: Any) -> Examination:
        assert (folder / "MLmodel").exists()
        newer_is_smaller = 2**63 - folder.stat().st_mtime_ns
        return Examination(newer_is_smaller, 2000, 3000, 1, latency, {"NaN": "refused"}, {})

    monkeypatch.setattr(judging, "examine", examine)
    monkeypatch.setattr(judging, "SMALLER", 1.0)
    monkeypatch.setattr(judging, "agreement", lambda answers, trained: 0.0)


def promote(place: Place, **settings: Any) -> dict[str, Any]:
    return promotions.promote(place, "blobs", Silent(), settings={**SMALL, **settings})


def events(place: Place, name: str) -> list[Event]:
    return [row.event for row in place.book().rows(name)]


def alias(place: Place) -> str:
    found = connect(place.tracking_uri).get_registered_model("blobs").aliases
    return str(found.get("champion", ""))


def test_the_first_champion_is_better_than_a_trivial_answer(place: Place) -> None:
    done = promote(place, gates={"floors": ["accuracy >= 0.5"], "slices": ["accuracy >= 0.4"]})
    assert (done["verdict"], done["previous"], alias(place)) == ("promoted", None, done["version"]), done["reasons"]
    evidence = json.loads(json.dumps(done["evidence"]))
    assert [check["outcome"] for check in evidence["checks"]] == ["passed"] * len(evidence["checks"])
    assert {"better", "clean process", "bad input", "agreement"} <= {check["gate"] for check in evidence["checks"]}
    assert evidence["test"]["reading"] == 1
    assert 0.6 < evidence["test"]["metrics"]["accuracy"] < 0.95
    assert [each["by"] for each in evidence["slices"]] == ["class"] * 3
    assert evidence["measured"]["agreement"] < 1e-5
    assert not evidence["comparison"]["is_champion"]

    source, trained = (summaries.load(place.book(), name) for name in ("blobs", done["promotion"]))
    assert len(trained.trials) == SMALL["finalists"] * SMALL["seeds"]
    seeds = {trial.seed for trial in [*source.trials.values(), *trained.trials.values()]}
    assert len(seeds) == len(source.trials) + len(trained.trials), "every seed is fresh"
    assert source.spec.data is not None
    assert trained.spec.data is not None
    assert source.spec.data.seed != trained.spec.data.seed
    launched, promoting, *rest = events(place, done["promotion"])
    assert isinstance(launched, Launched)
    assert isinstance(promoting, Promoting)
    assert [type(event) for event in rest if isinstance(event, DECISIONS)] == [Chosen, messages.TestRead]

    client: MlflowClient = connect(place.tracking_uri)
    version = client.get_model_version("blobs", done["version"])
    assert version.tags["podium.verdict"] == "promoted"
    assert "promoted" in version.description
    page = Path(done["card"]).read_text()
    assert page.startswith("<!doctype html>")
    assert json.loads(Path(done["card"]).with_name("evidence.json").read_text()) == evidence


@pytest.mark.usefixtures("examined")
def test_a_candidate_that_is_no_better_leaves_the_champion_and_demands_more_of_the_next(place: Place) -> None:
    before = alias(place)
    assert before
    done = promote(place, finalists=1)
    test = done["evidence"]["test"]
    assert (done["verdict"], done["previous"], alias(place)) == ("undecided", before, before)
    assert test["reading"] > 1
    assert test["tightened"] == pytest.approx(0.05 * 6 / (np.pi * test["reading"]) ** 2)
    assert (test["left_out"], done["evidence"]["comparison"]["is_champion"]) == (0, True)
    assert "with a probability of 80%" in done["reasons"][0]


@pytest.mark.usefixtures("examined")
def test_a_floor_that_is_missed_refuses(place: Place) -> None:
    before = alias(place)
    options = ["--finalists", "1", "--seeds", "2", "--gate", "floors=accuracy >= 0.99", "--gate", "level=0.6"]
    told = podium_here(place.home.parent, "promote", "blobs", "--cluster", "inline", *options)
    assert (told.code, alias(place)) == (3, before), told.problems
    assert "is refused" in told.output
    assert "accuracy >= 0.99 is demanded" in told.output
    assert f"Champion: version {before} stays" in told.output
    history = podium_here(place.home.parent, "history", "blobs")
    assert history.code == 0
    told_again = " ".join(history.output.split())  # which wraps its lines
    assert "promotion blobs-promotion-1" in told_again
    assert "accuracy >= 0.99 is demanded" in told_again


def test_a_candidate_that_does_not_load_alone_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Path] = []

    def examine(folder: Path, *samples: Any) -> Examination:
        tried.append(folder)
        raise ModelError("it needs a module that is not there")

    monkeypatch.setattr(judging, "examine", examine)
    done = promote(place, finalists=1, gates={"margin": 0.9})
    assert done["verdict"] == "refused"
    assert "it needs a module that is not there" in " ".join(done["reasons"])
    assert (len(tried), done["evidence"]["measured"]) == (1, {})


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type, bool], None]]:
    """Kills at the next append of an event of a kind, before it or after."""
    wanted: list[tuple[type, bool]] = []
    append = HeldLedger.append

    def mortal(self: HeldLedger, events: Sequence[Event]) -> int:
        is_due = bool(wanted) and any(isinstance(event, wanted[0][0]) for event in events)
        if is_due and not wanted[0][1]:
            wanted.pop()
            raise Killed
        done = append(self, events)
        if is_due:
            wanted.pop()
            raise Killed
        return done

    monkeypatch.setattr(HeldLedger, "append", mortal)
    yield lambda kind, after: wanted.append((kind, after))
    assert not wanted, "the event never came"


def is_killed(command: Callable[[], object]) -> bool:
    """Runs a command that is to be killed; nobody waits for the tracker that it may leave behind."""
    try:
        command()
    except Killed:
        pass
    else:
        return False
    gc.collect()
    return True


UNTIL_THE_ALIAS = [(kind, after) for kind in (Promoting, *DECISIONS[:-1]) for after in (False, True)]


@pytest.mark.usefixtures("examined")
@pytest.mark.filterwarnings("ignore:subprocess:ResourceWarning")
@pytest.mark.parametrize("kills", [UNTIL_THE_ALIAS, [(Crowned, False)]], ids=["until the alias moves", "thereafter"])
def test_a_promotion_that_is_killed_at_every_append_ends_as_if_it_had_not_been(
    place: Place, killing: Callable[[type, bool], None], kills: list[tuple[type, bool]]
) -> None:
    """The champion is the old one until the alias moves, and there is always one."""
    before, lenient = alias(place), {"finalists": 1, "gates": {"level": 0.51, "margin": 0.9}}
    assert before
    for kind, after in kills:
        killing(kind, after)
        assert is_killed(lambda: promote(place, **lenient))
        assert (alias(place) != before) == (kind is Crowned), (kind, after)
    done = promote(place, **lenient)
    assert (done["verdict"], done["previous"], done["version"]) == ("promoted", before, alias(place))
    told = [each for each in champions.history(place, "blobs") if each["promotion"] == done["promotion"]]
    assert [each["what"] for each in told] == ["judged", "crowned"]
    assert len(summaries.load(place.book(), done["promotion"]).trials) == SMALL["seeds"]
    readings = [event for event in events(place, done["promotion"]) if isinstance(event, messages.TestRead)]
    assert len(readings) == 1, "gone on with, it is the same reading"


@pytest.mark.usefixtures("examined")
def test_of_two_promotions_at_once_the_second_is_judged_against_the_first(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach, champion_before = promotions.attach_card, alias(place)
    overtaking = [version for version in ("1", "2") if version != champion_before][:1]

    def overtaken(*arguments: Any) -> None:
        attach(*arguments)
        if overtaking:
            with champions.throne(place, "blobs") as held:
                held.crown(overtaking.pop(), "promotion", "another")

    monkeypatch.setattr(promotions, "attach_card", overtaken)
    done = promote(place, finalists=1, gates={"level": 0.51, "margin": 0.9})
    judged = [each for each in champions.history(place, "blobs") if each["promotion"] == done["promotion"]]
    assert done["verdict"] == "promoted"
    assert [each.get("champion") for each in judged if each["what"] == "judged"] == [champion_before, done["previous"]]
    assert done["previous"] != champion_before
    assert alias(place) == done["version"]
    readings = [event for event in events(place, done["promotion"]) if isinstance(event, messages.TestRead)]
    assert len(readings) == 2


@pytest.mark.usefixtures("examined")
def test_a_candidate_may_be_trained_on_the_validation_split_too(place: Place) -> None:
    done = promote(place, finalists=1, train_on="train+validation")
    final = summaries.load(place.book(), f"{done['promotion']}-final")
    assert final.spec.data is not None
    assert (len(final.trials), final.spec.data.train_on) == (1, "train+validation")
    assert final.trials[0].seed not in {
        trial.seed for trial in summaries.load(place.book(), done["promotion"]).trials.values()
    }
    assert done["evidence"]["shipped"]["train_on"] == "train+validation"


@pytest.mark.usefixtures("examined")
def test_a_gate_of_ones_own_may_refuse(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gates.py").write_text(
        "def fair(candidate):\n"
        "    assert len(candidate.answers) == len(candidate.targets) == len(candidate.losses)\n"
        "    return 'class 2 is forgotten' if candidate.champion is not None else None\n"
    )
    monkeypatch.chdir(tmp_path)
    done = promote(place, finalists=1, ship="ensemble", gates={"own": "gates.py:fair"})
    assert done["verdict"] == "refused"
    assert "class 2 is forgotten" in " ".join(done["reasons"])
    assert len(done["evidence"]["shipped"]["trials"]) == SMALL["seeds"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing"], "there is no sweep 'nothing'"),
        (["blobs", "--seeds", "1"], "promotion.seeds"),
        (["blobs", "--model", "a/b"], "a/b"),
        (["blobs", "--gate", "levle=0.9"], "did you mean 'level'"),
        (["blobs", "--gate", "level"], "write KEY=VALUE"),
        (["blobs", "--gate", "floors=[accuracy]"], "not a constraint"),
        (["blobs", "--gate", "own=gates.py"], "write file.py:function"),
        (["blobs", "--gate", "own=gates.py:fair"], "gates.py"),
        (["blobs", "--gate", "level=0.9", "--gate", "level=0.8"], "given twice"),
        (["blobs", "--gate", "floors=f1 >= 0.5"], "'f1' is no metric of the test split; allowed: accuracy"),
        (["blobs", "--ship", "worst"], "promotion.ship"),
        (["blobs", "--ship", "average", "--train-on", "train+validation"], "write ship: best"),
    ],
)
def test_what_cannot_be_promoted_is_said_in_one_line(place: Place, arguments: list[str], problem: str) -> None:
    sweeps = place.book().sweeps()
    outcome = podium_here(place.home.parent, "promote", *arguments)
    assert (outcome.code, "Traceback" in outcome.problems) == (2, False)
    assert problem in outcome.problems
    assert place.book().sweeps() == sweeps


def test_a_dry_run_does_nothing(place: Place) -> None:
    sweeps = place.book().sweeps()
    gates = ["--gate", "floors=accuracy >= 0.9", "--gate", "floors=[accuracy >= 0.8]", "--gate", "level=0.9"]
    outcome = podium_here(place.home.parent, "promote", "blobs", "--dry-run", "--json", *gates)
    assert outcome.code == 0
    assert outcome.json["trainings"] == 3 * 5
    assert outcome.json["settings"]["gates"]["floors"] == ["accuracy >= 0.9", "accuracy >= 0.8"]
    assert outcome.json["settings"]["gates"]["level"] == 0.9
    assert place.book().sweeps() == sweeps

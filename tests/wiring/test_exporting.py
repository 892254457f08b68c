"""Studies for Optuna Dashboard, read back by Optuna itself and by the dashboard's own application."""

import io
import json
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner
from optuna.storages import RDBStorage
from optuna.trial import TrialState as Shown
from postgresql_server import PASSWORD
from shown_sweeps import Story, make_spec, make_story

from podium.cli import podium
from podium.errors import UserError
from podium.ledger import Book
from podium.ledger.schema import METADATA
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Enqueued
from podium.testing.simulation import launched, toy_spec
from podium.wiring.comparing import read
from podium.wiring.exporting import export, lived

__all__ = ["make_spec", "make_story"]

Make = Callable[..., Story]


def silent(text: str) -> None:
    pass


def keep(story: Story, home: Path, facts: dict[str, Any] | None = None) -> Book:
    book = Book.at_home(home)
    held = book.hold(story.spec.sweep)
    held.append([row.event for row in story.rows])
    held.release()
    book.facts(story.spec.sweep).put(facts or {"run/0": "cafe"})
    return book


def study_of(tmp_path: Path, story: Story, name: str = "study.db") -> optuna.Study:
    export(keep(story, tmp_path), story.spec.sweep, str(tmp_path / name), silent)
    return optuna.load_study(study_name=story.spec.sweep, storage=f"sqlite:///{tmp_path / name}")


def faulty(number: int, epoch: int) -> Any:
    """Trial 1 diverges at once, trial 2 always fails, the others learn, each worse than the one before."""
    if number == 2:
        return ValueError("no luck")
    return None if number == 1 else (number + 1) / epoch


def test_a_study_shows_trials_as_they_are(tmp_path: Path, make_story: Make) -> None:
    story = make_story("asha_stop", faulty, trials=6).play()
    study = study_of(tmp_path, story)
    own = story.machine.trials
    assert study.metric_names == ["validation/loss"]
    assert study.direction.name == "MINIMIZE"
    assert [trial.number for trial in study.trials] == sorted(own)
    expected = {"complete": Shown.COMPLETE, "stopped": Shown.PRUNED, "diverged": Shown.PRUNED, "failed": Shown.FAIL}
    assert {str(trial.state) for trial in own.values()} == set(expected)
    for shown in study.trials:
        trial = own[shown.number]
        assert shown.state is expected[trial.state]
        assert shown.params == trial.parameters
        assert shown.user_attrs["state"] == trial.state
        assert shown.user_attrs["reason"] == trial.reason
        assert shown.user_attrs["seed"] == trial.seed
        shown._validate()
    assert study.best_value == pytest.approx(min(t.last_values[0] for t in own.values() if t.state == "complete"))
    assert study.trials[0].user_attrs["mlflow_run"] == "cafe"


def test_secrets_are_masked_in_choices_and_attributes(
    tmp_path: Path, make_story: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush-hush")

    def fails(number: int, epoch: int) -> Any:
        return ValueError("hush-hush-hush at postgresql://me:hidden@host/db") if number == 1 else 1 / epoch

    kinds = ["hush-hush-hush", "s3://me:hidden@host/b"]
    search = {
        "objective": {"metric": "validation/loss", "direction": "minimize"},
        "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": kinds}},
    }
    story = make_story(outcome=fails, trials=3, search=search)
    story.point = lambda number: {"rate": 0.1, "kind": kinds[number % 2]}  # type: ignore[method-assign]
    shown = study_of(tmp_path, story.play()).trials
    assert [trial.params["kind"] for trial in shown] == ["***", "s3://***@host/b", "***"]
    assert "*** at postgresql://***@host/db" in shown[1].user_attrs["reason"]
    content = (tmp_path / "study.db").read_bytes()
    assert b"hush-hush" not in content
    assert b"hidden@" not in content


def test_steps_are_epochs_and_a_diverged_trial_ends_in_no_number(tmp_path: Path, make_story: Make) -> None:
    story = make_story("none", faulty, trials=3).play()
    complete, diverged, failed = study_of(tmp_path, story).trials
    assert complete.intermediate_values == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    assert complete.values == [pytest.approx(1 / 3)]
    assert all(map(math.isnan, diverged.intermediate_values.values()))
    assert diverged.intermediate_values
    assert (diverged.state, diverged.values) == (Shown.PRUNED, None)
    assert (failed.state, failed.values) == (Shown.FAIL, None)


def test_times_are_the_ledgers(make_story: Make) -> None:
    story = make_story("asha_stop", faulty, trials=6).play()
    side = read(story.rows, {})
    first, last = story.rows[0].at, story.rows[-1].at
    for each in lived(side):
        assert each.began is not None
        assert each.left is not None
        assert first <= each.began < each.left <= last
    began = [each.began for each in lived(side)]
    assert began == sorted(began)
    assert side.machine.trials == story.machine.trials


def test_what_goes_on_is_shown_as_it_stands(tmp_path: Path, make_story: Make) -> None:
    story = make_story("asha", trials=4)
    while not any(trial.state == "paused" for trial in story.machine.trials.values()):
        story.step()
    story.step()
    states = {trial.number: str(trial.state) for trial in story.machine.trials.values()}
    shown = {trial.number: trial for trial in study_of(tmp_path, story).trials}
    wanted = {"paused": Shown.PRUNED, "running": Shown.RUNNING, "waiting": Shown.WAITING}
    assert {number: trial.state for number, trial in shown.items()} == {n: wanted[s] for n, s in states.items()}


def test_every_kind_of_domain_keeps_its_scale(tmp_path: Path, make_spec: Callable[..., SweepSpec]) -> None:
    space = {
        "log": {"log": [0.001, 0.1]},
        "even": {"float": [0.0, 0.95], "step": 0.1},
        "depth": {"int": [1, 8], "step": 2},
        "wide": {"int": [1, 1000], "log": True},
        "kind": {"choice": ["a", "b"]},
        "sides": {"choice": [[1, 2], [3]]},
        "child": {"float": [0, 1], "when": {"kind": "b"}},
        "twin": {"float": [0, 1], "when": {"kind": "a"}},
    }
    points = [
        {"log": 0.01, "even": 0.3, "depth": 3, "wide": 7, "kind": "b", "sides": (3,), "child": 0.25},
        {"log": 0.1, "even": 0.9, "depth": 7, "wide": 1000, "kind": "a", "sides": (1, 2), "twin": 0.5},
    ]
    loss = {"metric": "validation/loss", "direction": "minimize"}
    spec = make_spec(trials=2, search={"objective": loss, "space": space, "constraints": ["parameters <= 4"]})

    class Drawn(Story):
        def point(self, number: int) -> dict[str, Any]:
            return points[number]

    first, second = study_of(tmp_path, Drawn(spec, lambda number, epoch: 0.5).play()).trials
    kinds = {name: str(distribution) for name, distribution in (first.distributions | second.distributions).items()}
    assert kinds["log"] == "FloatDistribution(high=0.1, log=True, low=0.001, step=None)"
    assert "step=0.1" in kinds["even"]
    assert kinds["depth"] == "IntDistribution(high=7, log=False, low=1, step=2)"
    assert "log=True" in kinds["wide"]
    assert "'a', 'b'" in kinds["kind"]
    assert first.params == {**points[0], "sides": "[3]"}
    assert second.params == {**points[1], "sides": "[1, 2]"}
    assert first.constraints == {"0": 6 / 4}
    first._validate()
    second._validate()


def test_several_objectives_have_values_and_no_curve(tmp_path: Path, make_story: Make) -> None:
    goals = [
        {"metric": "validation/loss", "direction": "minimize"},
        {"metric": "parameters", "direction": "minimize"},
    ]
    search = {"objective": goals, "space": {"rate": {"log": [0.001, 0.1]}, "kind": {"choice": ["a", "b"]}}}
    study = study_of(tmp_path, make_story(search=search).play())
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MINIMIZE"]
    assert study.metric_names == ["validation/loss", "parameters"]
    assert not any(trial.intermediate_values for trial in study.trials)
    assert study.trials[2].values == [pytest.approx(1 / 9)] * 2
    assert study.trials[2].user_attrs["parameters at rung 3"] == pytest.approx(1 / 9)


def test_parameters_outside_of_the_space_are_attributes(tmp_path: Path, make_story: Make) -> None:
    story = make_story(trials=1)
    story.tell(Enqueued(parameters={"rate": 5.0}))
    story.point = lambda number: {"rate": 5.0, "kind": "a"}  # type: ignore[method-assign]
    (trial,) = study_of(tmp_path, story.play()).trials
    assert trial.params == {"kind": "a"}
    assert trial.user_attrs["rate"] == 5.0


def test_an_export_is_brought_up_to_date_and_others_are_left_alone(tmp_path: Path, make_story: Make) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    other = optuna.create_study(storage=url, study_name="other")
    other.add_trial(optuna.trial.create_trial(value=3.0))
    story = make_story(trials=3)
    while len(story.machine.trials) < 2:
        story.step()
    book = keep(story, tmp_path)
    export(book, "shown", str(tmp_path / "study.db"), silent)
    before = optuna.load_study(study_name="shown", storage=url)
    ids = [trial._trial_id for trial in before.trials]
    before.set_user_attr("mine", 1)
    told = len(story.rows)
    story.play()
    held = book.hold("shown")
    held.append([row.event for row in story.rows[told:]])
    held.release()
    for _ in range(2):
        export(book, "shown", str(tmp_path / "study.db"), silent)
        after = optuna.load_study(study_name="shown", storage=url)
        assert [trial.state for trial in after.trials] == [Shown.COMPLETE] * 3
        assert [trial._trial_id for trial in after.trials][: len(ids)] == ids
        assert after._study_id == before._study_id
    assert optuna.load_study(study_name="other", storage=url).best_value == 3.0


def test_a_study_of_somebody_elses_is_refused_and_kept(tmp_path: Path, make_story: Make) -> None:
    database = str(tmp_path / "study.db")
    optuna.create_study(storage=f"sqlite:///{database}", study_name="shown").add_trial(
        optuna.trial.create_trial(value=3.0)
    )
    book = keep(make_story().play(), tmp_path)
    with pytest.raises(UserError, match="not made by Podium"):
        export(book, "shown", database, silent)
    assert optuna.load_study(study_name="shown", storage=f"sqlite:///{database}").best_value == 3.0


def test_databases_that_are_no_storage_are_refused(tmp_path: Path, make_story: Make) -> None:
    book = keep(make_story().play(), tmp_path)
    with pytest.raises(UserError, match="no Optuna storage: it has the tables"):
        export(book, "shown", str(tmp_path / "ledger.db"), silent)
    tables = sqlite3.connect(tmp_path / "ledger.db").execute("select name from sqlite_master where type = 'table'")
    assert {name for (name,) in tables} <= {*METADATA.tables, "sqlite_sequence"}
    (tmp_path / "text.db").write_text("no database, but more than a hundred bytes of text" * 9)
    with pytest.raises(UserError, match="cannot be opened as a database: file is not a database"):
        export(book, "shown", str(tmp_path / "text.db"), silent)
    with pytest.raises(UserError, match="unable to open database file"):
        export(book, "shown", str(tmp_path / "nowhere" / "study.db"), silent)
    with pytest.raises(UserError, match=r"nonsense://user:\*\*\*@host/x is no address of a database"):
        export(book, "shown", "nonsense://user:secret@host/x", silent)


def test_a_storage_of_a_newer_optuna_is_refused(tmp_path: Path, make_story: Make) -> None:
    book = keep(make_story().play(), tmp_path)
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="other")
    with sqlite3.connect(tmp_path / "study.db") as connection:
        connection.execute("update alembic_version set version_num = 'v99.0.0.a'")
    with pytest.raises(UserError, match=r"made by another version of Optuna.*pip install -U optuna"):
        export(book, "shown", str(tmp_path / "study.db"), silent)


def test_postgresql_holds_studies_too(tmp_path: Path, make_story: Make, postgresql: Any) -> None:
    url = postgresql.new_database()
    book = keep(make_story("asha_stop", faulty, trials=6).play(), tmp_path)
    for _ in range(2):
        done = export(book, "shown", url, silent)
        assert PASSWORD not in json.dumps(done)
    storage = RDBStorage(url.replace("postgresql:", "postgresql+psycopg:"))
    study = optuna.load_study(study_name="shown", storage=storage)
    assert len(study.trials) == 6
    assert study.trials[0].intermediate_values == {1: 1.0, 2: 0.5, 3: pytest.approx(1 / 3)}
    study.add_trial(optuna.trial.create_trial(value=3.0))
    export(book, "shown", url, silent)
    study = optuna.load_study(study_name="shown", storage=storage)
    assert [trial.number for trial in study.trials] == list(range(6))
    storage.remove_session()
    storage.engine.dispose()


def test_an_empty_sweep_is_an_empty_study(tmp_path: Path) -> None:
    book, spec = Book.at_home(tmp_path), toy_spec()
    book.hold("toy").append([launched(spec)])
    assert export(book, "toy", str(tmp_path / "study.db"), silent)["trials"] == 0
    assert optuna.load_study(study_name="toy", storage=f"sqlite:///{tmp_path / 'study.db'}").trials == []


def test_the_dashboard_serves_it(tmp_path: Path, make_story: Make) -> None:
    from optuna_dashboard import wsgi

    study = study_of(tmp_path, make_story("asha_stop", faulty, trials=6).play())
    application = wsgi(RDBStorage(f"sqlite:///{tmp_path / 'study.db'}"))

    def get(path: str) -> Any:
        told: list[str] = []
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "wsgi.input": io.BytesIO(), "QUERY_STRING": ""}
        body = b"".join(application(environ, lambda status, headers, info=None: told.append(status)))
        assert told == ["200 OK"], body
        return json.loads(body)

    (listed,) = get("/api/studies")["study_summaries"]
    assert listed["study_name"] == "shown"
    found = get(f"/api/studies/{listed['study_id']}")
    assert [trial["state"] for trial in found["trials"]] == [
        {"COMPLETE": "Complete", "PRUNED": "Pruned", "FAIL": "Fail"}[trial.state.name] for trial in study.trials
    ]
    assert found["objective_names"] == ["validation/loss"]
    assert found["has_intermediate_values"]
    first = found["trials"][0]
    assert {"key": "state", "value": "complete"} in first["user_attrs"]
    assert [each["name"] for each in first["params"]] == ["rate", "kind"]


def test_the_command_says_where_it_is(tmp_path: Path, make_story: Make) -> None:
    keep(make_story().play(), tmp_path)
    words = ["export", "shown", "--optuna", f"sqlite:///{tmp_path / 'study.db'}", "--home", str(tmp_path), "--json"]
    result = CliRunner().invoke(podium, words, catch_exceptions=False)
    done = json.loads(result.stdout.splitlines()[-1])
    assert (done["study"], done["trials"], done["storage"]) == ("shown", 3, f"sqlite:///{tmp_path / 'study.db'}")
    with pytest.raises(UserError, match="names no file or database"):
        CliRunner().invoke(podium, ["export", "shown", "--optuna", "sqlite://"], catch_exceptions=False)

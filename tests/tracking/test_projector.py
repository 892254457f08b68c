import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking_server import Server

from podium.errors import LeaseLost
from podium.sweep.messages import GangLost, InterruptRequested, Resumed, StopRequested
from podium.tracking.projector import Projector

Show = Callable[..., Projector]
MakeStory = Callable[..., Any]


def runs(tracking_uri: str) -> tuple[Run, dict[int, Run]]:
    """The parent and the children; fails if anything stands twice."""
    client = MlflowClient(tracking_uri)
    found = client.search_runs([client.get_experiment_by_name("shown").experiment_id], max_results=1000)
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    parents = [run for run in found if run not in children]
    assert len(parents) == 1
    assert all(run.data.tags["mlflow.parentRunId"] == parents[0].info.run_id for run in children)
    numbers = Counter(int(run.data.tags["podium.trial"]) for run in children)
    assert set(numbers.values()) <= {1}
    return parents[0], {int(run.data.tags["podium.trial"]): run for run in children}


def points(tracking_uri: str, run: Run, metric: str) -> list[tuple[int, float, int]]:
    history = MlflowClient(tracking_uri).get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value, point.timestamp) for point in history)


def everything(tracking_uri: str) -> list[Any]:
    """All that is shown, without the run ids that MLflow draws."""
    parent, children = runs(tracking_uri)
    shown = []
    names = {run.info.run_id: run.info.run_name for run in (parent, *children.values())}
    for run in (parent, *(children[number] for number in sorted(children))):
        tags = {
            key: value for key, value in run.data.tags.items() if key not in ("mlflow.parentRunId", "podium.best_run")
        }
        for run_id, name in names.items():
            tags["mlflow.note.content"] = tags["mlflow.note.content"].replace(run_id, name)
        metrics = {name: points(tracking_uri, run, name) for name in run.data.metrics}
        times = (run.info.start_time, run.info.end_time)
        shown.append([run.info.run_name, run.info.status, times, run.data.params, tags, metrics])
    return shown


def test_a_finished_sweep(
    make_story: MakeStory,
    show: Show,
    tracking_uri: str,
    facts: dict[str, Any],
    manifest: dict[str, Any],
) -> None:
    story = make_story().play()
    show(story, facts=facts)
    parent, children = runs(tracking_uri)
    assert (parent.info.run_name, parent.info.status) == ("shown", "FINISHED")
    assert parent.data.params["depth"] == "3"
    assert parent.data.tags["podium.best"] == "2"
    assert parent.data.metrics["objective"] == pytest.approx(1 / 9)
    best = f"[shown-0002](#/experiments/{parent.info.experiment_id}/runs/{children[2].info.run_id}?"
    assert f"Best is {best}" in parent.data.tags["mlflow.note.content"]
    assert sorted(children) == [0, 1, 2]
    child = children[1]
    assert (child.info.run_name, child.info.status) == ("shown-0001", "FINISHED")
    assert child.data.params == {"rate": "0.05", "kind": "b", "seed": str(story.machine.trials[1].seed)}
    assert [(step, value) for step, value, _ in points(tracking_uri, child, "validation/loss")] == [
        (1, 0.5),
        (2, 0.25),
        (3, pytest.approx(1 / 6)),
    ]
    assert {"objective", "best_epoch", "spending/device_s", "parameters"} <= set(child.data.metrics)
    tags = {"state": "complete", "rung": "3", "podium.sweep_id": "one", "team": "vision"}
    assert tags.items() <= child.data.tags.items()
    for run in (parent, child):
        dataset = run.inputs.dataset_inputs[0].dataset
        assert (dataset.name, dataset.digest) == ("digits.npz", manifest["digest"][:16])
        assert json.loads(dataset.profile)["class_names"] == ["cat", "dog"]
    assert facts["parent_run"] == parent.info.run_id
    assert {facts[f"run/{number}"] for number in children} == {run.info.run_id for run in children.values()}
    times = {row[1] * 1000 for row in story.rows}
    assert all(at in times for _, _, at in points(tracking_uri, child, "validation/loss"))


def test_the_parent_keeps_what_the_sweep_started_from(
    make_story: MakeStory, show: Show, tracking_uri: str, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "task.py").write_text("code = 1\n")
    show(make_story(tracking={"plots": True}).play(), code=tmp_path / "own")
    parent, _ = runs(tracking_uri)
    kept = Path(MlflowClient(tracking_uri).download_artifacts(parent.info.run_id, "", str(tmp_path)))
    assert (kept / "sweep.yaml").read_text() == "sweep: shown\n"
    assert json.loads((kept / "manifest.json").read_text()) == manifest
    assert json.loads((kept / "provenance.json").read_text()) == {
        "git": {"commit": "c0ffee"},
        "packages": {"torch": "2.13.0"},
        "digests": {"sweep": hashlib.sha256(b"sweep: shown\n").hexdigest(), "code": "", "data": ""},
    }
    assert (kept / "requirements.txt").read_text() == "torch==2.13.0\n"
    assert (kept / "code" / "task.py").read_text() == "code = 1\n"
    assert (kept / "code.diff").read_text() == "+a line"
    assert [row["trial"] for row in json.loads((kept / "trials.json").read_text())] == [0, 1, 2]
    assert len((kept / "trials.csv").read_text().splitlines()) == 4
    names = {path.name for path in (kept / "plots").iterdir()}
    plots = ("history", "learning_curves", "parallel_coordinates")
    assert names == {f"{name}.{suffix}" for name in plots for suffix in ("html", "png")}


def outcome_of_every_kind(number: int, epoch: int) -> Any:
    if number == 0 and epoch == 2:
        return RuntimeError("out of memory")
    return None if number == 1 else 1 / (number + 1) / epoch


def test_every_ending_of_a_trial(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story("asha_stop", outcome_of_every_kind, trials=8)
    while not any(trial.number == 6 for trial in story.machine.trials.values()):
        story.step()
    story.todo += story.tell(StopRequested(trial=6))
    show(story.play())
    parent, children = runs(tracking_uri)
    assert parent.info.status == "FINISHED"
    status = {
        "complete": "FINISHED",
        "stopped": "KILLED",
        "failed": "FAILED",
        "diverged": "FAILED",
        "cancelled": "KILLED",
    }
    shown = {number: run.data.tags["state"] for number, run in children.items()}
    assert shown == {number: str(trial.state) for number, trial in story.machine.trials.items()}
    assert {"failed", "diverged", "complete", "cancelled"} <= set(shown.values())
    assert all(run.info.status == status[shown[number]] for number, run in children.items())
    assert children[0].data.tags["reason"] == "exception after 1 attempt(s): out of memory"
    assert math.isnan(children[1].data.metrics["validation/loss"])


@pytest.mark.parametrize("size", [1, 7])
def test_watching_and_rebuilding_show_the_same(
    make_story: MakeStory,
    show: Show,
    tracking_uri: str,
    other_uri: str,
    size: int,
) -> None:
    story = make_story("asha", trials=9).play()
    show(story, size=size)
    show(story, tracking_uri=other_uri)
    assert everything(tracking_uri) == everything(other_uri)


def test_a_promoted_trial_has_one_run_for_its_whole_life(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story("asha", lambda number, epoch: 1 / (4 - number) / epoch, trials=4)
    while not any(trial.state == "paused" for trial in story.machine.trials.values()):
        story.step()
    show(story, finish=False, size=1)
    _, before = runs(tracking_uri)
    paused = next(number for number, run in before.items() if run.data.tags["state"] == "paused")
    assert before[paused].info.status == "RUNNING"
    show(story.play(), size=1)
    _, after = runs(tracking_uri)
    assert after[paused].info.run_id == before[paused].info.run_id
    assert {run.info.status for run in after.values()} == {"FINISHED", "KILLED"}
    assert after[0].data.tags["state"] == "complete"


@pytest.mark.parametrize("cut", [3, 9, 20])
def test_a_restart_in_the_middle_doubles_nothing(
    make_story: MakeStory,
    show: Show,
    tracking_uri: str,
    other_uri: str,
    cut: int,
) -> None:
    story = make_story("asha", trials=6)
    while len(story.rows) < cut:
        story.step()
    show(story, finish=False, size=2)
    show(story.play(), size=4)
    show(story)
    show(story, tracking_uri=other_uri)
    assert everything(tracking_uri) == everything(other_uri)


def test_a_run_cut_off_while_it_was_made_is_completed(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story().play()
    show(story)
    wanted = everything(tracking_uri)
    client = MlflowClient(tracking_uri)
    _, children = runs(tracking_uri)
    tags = {key: value for key, value in children[1].data.tags.items() if key != "mlflow.runName"}
    client.delete_run(children[1].info.run_id)
    client.create_run(children[1].info.experiment_id, children[1].info.start_time, tags, "shown-0001")
    show(story)
    assert everything(tracking_uri) == wanted


def test_doubles_of_a_repeated_request_are_deleted(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story().play()
    show(story)
    _, children = runs(tracking_uri)
    client = MlflowClient(tracking_uri)
    double = client.create_run(children[0].info.experiment_id, tags=children[0].data.tags)
    show(story)
    assert runs(tracking_uri)[1][0].info.run_id == children[0].info.run_id
    assert client.get_run(double.info.run_id).info.lifecycle_stage == "deleted"


def test_work_done_again_is_shown_once(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story(trials=1)
    for _ in range(2):
        story.step()
    first = story.rows[-5:-2]
    story.todo.clear()
    story.rows = [row for row in story.rows if row[2].kind != "advanced"]
    story.rows += [(sequence + 100, at + 100, event) for sequence, at, event in first]
    show(story, finish=False)
    _, children = runs(tracking_uri)
    assert [step for step, _, _ in points(tracking_uri, children[0], "validation/loss")] == [1, 2, 3]


def test_an_interrupted_sweep_is_shown_paused_and_goes_on(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story("asha", trials=4)
    while not any(trial.state == "paused" for trial in story.machine.trials.values()):
        story.step()
    story.todo.clear()
    story.tell(GangLost(gang=next(iter(story.machine.gangs))))
    story.tell(InterruptRequested())
    assert story.machine.state == "interrupted"
    show(story)
    parent, children = runs(tracking_uri)
    assert (parent.info.status, parent.data.tags["state"]) == ("RUNNING", "interrupted")
    assert {run.info.status for run in children.values()} == {"RUNNING"}
    assert parent.data.tags["reason"] == story.machine.reason != ""
    story.tell(Resumed(holder="h"))
    story.todo = story.machine.pending()
    show(story, finish=False)
    tags = runs(tracking_uri)[0].data.tags
    assert (tags["state"], tags["reason"]) == ("running", "")
    show(story.play())
    parent, children = runs(tracking_uri)
    assert (parent.info.status, parent.data.tags["state"]) == ("FINISHED", "finished")
    assert "RUNNING" not in {run.info.status for run in children.values()}


def test_files_of_a_trial_are_kept_with_its_run(
    make_story: MakeStory, show: Show, tracking_uri: str, tmp_path: Path
) -> None:
    folder = tmp_path / "artifacts" / "00000"
    folder.mkdir(parents=True)
    (folder / "figure.png").write_bytes(b"png")
    log = tmp_path / "trial-00000.log"
    log.write_text("epoch 1\n")
    (tmp_path / "empty.log").touch()
    paths = {0: [log, folder, tmp_path / "missing"], 1: [tmp_path / "empty.log"]}
    show(make_story().play(), files=lambda number: paths.get(number, ()))
    _, children = runs(tracking_uri)
    client = MlflowClient(tracking_uri)
    names = {number: {file.path for file in client.list_artifacts(run.info.run_id)} for number, run in children.items()}
    assert names == {0: {"trial-00000.log", "figure.png"}, 1: set(), 2: set()}


def test_the_trials_of_a_cohort_say_where_they_were_trained(
    make_story: MakeStory, show: Show, tracking_uri: str
) -> None:
    space = {"penalty.l1": {"float": [0.0, 0.2]}}
    loss = {"metric": "validation/loss", "direction": "minimize"}
    search = {"objective": loss, "space": space}
    story = make_story("asha", fuses=True, fuse=2, search=search, task="task.py:Mine")
    story.point = lambda number: {"penalty.l1": 0.1 * number}  # type: ignore[method-assign]
    show(story.play())
    _, children = runs(tracking_uri)
    names = ("podium.cohort", "podium.lane", "podium.width")
    assert [tuple(children[number].data.tags[name] for name in names) for number in range(3)] == [
        ("advance/1", "0", "2"),
        ("advance/1", "1", "2"),
        ("advance/3", "0", "1"),
    ]
    assert children[0].data.metrics["spending/device_s"] == 0.25
    assert children[0].data.tags["podium.strategy"] == "replicated"


def test_what_each_rank_used_is_among_the_system_metrics(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    show(make_story("asha").play())
    _, children = runs(tracking_uri)
    for rank, used in enumerate((10.0, 20.0)):
        assert children[0].data.metrics[f"system/rank_{rank}/memory_usage_megabytes"] == used


def test_a_failed_trial_says_why(make_story: MakeStory, show: Show, tracking_uri: str, tmp_path: Path) -> None:
    log = tmp_path / "trial-00001.log"
    log.write_text("the whole log")

    def outcome(number: int, epoch: int) -> Any:
        return RuntimeError("no such layer") if number < 2 else 1.0

    show(make_story(outcome=outcome).play(), files=lambda number: [log] if number == 1 else [tmp_path / "missing"])
    _, children = runs(tracking_uri)
    for number in (0, 1):
        tags = children[number].data.tags
        assert (tags["cause"], tags["podium.attempts"]) == ("exception", "exception 1")
        assert tags["reason"] == "exception after 1 attempt(s): no such layer"
    assert not {"cause", "podium.attempts"} & children[2].data.tags.keys()
    client = MlflowClient(tracking_uri)
    kept = Path(client.download_artifacts(children[0].info.run_id, "log_tail.txt", str(tmp_path)))
    assert kept.read_text() == "Traceback: no such layer"
    assert [file.path for file in client.list_artifacts(children[1].info.run_id)] == [log.name]


def test_children_move_to_the_parent_that_is_kept(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story().play()
    show(story)
    wanted = everything(tracking_uri)
    parent, _ = runs(tracking_uri)
    client = MlflowClient(tracking_uri)
    tags = {key: value for key, value in parent.data.tags.items() if key not in ("mlflow.runName", "state")}
    late = client.create_run(parent.info.experiment_id, parent.info.start_time - 1, tags, "shown")
    show(story)
    kept, _ = runs(tracking_uri)
    assert kept.info.run_id == late.info.run_id
    shown = everything(tracking_uri)
    shown[0][2] = wanted[0][2]  # the double began earlier
    assert shown == wanted


def test_what_a_server_made_too_late_is_deleted(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story().play()
    projector = show(story, finish=False)
    _, children = runs(tracking_uri)
    client = MlflowClient(tracking_uri)
    double = client.create_run(children[0].info.experiment_id, tags=children[0].data.tags)
    projector.finish(story.rows[-1][1] + 1, "finished", "", story.machine.trials, None)
    assert runs(tracking_uri)[1].keys() == {0, 1, 2}
    assert client.get_run(double.info.run_id).info.lifecycle_stage == "deleted"


def test_nothing_is_written_without_leave(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    asked = []

    def before() -> None:
        asked.append("")
        if len(asked) == 3:
            raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        show(make_story().play(), before=before)
    parent, children = runs(tracking_uri)
    assert parent.info.status == "RUNNING"
    assert list(children) == [0]


def test_a_deleted_experiment_comes_back(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    story = make_story().play()
    show(story)
    client = MlflowClient(tracking_uri)
    client.delete_experiment(client.get_experiment_by_name("shown").experiment_id)
    show(story)
    assert len(runs(tracking_uri)[1]) == 3


def test_several_objectives(make_story: MakeStory, show: Show, tracking_uri: str) -> None:
    goals = [{"metric": f"validation/{name}", "direction": "minimize"} for name in ("loss", "error")]
    search = make_story().spec.search.model_dump(mode="json", exclude_unset=True) | {"objective": goals}
    show(make_story(search=search, tracking={"plots": True}).play())
    _, children = runs(tracking_uri)
    assert {"objective/validation/loss", "objective/validation/error"} <= set(children[0].data.metrics)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    server = Server(tmp_path / "server")
    server.start()
    yield server.address
    server.kill()


@pytest.mark.slow
def test_a_server_is_shown_the_same(make_story: MakeStory, show: Show, tracking_uri: str, server: str) -> None:
    story = make_story("asha", trials=6).play()
    show(story)
    show(story, size=9, tracking_uri=server, artifacts=None)
    show(story, tracking_uri=server, artifacts=None)
    assert everything(server) == everything(tracking_uri)
    client = MlflowClient(server)
    assert "sweep.yaml" in {file.path for file in client.list_artifacts(runs(server)[0].info.run_id)}

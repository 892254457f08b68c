"""The command line: real sweeps in a folder of their own, in one process with their trials."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import jsonschema
import mlflow
import pytest
from click.testing import CliRunner
from wiring_cases import BLOBS_METRIC, QUICK, Outcome, paced, podium_anew, podium_here, write_quick

from podium.cli import podium as command_line
from podium.cli.output import spent_on

INLINE = ("--cluster", "inline")


def test_a_launch_ends_with_one_json_object_that_says_all(launched) -> None:
    _, outcome = launched
    assert outcome.code == 0, outcome.problems
    assert len(outcome.output.splitlines()) == 1
    summary = outcome.json
    assert summary["sweep"] == "blobs"
    assert summary["state"] == "finished"
    assert summary["trials"]["total"] == 4
    assert summary["best"]["value"] > 0.9
    assert set(summary["best"]) >= {"trial", "value", "epoch", "params", "run_id"}
    assert summary["startup_s"] > 0
    assert summary["wall_s"] > 0
    assert summary["tracking_uri"].startswith("sqlite:///")
    assert summary["model"]["name"] == "blobs"
    assert summary["model"]["version"] == "1"


def test_status_says_the_same_as_the_launch(launched) -> None:
    folder, outcome = launched
    assert podium_here(folder, "status", "blobs", "--json").json == outcome.json


def test_mlflow_shows_one_parent_and_one_finished_run_a_trial(launched) -> None:
    _, outcome = launched
    summary = outcome.json
    client = mlflow.MlflowClient(tracking_uri=summary["tracking_uri"])
    parent = client.get_run(summary["parent_run_id"])
    experiment = parent.info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert parent.info.status == "FINISHED"
    assert sorted(run.data.tags["podium.trial"] for run in children) == ["0", "1", "2", "3"]
    assert all(run.info.status in ("FINISHED", "KILLED") for run in children)
    best = next(run for run in children if run.info.run_id == summary["best"]["run_id"])
    history = client.get_metric_history(best.info.run_id, BLOBS_METRIC)
    assert [point.step for point in history] == [1, 2, 3]
    assert max(point.value for point in history) == summary["best"]["value"]
    assert parent.data.metrics["spending/cpu_hours"] == pytest.approx(
        sum(run.data.metrics["spending/cpu_hours"] for run in children)
    )
    assert parent.data.metrics["spending/cpu_hours"] == pytest.approx(summary["cpu_hours"])
    assert 0 < summary["cpu_hours"] * 3600 < summary["startup_s"] + summary["wall_s"]
    assert (summary["gpu_hours"], summary["cost"], summary["wasted_share"]) == (0, 0, 0)
    names = {artifact.path for artifact in client.list_artifacts(parent.info.run_id)}
    assert "plots" in names


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({}, ""),
        ({"gpu_hours": 12.3456}, "12.35 GPU hours"),
        (
            {"gpu_hours": 3.0, "cost": 7.5, "wasted_share": 0.125},
            "3 GPU hours, 7.5 by budget.prices, 12% of it in vain",
        ),
    ],
)
def test_what_was_spent_is_told_where_it_is_counted(figures: dict[str, float], text: str) -> None:
    assert spent_on({"gpu_hours": 0.0, "cost": 0.0, "wasted_share": 0.0, **figures}) == text


def test_launching_a_finished_sweep_again_does_nothing(launched) -> None:
    folder, outcome = launched
    again = podium_here(folder, "launch", "sweep.yaml", *INLINE, "--json")
    assert again.code == 0
    assert again.json == outcome.json
    assert "raise budget.trials" in again.problems


def test_a_sweep_that_has_spent_its_money_is_given_more(quick: Path) -> None:
    def launch(cost: float) -> Outcome:
        limit = (f"budget.cost={cost}", "budget.prices={cpu: 3600.0}")
        return podium_here(quick, "launch", "sweep.yaml", *limit, *INLINE, "--json")

    short = launch(1e-6)
    assert short.json["reason"].startswith("budget.cost 1e-06 reached at")
    assert "raise budget.cost to go on" in launch(1e-6).problems
    refused = launch(1e-7)
    assert (refused.code, "budget.cost: 1e-06 -> 1e-07" in refused.problems) == (2, True)
    assert launch(1e6).json["reason"] == "budget spent"
    assert "raise budget.trials to go on" in launch(1e6).problems


def test_a_changed_file_is_refused_with_the_difference(launched) -> None:
    folder, _ = launched
    outcome = podium_here(folder, "launch", "sweep.yaml", "network.width=32", *INLINE)
    assert outcome.code == 2
    assert "network.width: 16 -> 32" in outcome.problems
    assert "Traceback" not in outcome.problems


def test_a_model_that_had_no_champion_has_none_to_go_back_to(launched) -> None:
    folder, _ = launched
    nothing_before = podium_here(folder, "rollback", "blobs")
    assert nothing_before.code == 2
    assert "Traceback" not in nothing_before.problems


def test_compare_shows_only_what_differs_and_links_to_the_runs(launched) -> None:
    folder, outcome = launched
    comparison = podium_here(folder, "compare", "blobs", "--html", "report.html", "--json").json
    assert comparison["varying"] == ["initializer.scheme", "optimizer.learning_rate"] or comparison["varying"] == [
        "optimizer.learning_rate"
    ]
    assert comparison["trials"][0]["trial"] == outcome.json["best"]["trial"]
    assert outcome.json["best"]["run_id"] in comparison["url"]
    assert "4 trials: 4 reached epoch 1" in (folder / comparison["html"]).read_text()


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A folder in which the sweep `quick` has ended, begun where its user points and told to a command; its outcome."""
    text = QUICK.replace("  space:", "  points: [{x: 0.999}]\n  space:") + "notify: {command: 'cat > told.json'}\n"
    folder = write_quick(tmp_path_factory.mktemp("ended"), text)
    return folder, podium_here(folder, "launch", "sweep.yaml", *INLINE, "--json")


def test_list_and_logs_find_the_sweep(ended) -> None:
    folder, _ = ended
    listed = podium_here(folder, "list", "--json").json["sweeps"]
    assert [sweep["sweep"] for sweep in listed] == ["quick"]
    assert "step 1" in podium_here(folder, "logs", "0").output
    assert "step 1" in podium_here(folder, "logs", "quick/3", "--json").json["log"]
    missing = podium_here(folder, "logs", "99")
    assert missing.code == 2
    assert "it has 6" in missing.problems


def test_a_larger_budget_extends_and_keeps_what_ended(ended, tmp_path: Path) -> None:
    folder, first = ended
    copy = shutil.copytree(folder, tmp_path / "copy")
    second = podium_here(copy, "launch", "sweep.yaml", "budget.trials=9", *INLINE, "--json").json
    assert first.json["trials"]["total"] == 6
    assert second["trials"]["total"] == 9
    assert second["parent_run_id"] == first.json["parent_run_id"]
    client = mlflow.MlflowClient(tracking_uri=second["tracking_uri"])
    parent = client.get_run(second["parent_run_id"])
    assert len(client.search_runs([parent.info.experiment_id])) == 10


def test_the_best_is_sought_where_the_user_points(ended) -> None:
    _, outcome = ended
    assert outcome.json["best"]["params"]["x"] >= 0.999


def test_the_end_is_told_to_a_command(ended) -> None:
    folder, outcome = ended
    assert json.loads((folder / "told.json").read_text()) == outcome.json


def test_requests_for_a_sweep_that_is_over_are_refused(ended) -> None:
    folder, _ = ended
    assert podium_here(folder, "enqueue", "quick", "x=0.5").code == 3
    assert podium_here(folder, "stop", "quick").code == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["launch", "nowhere.yaml"], "nowhere.yaml"),
        (["launch", "sweep.yaml", "budget.trails=3"], "trials"),
        (["status", "nothing"], "known sweeps: none yet"),
        (["resume", "nothing"], "known sweeps: none yet"),
        (["enqueue", "nothing", "x=1"], "known sweeps: none yet"),
        (["logs", "0"], "no sweep"),
        (["launch"], "FILE"),
    ],
)
def test_a_mistake_is_one_clear_message_and_exit_code_2(quick: Path, arguments: list[str], said: str) -> None:
    outcome = podium_here(quick, *arguments)
    assert outcome.code == 2
    assert said in outcome.problems
    assert "Traceback" not in outcome.problems


def test_a_point_outside_the_space_is_refused_by_name(quick: Path) -> None:
    with launching_slowly(quick, "budget.trials=60") as process:
        wrong = podium_here(quick, "enqueue", "quick", "y=0.5")
        assert wrong.code == 2
        assert "y" in wrong.problems
        assert podium_here(quick, "enqueue", "quick", "x=0.5", "kind=fancy").code == 0
        assert podium_here(quick, "stop", "quick", "--json").code == 0
        assert process.wait(60) == 0
    summary = podium_here(quick, "status", "quick", "--json").json
    assert summary["state"] == "stopped"


def test_ctrl_c_leaves_a_sweep_that_can_be_resumed(quick: Path) -> None:
    with launching_slowly(quick) as process:
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "podium resume quick" in output
    assert podium_here(quick, "status", "quick", "--json").json["state"] == "interrupted"
    finished = podium_here(quick, "resume", "quick", *INLINE, "--json")
    assert finished.code == 0
    assert finished.json["trials"]["total"] == 6
    client = mlflow.MlflowClient(tracking_uri=finished.json["tracking_uri"])
    experiment = client.get_run(finished.json["parent_run_id"]).info.experiment_id
    assert len(client.search_runs([experiment])) == 7
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")


def test_a_killed_driver_is_resumed_with_the_same_trials(quick: Path) -> None:
    with launching_slowly(quick) as process:
        process.kill()
        process.wait()
    finished = podium_here(quick, "resume", "quick", *INLINE, "--json")
    assert finished.code == 0, finished.problems
    assert finished.json["trials"]["total"] == 6
    assert finished.json["state"] == "finished"
    client = mlflow.MlflowClient(tracking_uri=finished.json["tracking_uri"])
    experiment = client.get_run(finished.json["parent_run_id"]).info.experiment_id
    assert len(client.search_runs([experiment])) == 7
    assert not client.search_runs([experiment], "attributes.status = 'RUNNING'")


def test_a_second_driver_is_told_who_holds_the_sweep(quick: Path) -> None:
    with launching_slowly(quick, "budget.trials=60") as process:
        second = podium_here(quick, "launch", "sweep.yaml", *INLINE)
        assert second.code == 3
        assert f"process {process.pid}" in second.problems
        process.send_signal(signal.SIGINT)
        process.wait(60)


def test_a_task_that_always_fails_ends_the_sweep_with_the_reason(quick: Path) -> None:
    (quick / "train.py").write_text("def train(trial):\n    raise RuntimeError('no such thing')\n")
    outcome = podium_here(quick, "launch", "sweep.yaml", *INLINE, "--json")
    assert outcome.code == 1
    assert outcome.json["state"] == "failed"
    assert outcome.json["trials"]["failed"] == 5
    assert "no such thing" in outcome.json["reason"]
    assert "Traceback" in podium_here(quick, "logs", "0").output


def test_a_function_without_torch_has_none_and_another_gets_the_threads_it_is_lent(tmp_path: Path) -> None:
    train = """
import sys

def train(trial):
    before = "torch" in sys.modules
    import torch
    trial.report(1, {"score": 100 * before + torch.get_num_threads()})
"""
    write_quick(tmp_path, QUICK.replace("trials: 6", "trials: 1"), train)
    done = podium_anew(tmp_path, "launch", "sweep.yaml", "resources.cpus=1", *INLINE, "--json")
    assert (done.code, done.json["best"]["value"]) == (0, 1), done.problems


def test_a_function_that_never_reports_the_objective_is_told_what_it_reports(quick: Path) -> None:
    outcome = podium_here(quick, "launch", "sweep.yaml", "search.objective.metric=loss", *INLINE, "--json")
    assert outcome.code == 1
    assert "loss" in outcome.json["reason"]
    assert "score" in outcome.json["reason"]


def test_check_says_what_is_fusible_and_why(launched) -> None:
    folder, _ = launched
    report = podium_here(folder, "check", "sweep.yaml", "--json").json
    kinds = {entry["name"]: entry["kind"] for entry in report["parameters"]}
    assert kinds == {"optimizer.learning_rate": "fusible", "initializer.scheme": "fusible"}
    assert len(report["structures"]) == 1
    assert report["structures"][0]["parameters_count"] == 4 * 16 + 16 + 16 * 3 + 3
    assert podium_here(folder, "check", "sweep.yaml", "network.depth=0").code == 2


def test_the_schema_accepts_a_sweep_file(quick: Path) -> None:
    from ruamel.yaml import YAML

    schema = json.loads(podium_here(quick, "schema").output)
    jsonschema.validate(YAML(typ="safe").load((quick / "sweep.yaml").read_text()), schema)


def test_every_command_has_help_and_speaks_json() -> None:
    def help_of(*command: str) -> str:
        return CliRunner().invoke(command_line, [*command, "--help"]).output

    listed = help_of().partition("Commands:")[2].partition("Exit codes")[0]
    names = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert set(names) == {name for name, command in command_line.commands.items() if not command.hidden}
    groups = {name: group for name, group in command_line.commands.items() if isinstance(group, click.Group)}
    words = [(name,) for name in names if name not in groups]
    words += [(name, command) for name, group in groups.items() for command in group.commands]
    for command in words:
        text = help_of(*command)
        assert "--json" in text, command
        assert "Usage" in text, command


def test_the_schema_is_one_line_for_machines(quick: Path) -> None:
    outcome = podium_here(quick, "schema", "--json")
    assert len(outcome.output.splitlines()) == 1
    assert "search" in outcome.json["properties"]


@contextmanager
def launching_slowly(folder: Path, *overrides: str) -> Iterator["subprocess.Popen[str]"]:
    """A slow launch in the background that has begun to train, ended with the block."""
    (folder / "train.py").write_text(paced(0.3))
    command = [sys.executable, "-m", "podium", "launch", "sweep.yaml", *overrides, *INLINE]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            log = folder / ".podium" / "logs" / "quick" / "trial-00000.log"
            deadline = time.monotonic() + 300
            while not log.exists() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.05)
            assert log.exists()
            time.sleep(0.3)
            yield process
        finally:
            if process.poll() is None:
                process.kill()

"""Debian's Prometheus watches a real sweep on Ray; every query of every panel and rule gets an answer."""

import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import Process
from prometheus_server import FOLDER, Prometheus, missing, running
from wiring_cases import BLOBS, podium, podium_here, write_blobs

from podium import cli
from podium.wiring.place import Place

ROOT = FOLDER.parents[1]
FILES = sorted((ROOT / "dashboards" / "grafana" / "dashboards").glob("*.json"))
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in FILES}
PANELS = [
    pytest.param(target["expr"], id=f"{name}: {panel['title']}, {target['legendFormat']}")
    for name, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", ())
]
PATIENCE_S = 60.0

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"{missing()} is not installed; tests/services.sh does that")


def promtool(*words: str) -> None:
    done = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_configuration_and_rules() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml")
    promtool("check", "rules", "podium.rules.yml")


def test_alerts_come_when_they_should_and_only_then() -> None:
    promtool("test", "rules", "podium.rules.test.yml")


def test_what_alerts_advise_can_be_done() -> None:
    advised = set(re.findall("podium ([a-z]+)", "".join(path.read_text() for path in FOLDER.iterdir())))
    assert {"status", "resume", "sync", "targets"} <= advised <= cli.podium.commands.keys()


class Watched(NamedTuple):
    """A sweep that runs, and who watches it."""

    folder: Path
    driver: Process
    prometheus: Prometheus


def wait_for(happened: Callable[[], Any], what: str) -> Any:
    """What it gives, once that is something."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := happened()):
        assert time.monotonic() < deadline, what
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def watched(running_ray: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    from podium.execution.connection import ray

    folder = write_blobs(tmp_path_factory.mktemp("watched"))
    text = BLOBS.replace("trials: 4", "trials: 1000").replace("max: 3}", "max: 1000}") + "tracking: {plots: false}\n"
    (folder / "sweep.yaml").write_text(text)
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    exported = f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    words = ["launch", "sweep.yaml", "fuse=4", "--cluster", running_ray, "--metrics", "cluster:0"]
    driver = Process([sys.executable, "-m", "podium", *words], cwd=folder)
    telling = Process(
        [sys.executable, "-m", "podium", "targets", "--write", "targets.json", "--every", "1"], cwd=folder
    )
    try:
        with running(tmp_path_factory.mktemp("prometheus"), str(folder / "targets.json"), exported) as prometheus:
            yield Watched(folder, driver, prometheus)
    finally:
        telling.kill()
        driver.terminate()
        driver.wait(60)


def shown(prometheus: Prometheus, expression: str) -> list[tuple[Any, float]]:
    filled = expression.replace("$sweep", "blobs").replace("$__rate_interval", "15s")
    assert "$" not in filled
    return [(labels, value) for labels, value in prometheus.query(filled) if not math.isnan(value)]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("expression", PANELS)
def test_every_panel_has_something_to_show(watched: Watched, expression: str) -> None:
    wait_for(lambda: shown(watched.prometheus, expression), f"nothing comes of {expression}")


@pytest.mark.ray
@pytest.mark.slow
def test_sweeps_can_be_chosen(watched: Watched) -> None:
    (variable,) = DASHBOARDS["one_sweep"]["templating"]["list"]
    assert variable["query"]["query"] == "label_values(podium_sweep_info, sweep)"
    assert watched.prometheus.ask("label/sweep/values", **{"match[]": "podium_sweep_info"}) == ["blobs"]


@pytest.mark.ray
@pytest.mark.slow
def test_everybody_is_asked_and_every_rule_can_be_answered(watched: Watched) -> None:
    def health() -> dict[str, str]:
        targets = watched.prometheus.ask("targets")["activeTargets"]
        return {each["labels"]["job"]: each["health"] for each in targets}

    def rules() -> list[Any]:
        (group,) = watched.prometheus.ask("rules")["groups"]
        return list(group["rules"])

    all_up = dict.fromkeys(("podium", "ray", "prometheus"), "up")
    wait_for(lambda: health() == all_up, "not all are asked, or answer")
    assert len(rules()) == 6
    wait_for(lambda: {rule["health"] for rule in rules()} == {"ok"}, "a rule has no answer")
    firing = {rule["name"] for rule in rules() if rule["state"] == "firing"}
    assert firing <= {"DiskNearlyFull"}, "nothing is amiss but perhaps this machine's disk"


@pytest.mark.ray
@pytest.mark.slow
def test_what_is_told_is_what_the_status_says(watched: Watched) -> None:
    """Asked one after the other, Prometheus lies between two answers of the command line."""
    prometheus = watched.prometheus

    def drawn() -> float:
        return float(podium_here(watched.folder, "status", "blobs", "--json").json["trials"]["total"])

    least = wait_for(drawn, "no trial was drawn")
    time.sleep(2)  # by then Prometheus has asked again
    ((_, told),) = prometheus.query("sum(podium_trials)")
    assert least <= told <= drawn()
    ((labels, _),) = prometheus.query("podium_sweep_info")
    assert (labels["sweep"], labels["task"], labels["policy"]) == ("blobs", "classification", "asha")
    ((_, budget),) = prometheus.query("podium_budget_trials")
    assert budget == 1000
    ((_, lanes),) = prometheus.query("max_over_time(podium_lanes[1m])")
    assert lanes > 1, "stacks are told"
    shows = "podium_ledger_events - podium_tracker_backlog_events > 0"
    wait_for(lambda: prometheus.query(shows), "MLflow shows nothing of it")


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_that_has_ended_is_asked_no_more(watched: Watched) -> None:
    """The last of them, as it ends the sweep."""
    podium_here(watched.folder, "stop", "blobs")
    assert watched.driver.wait(120) == 0
    wait_for(lambda: not shown(watched.prometheus, 'up{job="podium"}'), "it is asked still")
    assert podium(watched.folder, "targets", "--json").json == {"targets": []}
    assert not shown(watched.prometheus, "podium_trials")
    facts = Place.of(watched.folder / ".podium").book().facts("blobs")
    assert facts.get("projected") == facts.get("shown")

"""Sweeps that are submitted to a Ray with a dashboard, as from a laptop, and steered from there; one Ray for all."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from empty_runs import make_empty_runs
from test_hosts import HERE, free_block, ports_of_a_host, started

from podium.ledger import Book
from podium.sweep.messages import Enqueued, Launched, Resumed
from podium.tracking.client import connect

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HANG_S = 300
"""Who waits for longer waits in vain."""

SWEEP = """
sweep: NAME
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 3, policy: none, epochs: {min: 1, max: 3}}
tracking: {plots: false}
"""
TRAIN = """
import time
from pathlib import Path

from pace import STEP_S


def train(trial):
    print("trained beside", sorted(path.name for path in Path(__file__).parent.iterdir()))
    for step in range(1, 4):
        time.sleep(STEP_S)
        trial.report(step, {"score": trial.params["x"] + step})
"""


@dataclass(frozen=True)
class Laptop:
    """Where commands are given: a folder and an environment that know of the cluster nothing but its address.

    Attributes:
        folder: The current one.
        environment: Of every command.
        home: The cluster's, where the tests look.
    """

    folder: Path
    environment: dict[str, str]
    home: Path

    def command(self, *arguments: str, cluster: str = "lab") -> list[str]:
        return [sys.executable, "-m", "podium", *arguments, "--cluster", cluster]

    def podium(self, *arguments: str, cluster: str = "lab", **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*arguments, cluster=cluster),
            cwd=self.folder,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )

    def json(self, *arguments: str, **more: str) -> dict[str, Any]:
        """What a command that has to succeed prints."""
        done = self.podium(*arguments, "--json", **more)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def write(self, name: str, step_s: float) -> str:
        """A folder with a sweep; returns the sweep file's name."""
        folder = self.folder / name
        folder.mkdir()
        (folder / "sweep.yaml").write_text(SWEEP.replace("NAME", name))
        (folder / "train.py").write_text(TRAIN)
        (folder / "pace.py").write_text(f"STEP_S = {step_s}\n")
        (folder / ".secret").write_text("not for others")
        return f"{name}/sweep.yaml"

    def count(self, sweep: str, kind: type) -> int:
        book = Book.at_home(self.home)
        try:
            return sum(isinstance(row.event, kind) for row in book.rows(sweep))
        finally:
            book.close()

    def driver(self, sweep: str) -> psutil.Process | None:
        """The process that drives a sweep."""
        book = Book.at_home(self.home)
        try:
            match = re.match(r"process (\d+) on ", book.holder(sweep) or "")
        finally:
            book.close()
        return psutil.Process(int(match[1])) if match else None


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextmanager
def running(command: list[str], laptop: Laptop) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        command, cwd=laptop.folder, env=laptop.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def laptop(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A cluster of one host, called lab on a laptop."""
    server, folder = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("laptop")
    home = server / "home"
    make_empty_runs(home / "mlflow.db")
    ours = ("RAY_", "PODIUM_", "MLFLOW_TRACKING", "XDG_")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    ports = {**ports_of_a_host(20000), "DASHBOARD_PORT": str(free_block(1, 29000))}
    token = server / "auth_token"
    of_head = {
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PODIUM_HOME": str(home),
        "PODIUM_STORE": str(server / "store"),
    }
    with started([str(root / "cluster" / "hosts" / "head.sh"), HERE], {**bare, **ports, **of_head}):
        laptop = Laptop(folder, {**bare, "XDG_CONFIG_HOME": str(folder / "config"), "LOGNAME": "ada"}, home)
        address = f"http://{HERE}:{ports['DASHBOARD_PORT']}"
        named = [sys.executable, "-m", "podium", "cluster", "add", "lab", address, "--token", str(token)]
        subprocess.run(named, env=laptop.environment, check=True, capture_output=True)
        yield laptop


def test_a_sweep_is_followed_to_its_end_and_looked_at_from_here(laptop: Laptop) -> None:
    done = laptop.podium("launch", laptop.write("first", 0.01), "budget.trials=4", "--json")
    assert done.returncode == 0, done.stderr
    assert "Submitting to lab" in done.stderr
    assert "4/4 trials" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["sweep"], summary["state"], summary["trials"]["total"]) == ("first", "finished", 4)
    assert not (laptop.folder / ".podium").exists()

    listed = {row["sweep"]: row for row in laptop.json("list")["sweeps"]}
    assert (listed["first"]["user"], listed["first"]["state"]) == ("ada", "finished")
    beside = laptop.json("logs", "first/0")["log"]
    assert ("pace.py" in beside, ".secret" in beside) == (True, False)
    assert "4/4 trials" in laptop.json("logs", "first/driver")["log"]
    compared = laptop.podium("compare", "first", "--html", "pages/report.html")
    assert compared.returncode == 0, compared.stderr
    assert "<svg" in (laptop.folder / "pages" / "report.html").read_text()

    launched = next(Book.at_home(laptop.home).rows("first")).event
    assert isinstance(launched, Launched)
    assert launched.provenance["folder"] == str(laptop.folder / "first")
    assert launched.provenance["host"]
    runs = connect(f"sqlite:///{laptop.home / 'mlflow.db'}").search_runs([summary_experiment(laptop)])
    assert {run.data.tags["mlflow.user"] for run in runs} == {"ada"}
    assert not list(laptop.home.parent.rglob(".secret"))


def summary_experiment(laptop: Laptop) -> str:
    found = connect(f"sqlite:///{laptop.home / 'mlflow.db'}").get_experiment_by_name("first")
    assert found is not None
    return str(found.experiment_id)


def test_two_users_sweeps_at_once_are_steered_and_outlive_their_terminals_and_drivers(laptop: Laptop) -> None:
    mine, others = laptop.write("mine", 0.3), laptop.write("others", 0.3)
    long = "budget.trials=500"
    with running(laptop.command("launch", mine, long), laptop) as launch:
        done = laptop.json("launch", others, long, "--detach", LOGNAME="grace")
        assert (done["sweep"], done["cluster"]) == ("others", "lab")
        shutil.copytree(laptop.folder / "others", laptop.folder / "copy")
        equal = laptop.podium("launch", "copy/sweep.yaml", long, "--detach")
        assert (equal.returncode, "others is driven already, for grace" in equal.stderr) == (0, True), equal.stderr
        other = laptop.podium("launch", "copy/sweep.yaml", "budget.trials=501", "--detach")
        assert (other.returncode, "was launched with something else" in other.stderr) == (3, True), other.stderr
        until(lambda: laptop.count("mine", Launched) and laptop.count("others", Launched), "both sweeps have begun")
        launch.send_signal(signal.SIGINT)
        _, said = launch.communicate(timeout=HANG_S)
    assert launch.returncode == 75
    assert "mine runs on lab without this terminal; `podium status mine --cluster lab` shows it" in said

    again = laptop.podium("launch", others, long, "--detach")
    assert (again.returncode, "others is driven already, for grace" in again.stderr) == (0, True), again.stderr
    changed = laptop.podium("launch", others, "budget.trials=501", "--detach")
    assert (changed.returncode, "was launched with something else" in changed.stderr) == (3, True), changed.stderr
    assert laptop.json("enqueue", "mine", "x=0.25")["parameters"] == {"x": 0.25}
    until(lambda: laptop.count("mine", Enqueued), "the driver has heard of it")

    killed, kept = laptop.driver("mine"), laptop.driver("others")
    assert killed is not None
    assert kept is not None
    killed.kill()
    guardian = kept.parent()
    assert guardian is not None
    assert "Guardian" in " ".join(guardian.cmdline())
    guardian.kill()
    until(lambda: laptop.count("mine", Resumed), "a driver that was killed goes on")
    until(lambda: laptop.count("others", Resumed), "a driver whose guardian was killed goes on")
    assert not kept.is_running()

    for name in ("mine", "others"):
        assert "will be stopped" in laptop.json("stop", name)["message"]
    followed = laptop.podium("logs", "--follow", "mine/driver")
    assert (followed.returncode, "stopped by " in followed.stdout) == (0, True), followed
    assert "the driver ended by SIGKILL; it is started again in 1 s" in followed.stdout
    until(lambda: not (laptop.driver("mine") or laptop.driver("others")), "the drivers have ended")
    listed = {row["sweep"]: row for row in laptop.json("list")["sweeps"]}
    assert [(listed[name]["user"], listed[name]["state"]) for name in ("mine", "others")] == [
        ("ada", "stopped"),
        ("grace", "stopped"),
    ]
    before = laptop.count("mine", Resumed)
    laptop.json("resume", "mine", "--detach")
    until(lambda: laptop.count("mine", Resumed) > before, "a stopped sweep goes on")
    assert "stopped by " in laptop.json("logs", "mine/driver")["log"]
    laptop.json("stop", "mine")
    until(lambda: not laptop.driver("mine"), "the driver has ended again")


def test_a_mistake_of_the_sweep_is_told_as_it_would_be_here(laptop: Laptop) -> None:
    file = laptop.write("wrong", 0.01)
    (laptop.folder / "wrong" / "train.py").write_text("import no_such_module\n")
    at_once = laptop.podium("launch", file, "budget.trials=none")
    assert (at_once.returncode, "Submitting" in at_once.stderr) == (2, False), at_once.stderr
    there = laptop.podium("launch", file)
    assert (there.returncode, "no_such_module" in there.stderr, "Traceback" in there.stderr) == (2, True, False)
    assert "no_such_module" in laptop.json("logs", "wrong/driver")["log"]
    missing = laptop.podium("status", "wrong")
    assert (missing.returncode, "there is no sweep 'wrong'" in missing.stderr) == (2, True)


def test_another_token_is_one_message(laptop: Laptop) -> None:
    config = json.loads(json.dumps(laptop.environment))
    clusters = Path(config["XDG_CONFIG_HOME"], "podium", "clusters.toml").read_text()
    address = clusters.split('"')[1]
    refused = laptop.podium("list", cluster=address, RAY_AUTH_TOKEN="0" * 64)
    assert (refused.returncode, "refuses the token" in refused.stderr) == (2, True), refused.stderr
    assert "0000" not in refused.stderr

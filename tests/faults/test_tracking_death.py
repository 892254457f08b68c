"""The tracking server is down, slow, broken or silent, or dies: training goes on, and in the end all is shown once."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from empty_runs import make_empty_runs
from forked import Process
from mlflow import MlflowClient
from mlflow.entities import Run
from tracking_server import Mode, Proxy, Server
from wiring_cases import Outcome, podium_here

from podium.ledger import Book
from podium.ledger.lease import this_process
from podium.wiring.place import Place
from podium.wiring.tracker import project

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TRIALS = 6
SWEEP = """
sweep: {name}
task: train.py:train
search:
  objective: {{metric: score, direction: maximize}}
  space: {{x: {{float: [0, 1]}}}}
budget: {{trials: {trials}, epochs: {{min: 1, max: 3}}, policy: none}}
tracking: {{plots: false}}
"""
BLOBS = """
sweep: {name}
task: classification
data:
  source: {{kind: arrays, path: blobs.npz}}
  batch_size: 32
network: {{kind: mlp, depth: 1, width: 8}}
search:
  objective: {{metric: validation/accuracy, direction: maximize}}
  space: {{optimizer.learning_rate: {{log: [1e-3, 1e-1]}}}}
budget: {{trials: {trials}, epochs: {{min: 1, max: 3}}, policy: none}}
"""
TRAIN = """
import json
import os
import time
from pathlib import Path


def train(trial):
    gate = Path(os.environ["GATE"])
    calls = len(list(gate.glob("call-*")))
    (gate / f"call-{calls}").touch()
    deadline = time.monotonic() + 300
    while calls == 3 and not (gate / "open").exists():
        assert time.monotonic() < deadline, "the gate was not opened"
        time.sleep(0.02)
    first = json.loads((trial.saved / "state.json").read_text()) + 1 if trial.saved else 1
    for step in range(first, 4):
        with trial.checkpoint() as folder:
            (folder / "state.json").write_text(json.dumps(step))
        trial.report(step, {"score": trial.params["x"] + step / 100})
"""


def until(condition: Callable[[], Any], seconds: float = 300) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


class Launch:
    """A launch of a sweep, whose fourth call of the training function waits until the gate is opened."""

    def __init__(self, folder: Path, name: str, tracking_uri: str, text: str = SWEEP) -> None:
        self.folder, self.name, self.tracking_uri = folder, name, tracking_uri
        folder.mkdir(exist_ok=True)
        (folder / "sweep.yaml").write_text(text.format(name=name, trials=TRIALS))
        (folder / "train.py").write_text(TRAIN)
        self.book = Book(f"sqlite:///{folder / 'home' / 'ledger.db'}")
        self._output, self._problems = folder / "output", folder / "problems"
        self.start("launch", "sweep.yaml")

    def start(self, *arguments: str) -> None:
        environment = os.environ | {"GATE": str(self.folder), "MLFLOW_TRACKING_URI": self.tracking_uri}
        with self._output.open("w") as output, self._problems.open("w") as problems:
            self.process = Process(
                [sys.executable, "-m", "podium", *arguments, "--home", "home", "--cluster", "inline", "--json"],
                cwd=self.folder,
                env=environment,
                stdout=output,
                stderr=problems,
            )

    def wait_at_gate(self) -> None:
        until(lambda: (self.folder / "call-3").exists() or self._must_run())

    def open_gate(self) -> None:
        (self.folder / "open").touch()

    def wait_for(self, text: str) -> None:
        until(lambda: text in self.problems)

    def wait_for_tracker(self) -> None:
        """Until no tracker is left."""
        until(lambda: self.book.holder(f"{self.name}/tracker") is None)

    def tracker(self) -> int:
        """The process id of the tracker, as soon as there is one."""
        holder = until(lambda: self.book.holder(f"{self.name}/tracker"))
        return int(re.match(r"process (\d+)", holder)[1])

    def end(self, code: int = 0) -> dict[str, Any]:
        """The summary in the end."""
        assert self.process.wait(150) == code, self.problems
        summary: dict[str, Any] = json.loads(self._output.read_text().splitlines()[-1])
        return summary

    def sync(self, tracking_uri: str) -> Outcome:
        return podium_here(self.folder, "sync", self.name, "--home", "home", "--tracking-uri", tracking_uri)

    @property
    def problems(self) -> str:
        return self._problems.read_text()

    def _must_run(self) -> None:
        assert self.process.poll() is None, self.problems


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    proxy = Proxy(server.address)
    yield proxy
    proxy.mode = "refuse"


@pytest.fixture
def launch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Launch]]:
    """Launches sweeps named after the test; ends what is left of them."""
    launches: list[Launch] = []
    name = re.sub(r"\W+", "-", request.node.name).strip("-")

    def make(tracking_uri: str, **options: Any) -> Launch:
        launches.append(Launch(tmp_path / "sweep", name, tracking_uri, **options))
        return launches[-1]

    yield make
    for each in launches:
        each.process.kill()
        each.process.wait()
        if each.book.holder(f"{name}/tracker") and each.tracker() != os.getpid():
            os.kill(each.tracker(), signal.SIGKILL)


def runs(tracking_uri: str, name: str) -> tuple[Run, dict[int, Run]]:
    """The parent and the children; fails if anything stands twice."""
    client = MlflowClient(tracking_uri)
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    children = [run for run in found if "podium.trial" in run.data.tags]
    (parent,) = [run for run in found if run not in children]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} <= {parent.info.run_id}
    numbers = Counter(int(run.data.tags["podium.trial"]) for run in children)
    assert set(numbers.values()) <= {1}, numbers
    return parent, {int(run.data.tags["podium.trial"]): run for run in children}


def require_ended(tracking_uri: str, name: str) -> list[Run]:
    """Every trial once, and no run left RUNNING; returns the trials' runs."""
    parent, children = runs(tracking_uri, name)
    assert (parent.info.status, parent.data.tags["state"]) == ("FINISHED", "finished")
    assert sorted(children) == list(range(TRIALS))
    assert {(run.info.status, run.data.tags["state"]) for run in children.values()} == {("FINISHED", "complete")}
    return list(children.values())


def require_all_shown(tracking_uri: str, name: str) -> None:
    """Every trial once, with every step once, its parameter, and no run left RUNNING."""
    client = MlflowClient(tracking_uri)
    for run in require_ended(tracking_uri, name):
        history = client.get_metric_history(run.info.run_id, "score")
        assert sorted(point.step for point in history) == [1, 2, 3]
        score = {point.step: point.value for point in history}
        assert score[3] == pytest.approx(float(run.data.params["x"]) + 0.03)


@pytest.mark.parametrize("mode", ["refuse", "error", "hang", "lose"])
def test_a_server_that_is_away_at_first_and_in_the_middle(launch, proxy: Proxy, server: Server, mode: Mode) -> None:
    proxy.mode = mode
    sweep = launch(proxy.address)
    sweep.wait_at_gate()  # three trials were trained without it
    proxy.mode = "pass"
    until(lambda: sweep.book.facts(sweep.name).get("run/2"))
    proxy.mode = mode
    sweep.open_gate()
    sweep.wait_for("Writing the last runs to MLflow")
    proxy.mode = "pass"
    sweep.end()
    assert "does not show everything" not in sweep.problems
    require_all_shown(server.address, sweep.name)


def test_a_launch_says_that_the_server_is_down(launch, proxy: Proxy, server: Server) -> None:
    sweep = launch(proxy.address)
    sweep.wait_at_gate()
    time.sleep(2.0)  # the tracker has tried twice, but the driver stands at the gate: it speaks when it goes on
    sweep.open_gate()
    began = time.monotonic()
    sweep.end()
    assert time.monotonic() - began < 60
    assert f"MLflow at {proxy.address} takes nothing for now" in sweep.problems
    assert "Connection refused" in sweep.problems
    assert f"`podium sync {sweep.name}` completes it" in sweep.problems
    sweep.wait_for_tracker()
    proxy.mode = "pass"
    done = sweep.sync(proxy.address)
    assert done.code == 0, done.problems
    assert "takes nothing" not in done.problems
    require_all_shown(server.address, sweep.name)


def test_a_slow_server_is_waited_for_while_it_gets_on(launch, proxy: Proxy, server: Server) -> None:
    proxy.slow_s = 0.2
    proxy.mode = "slow"
    sweep = launch(proxy.address)
    sweep.open_gate()
    sweep.end()
    assert re.search(rf"Writing the last runs to MLflow: \d of {TRIALS}", sweep.problems)
    require_all_shown(server.address, sweep.name)


def test_a_network_that_loses_one_call_of_ten(launch, proxy: Proxy, server: Server) -> None:
    proxy.mode = "flaky"
    sweep = launch(proxy.address)
    sweep.open_gate()
    sweep.end()
    require_all_shown(server.address, sweep.name)


def test_a_server_that_is_killed_and_comes_back(launch, server: Server) -> None:
    sweep = launch(server.address)
    sweep.wait_at_gate()
    until(lambda: sweep.book.facts(sweep.name).get("run/1"))
    server.kill()
    sweep.open_gate()
    sweep.wait_for("Writing the last runs to MLflow")
    server.start()
    sweep.end()
    require_all_shown(server.address, sweep.name)


def test_a_server_that_says_no_is_not_asked_for_ever(launch, proxy: Proxy, server: Server) -> None:
    proxy.mode = "deny"
    sweep = launch(proxy.address)
    sweep.open_gate()
    sweep.end()
    assert f"MLflow at {proxy.address} refuses what it is told" in sweep.problems
    assert "Traceback" not in (sweep.folder / "home" / "logs" / sweep.name / "tracker.log").read_text()
    assert proxy.calls == 2
    proxy.mode = "pass"
    assert sweep.sync(proxy.address).code == 0
    require_all_shown(server.address, sweep.name)


def test_a_user_need_not_wait_for_a_slow_server(launch, proxy: Proxy, server: Server) -> None:
    proxy.mode = "slow"
    sweep = launch(proxy.address)
    sweep.open_gate()
    sweep.wait_for("Writing the last runs to MLflow")
    sweep.process.send_signal(signal.SIGINT)
    summary = sweep.end()
    assert summary["state"] == "finished"
    assert "goes on by itself" in sweep.problems
    proxy.mode = "pass"
    until(lambda: sweep.book.facts(sweep.name).get("shown"))  # it may not even have begun
    sweep.wait_for_tracker()
    require_all_shown(server.address, sweep.name)


def test_a_killed_tracker_is_started_again(launch, server: Server) -> None:
    sweep = launch(server.address)
    sweep.wait_at_gate()
    until(lambda: sweep.book.facts(sweep.name).get("run/1"))
    first = sweep.tracker()
    os.kill(first, signal.SIGKILL)
    sweep.open_gate()
    sweep.end()
    require_all_shown(server.address, sweep.name)


def test_a_killed_driver_goes_on_with_the_same_runs(launch, server: Server) -> None:
    sweep = launch(server.address)
    sweep.wait_at_gate()
    until(lambda: sweep.book.facts(sweep.name).get("run/3"))
    sweep.process.kill()
    sweep.process.wait()
    sweep.wait_for_tracker()
    parent, before = runs(server.address, sweep.name)
    assert {number: run.info.status for number, run in before.items() if number < 3} == dict.fromkeys(
        range(3), "FINISHED"
    )
    sweep.start("resume", sweep.name)
    sweep.end()
    require_all_shown(server.address, sweep.name)
    again, after = runs(server.address, sweep.name)
    assert again.info.run_id == parent.info.run_id
    assert {number: after[number].info.run_id for number in before} == {n: run.info.run_id for n, run in before.items()}


def test_a_tracker_that_was_taken_over_writes_nothing_more(
    launch, proxy: Proxy, server: Server, tmp_path: Path
) -> None:
    sweep = launch(server.address)
    sweep.open_gate()
    sweep.end()
    proxy.mode = "hang"
    command = [sys.executable, "-m", "podium", "sync", sweep.name, "--home", "home", "--tracking-uri", proxy.address]
    process = Process(command, cwd=sweep.folder)
    proxy.mode = "slow"  # it is on its way to the first run
    until(lambda: sweep.book.holder(f"{sweep.name}/tracker"))
    until(lambda: proxy.calls > 1)
    with closing(sqlite3.connect(sweep.folder / "home" / "ledger.db")) as ledger, ledger:
        ledger.execute(
            "UPDATE leases SET holder = ?, holder_epoch = holder_epoch + 1 WHERE sweep = ?",
            (this_process(), f"{sweep.name}/tracker"),
        )
    proxy.mode = "pass"
    _, problems = process.communicate(timeout=300)
    assert process.returncode == 3, problems
    assert "was taken over" in problems
    parent, _ = runs(server.address, sweep.name)
    assert parent.info.status == "FINISHED"


def test_a_tracker_that_comes_after_the_end_was_shown_leaves_it_alone(launch, tmp_path: Path) -> None:
    """As one does whose driver was killed, when another has gone on to the end and has a tracker of its own."""
    tracking_uri = make_empty_runs(tmp_path / "mlflow.db")
    sweep = launch(tracking_uri)
    sweep.open_gate()
    sweep.end()
    place = Place.of(sweep.folder / "home", tracking_uri=tracking_uri)
    client, parent = MlflowClient(tracking_uri), runs(tracking_uri, sweep.name)[0].info.run_id
    client.set_tag(parent, "state", "touched")
    project(sweep.book, sweep.name, place, follow=True)
    assert client.get_run(parent).data.tags["state"] == "touched"
    project(sweep.book, sweep.name, place, follow=True, beyond=sweep.book.last(sweep.name))  # it is of a later launch
    assert client.get_run(parent).data.tags["state"] == "finished"
    other = Place.of(sweep.folder / "home", tracking_uri=make_empty_runs(tmp_path / "other.db"))
    project(sweep.book, sweep.name, other, follow=True)
    require_all_shown(other.tracking_uri, sweep.name)


def test_every_run_is_rebuilt_in_an_empty_server(launch, server: Server, tmp_path: Path) -> None:
    sweep = launch(server.address)
    sweep.open_gate()
    sweep.end()
    other = make_empty_runs(tmp_path / "other.db")
    shown = []
    for _ in range(2):
        assert sweep.sync(other).code == 0
        require_all_shown(other, sweep.name)
        shown.append(everything(other, sweep.name))
    assert shown[0] == shown[1] == everything(server.address, sweep.name)


def test_data_model_and_plots_are_rebuilt_too(launch, tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, 300)
    points = np.eye(4)[labels] + source.normal(0, 0.5, (300, 4))
    np.savez(tmp_path / "sweep" / "blobs.npz", x=points.astype(np.float32), y=labels)
    first, other, third = (make_empty_runs(tmp_path / f"{name}.db") for name in ("first", "other", "third"))
    sweep = launch(first, text=BLOBS)
    version = sweep.end()["model"]["version"]
    done = sweep.sync(other)
    assert done.code == 0, done.problems
    shown = []
    for tracking_uri in (first, other):
        shown.append(everything(tracking_uri, sweep.name))
        client = MlflowClient(tracking_uri, tracking_uri)
        assert [str(one.version) for one in client.search_model_versions(f"name = '{sweep.name}'")] == [version]
        experiment = client.get_experiment_by_name(sweep.name).experiment_id
        assert len(client.search_logged_models([experiment])) == 1
        parent, children = runs(tracking_uri, sweep.name)
        assert "plots" in {file.path for file in client.list_artifacts(parent.info.run_id)}
        assert all(run.inputs.dataset_inputs for run in children.values())
    assert shown[0] == shown[1]
    shutil.rmtree(sweep.folder / "home" / "shards")
    done = sweep.sync(third)
    assert done.code == 0, done.problems
    assert f"the best model of '{sweep.name}' was not registered" in done.problems
    require_ended(third, sweep.name)


def everything(tracking_uri: str, name: str) -> list[Any]:
    """All that is shown, without the ids that MLflow draws."""
    client = MlflowClient(tracking_uri)
    parent, children = runs(tracking_uri, name)
    shown = []
    names = {run.info.run_id: str(run.info.run_name) for run in (parent, *children.values())}
    experiment = parent.info.experiment_id
    names |= {
        f"/experiments/{experiment}/": "/experiments/its/",
        f"experiments=%5B%22{experiment}%22": "experiments=its",
    }
    for run in (parent, *(children[number] for number in sorted(children))):
        tags = {
            key: value for key, value in run.data.tags.items() if key not in ("mlflow.parentRunId", "podium.best_run")
        }
        for drawn, each in names.items():
            tags["mlflow.note.content"] = tags["mlflow.note.content"].replace(drawn, each)
        points = {
            metric: sorted((p.step, p.value, p.timestamp) for p in client.get_metric_history(run.info.run_id, metric))
            for metric in run.data.metrics
        }
        files = {file.path: file.file_size for file in client.list_artifacts(run.info.run_id)}
        times = (run.info.start_time, run.info.end_time)
        shown.append([run.info.run_name, run.info.status, times, run.data.params, tags, points, files])
    return shown


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Holds the write lock of an SQLite file."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_locked_file_of_runs(launch, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    tracking_uri = make_empty_runs(database)
    with locked(database):
        sweep = launch(tracking_uri)
        sweep.wait_at_gate()
        sweep.open_gate()
        sweep.wait_for("Writing the last runs to MLflow")
    sweep.end()
    require_all_shown(tracking_uri, sweep.name)


def test_a_full_disk_under_the_runs(launch, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        tracking_uri = make_empty_runs(folder / "mlflow.db")
        filler = folder / "filler"
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        sweep = launch(tracking_uri)
        sweep.wait_at_gate()
        log = sweep.folder / "home" / "logs" / sweep.name / "tracker.log"
        until(lambda: "takes nothing for now" in log.read_text())
        filler.unlink()
        sweep.open_gate()
        sweep.end()
        require_all_shown(tracking_uri, sweep.name)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)

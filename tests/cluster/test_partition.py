"""Two hosts that share nothing but a network and an S3 server: one of them dies, is cut off, comes back."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from empty_runs import make_empty_runs
from faults.verdict import assert_nothing_lost
from namespaces import BUCKET, HANG_S, HEAD, ROOT, WORKER, Host, Hosts, two_hosts, until

from podium.sweep.messages import Event, GangLost, Progress, Saved
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SCRIPTS = ROOT / "cluster" / "hosts"
STORE = f"s3://{BUCKET}/tests"
STARTED = "Ray runtime started"
STARTS = 3
STEPS, SAVED_EVERY = 20, 2

GONE_S = 15
"""No worker that nobody can reach is left for longer: `pulse.GONE_S`, and what a busy machine adds."""

HEAD_CPUS, WORKER_CPUS = 2, 3

PACED = f"""
sweep: NAME
task: train.py:train
search:
  objective: {{metric: score, direction: maximize}}
  space: {{x: {{float: [0, 1]}}}}
budget: {{trials: 12, policy: none, epochs: {{min: 1, max: {STEPS}}}}}
resources: {{cpus: {HEAD_CPUS}}}
tracking: {{plots: false}}
"""
"""One gang fits on each host."""

TRAIN = f"""
import socket
import time
from pathlib import Path


def train(trial):
    first = int((trial.saved / "step").read_text()) + 1 if trial.saved else 1
    for step in range(first, {STEPS + 1}):
        time.sleep(0.01 if (Path.home() / "hurry").exists() else 0.5)
        if step % {SAVED_EVERY} == 0:
            with trial.checkpoint() as folder:
                (folder / "step").write_text(str(step))
        trial.report(step, {{"score": trial.params["x"] * step, "on_worker": socket.gethostname() == "worker"}})
"""
PAIRS = f"""
import socket
import time
from pathlib import Path

import torch
import torch.distributed as dist


def train(trial):
    first = int((trial.saved / "step").read_text()) + 1 if trial.saved else 1
    for step in range(first, {STEPS + 1}):
        time.sleep(0.01 if (Path.home() / "hurry").exists() else 0.5)
        on_worker = torch.tensor(float(socket.gethostname() == "worker"))
        dist.all_reduce(on_worker)
        if step % {SAVED_EVERY} == 0:
            with trial.checkpoint() as folder:
                (folder / "step").write_text(str(step))
        trial.report(step, {{"score": trial.params["x"] * step, "on_worker": float(on_worker)}})
"""
BLOBS = f"""
sweep: blobs
task: classification
data: {{source: {{kind: arrays, path: blobs.npz}}, batch_size: 32}}
network: {{kind: mlp, depth: 1, width: 16}}
search:
  objective: {{metric: validation/accuracy, direction: maximize}}
  space: {{optimizer.learning_rate: {{log: [1e-3, 1e-1]}}}}
budget: {{trials: 4, epochs: {{min: 1, max: 3}}}}
tracking: {{plots: false}}
resources: {{cpus: {WORKER_CPUS}}}
"""
"""A gang fits on the second host alone."""


class Sweep:
    """A sweep that is launched on the first host, as its ledger tells it meanwhile."""

    def __init__(self, hosts: Hosts, name: str, files: Path, *overrides: str) -> None:
        self._hosts, self._name = hosts, name
        shutil.copytree(files, hosts.head.disk / name)
        for host in (hosts.head, hosts.worker):
            (host.disk / "hurry").unlink(missing_ok=True)
        command = [*podium("launch", f"{name}/sweep.yaml", *overrides), "--store", STORE, "--cluster", f"{HEAD}:6379"]
        self.driver = hosts.head.start(command, f"{name}.log")
        self._place = Place.of(home=hosts.head.disk / "podium", store=STORE)

    def events(self) -> list[Event]:
        book = self._place.book()
        try:
            return [row.event for row in book.rows(self._name)]
        finally:
            book.close()

    def progress(self, gang: str) -> list[Progress]:
        return [event for event in self.events() if isinstance(event, Progress) and event.gang == gang]

    def gangs_on_worker(self) -> list[str]:
        """The gangs that have trained on the second host, in the order in which they began."""
        told = (event for event in self.events() if isinstance(event, Progress))
        return list(dict.fromkeys(event.gang for event in told if event.lanes[0].metrics["on_worker"]))

    def around_loss(self, gang: str) -> tuple[list[Event], list[Event]] | None:
        """What was told before a gang was lost, and from then on; None while it is not lost."""
        events = self.events()
        lost = [isinstance(event, GangLost) and event.gang == gang for event in events]
        return (events[: lost.index(True)], events[lost.index(True) :]) if any(lost) else None

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> float:
        """Waits for a condition that has to come true while the sweep runs."""

        def holds() -> object:
            assert self.driver.poll() is None, f"the sweep has ended before {what}: {self.said()}"
            return condition()

        return until(holds, seconds, what)

    def finish(self) -> None:
        """Lets the trials hurry, and judges what they leave."""
        for host in (self._hosts.head, self._hosts.worker):
            (host.disk / "hurry").touch()
        assert self.driver.wait(HANG_S) == 0, self.said()
        assert_nothing_lost(self._place, self._name)

    def finish_without(self, gang: str) -> None:
        """Like `finish`; nothing that a lost gang told after its loss has reached the ledger."""
        self.finish()
        _, (_, *after) = self.around_loss(gang) or ([], [])
        assert not [event for event in after if getattr(event, "gang", None) == gang]

    def said(self) -> str:
        return (self._hosts.head.disk / f"{self._name}.log").read_text()


def podium(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "podium", *arguments, "--home", "podium"]


def start_ray(host: Host, script: str, *arguments: str) -> "subprocess.Popen[str]":
    """Starts Ray by one of the scripts of cluster/hosts, and waits until it has joined.

    Ray gives up where its own processes take more than some seconds to start; it is started again then, as by systemd.
    """
    log = host.disk / "ray.log"
    for _ in range(STARTS):
        log.write_text("")
        ray = host.start([str(SCRIPTS / script), *arguments], log.name)

        def is_over(ray: "subprocess.Popen[str]" = ray) -> bool:
            return ray.poll() is not None or STARTED in log.read_text()

        until(is_over, HANG_S, "Ray has started, or ended")
        if ray.poll() is None:
            return ray
        host.kill("ray")
    raise AssertionError(log.read_text())


def join(hosts: Hosts) -> "subprocess.Popen[str]":
    return start_ray(hosts.worker, "worker.sh", WORKER, HEAD, "--num-cpus", str(WORKER_CPUS))


def begin(hosts: Hosts, name: str, folder: Path, *overrides: str) -> tuple[Sweep, str]:
    """Launches a paced sweep, and waits until a gang on the second host is in the middle of a trial."""
    (folder / "sweep.yaml").write_text(PACED.replace("NAME", name))
    (folder / "train.py").write_text(TRAIN)
    sweep = Sweep(hosts, name, folder, *overrides)
    sweep.until(sweep.gangs_on_worker, HANG_S, "the second host trains")
    (gang,) = sweep.gangs_on_worker()
    sweep.until(lambda: 4 < len(sweep.progress(gang)) % STEPS < 12, HANG_S, "it is in the middle of a trial")
    return sweep, gang


def wait_until_it_goes_on(sweep: Sweep, gang: str) -> None:
    """Waits until a gang is lost and another one goes on with its trial, and checks from where."""
    trial = sweep.progress(gang)[-1].lanes[0].trial

    def first_after_loss() -> Progress | None:
        _, after = sweep.around_loss(gang) or ([], [])
        told = (event for event in after if isinstance(event, Progress))
        return next((event for event in told if event.lanes[0].trial == trial), None)

    sweep.until(lambda: sweep.around_loss(gang), HANG_S, "the driver knows that the gang is lost")
    sweep.until(first_after_loss, HANG_S, f"trial {trial} goes on")
    before, (loss, *_) = sweep.around_loss(gang) or ([], [])
    assert isinstance(loss, GangLost)
    assert loss.cause == "worker_lost"
    saved = [event.epoch for event in before if isinstance(event, Saved) and event.trial == trial]
    first = first_after_loss()
    assert first is not None
    assert first.lanes[0].epoch == saved[-1] + 1


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def with_head(hosts: Hosts) -> Hosts:
    """Ray runs on the first host."""
    make_empty_runs(hosts.head.disk / "podium" / "mlflow.db")
    start_ray(hosts.head, "head.sh", HEAD, "--num-cpus", str(HEAD_CPUS), "--include-dashboard=false")
    return hosts


@pytest.fixture
def cluster(with_head: Hosts) -> Hosts:
    """Ray runs on both hosts; whoever ended it on the second has it started again there."""
    if not with_head.worker.started or with_head.worker.started[-1].poll() is not None:
        shutil.copytree(with_head.head.disk / ".ray", with_head.worker.disk / ".ray", dirs_exist_ok=True)
        join(with_head)
    return with_head


def test_hosts_share_nothing(hosts: Hosts) -> None:
    assert hosts.head.run(["sh", "-c", "touch $HOME/mine /dev/shm/mine; hostname"]).stdout == "head\n"
    assert (hosts.head.disk / "mine").exists()
    seen = hosts.worker.run(["sh", "-c", "hostname; ls $HOME /dev/shm; touch /tmp/ours"])
    assert "worker" in seen.stdout
    assert "mine" not in seen.stdout
    assert "Read-only" in seen.stderr
    assert not hosts.worker.processes("hosts.head")


def test_a_host_with_another_token_cannot_join(with_head: Hosts) -> None:
    worker = with_head.worker
    token = worker.disk / ".ray" / "auth_token"
    token.parent.mkdir(0o700)
    token.write_text("0" * 64)
    token.chmod(0o600)
    refused = worker.run(["env", "RAY_NUM_REDIS_GET_RETRIES=2", str(SCRIPTS / "worker.sh"), WORKER, HEAD])
    assert refused.returncode != 0
    assert "Token" in refused.stdout + refused.stderr
    assert not worker.processes("raylet")


def test_the_doctor_asks_every_host(cluster: Hosts) -> None:
    """Each host has another disk under the path of the store, and no other complaint."""
    command = [*podium("doctor", "--json"), "--cluster", f"{HEAD}:6379", "--store", str(cluster.head.home / "store")]
    outcome = cluster.head.run(command, HANG_S)
    assert outcome.returncode == 1, outcome.stderr
    findings = json.loads(outcome.stdout.splitlines()[-1])["findings"]
    wrong = [finding for finding in findings if not finding["is_well"]]
    assert {finding["what"] for finding in wrong} == {"store"}, wrong
    assert "does not find what" in wrong[0]["found"]
    assert "mount the same folder" in wrong[0]["fix"]
    told = {finding["what"]: finding["found"] for finding in findings}
    assert told["hosts"] == "2 answer: head, worker"
    assert told["ranks"].startswith("gloo between neighbours")
    assert not list(cluster.head.disk.rglob(".probe-*")), "no probe is left"
    assert not list(cluster.worker.disk.rglob(".probe-*"))


def test_the_doctor_tells_a_wrong_token_at_once(with_head: Hosts) -> None:
    command = [*podium("doctor", "--json"), "--cluster", f"{HEAD}:6379"]
    outcome = with_head.head.run(["env", f"RAY_AUTH_TOKEN={'0' * 64}", *command])
    assert outcome.returncode == 1, outcome.stderr
    last = json.loads(outcome.stdout.splitlines()[-1])["findings"][-1]
    assert (last["what"], last["is_well"]) == ("token", False)
    assert "auth_token" in last["fix"]
    assert "0" * 64 not in outcome.stdout + outcome.stderr


def test_all_that_a_trial_needs_travels(cluster: Hosts, tmp_path: Path) -> None:
    """The head trains nothing, so that shards, code, checkpoints and logs all have to reach the other host."""
    (tmp_path / "sweep.yaml").write_text(BLOBS)
    random = np.random.default_rng(0)
    targets = random.integers(0, 3, 300)
    inputs = random.normal(size=(300, 4)) + 2 * np.eye(3, 4)[targets]
    np.savez(tmp_path / "blobs.npz", x=inputs.astype(np.float32), y=targets)
    sweep = Sweep(cluster, "blobs", tmp_path)
    sweep.finish()
    assert list((cluster.worker.disk / "podium" / "cache" / "shards").glob("*/train-*.arrow"))
    assert not (cluster.worker.disk / "podium" / "ledger.db").exists()
    logs = cluster.head.run([*podium("logs", "blobs/0"), "--store", STORE])
    assert logs.returncode == 0, logs.stderr


def test_a_host_that_dies_loses_nothing_and_gets_work_again(cluster: Hosts, tmp_path: Path) -> None:
    sweep, gang = begin(cluster, "dies", tmp_path)
    cluster.worker.kill("ray")
    wait_until_it_goes_on(sweep, gang)
    join(cluster)
    sweep.until(lambda: len(sweep.gangs_on_worker()) == 2, HANG_S, "the host that came back trains")
    sweep.finish_without(gang)


def test_a_host_that_is_cut_off_for_a_minute_loses_nothing_and_gets_work_again(cluster: Hosts, tmp_path: Path) -> None:
    ray = cluster.worker.started[-1]
    sweep, gang = begin(cluster, "cut-off", tmp_path, "budget.trials=24")
    with cluster.cut_off():
        began = time.monotonic()
        until(lambda: not cluster.worker.processes("ray::Rank"), GONE_S, "the workers that nobody can reach are gone")
        wait_until_it_goes_on(sweep, gang)
        sweep.until(lambda: time.monotonic() - began > 60, HANG_S, "a minute has passed")
    until(lambda: ray.poll() is not None, HANG_S, "Ray has ended on the host that it had given up")
    join(cluster)
    sweep.until(lambda: len(sweep.gangs_on_worker()) == 2, HANG_S, "the host that came back trains")
    sweep.finish_without(gang)


def test_a_host_that_loses_the_driver_for_moments_and_not_the_store(cluster: Hosts, tmp_path: Path) -> None:
    """What its workers save when nobody hears of it any more is not used."""
    ray = cluster.worker.started[-1]
    sweep, gang = begin(cluster, "parted", tmp_path)
    with cluster.parted():
        until(lambda: not cluster.worker.processes("ray::Rank"), GONE_S, "the workers that nobody can reach are gone")
    wait_until_it_goes_on(sweep, gang)
    sweep.until(lambda: len(sweep.gangs_on_worker()) == 2, HANG_S, "the host trains again")
    assert ray.poll() is None, "Ray itself has not noticed"
    sweep.finish_without(gang)


def test_a_trial_with_a_rank_on_each_host_goes_on_when_one_of_them_dies(cluster: Hosts, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(PACED.replace("NAME", "pairs"))
    (tmp_path / "train.py").write_text(PAIRS)
    sweep = Sweep(cluster, "pairs", tmp_path, "resources={ranks: 2, hosts: spread}", "budget.trials=4")

    def ranks_on_worker() -> list[float | None]:
        told = [event for event in sweep.events() if isinstance(event, Progress)]
        return [lane.metrics["on_worker"] for event in told for lane in event.lanes]

    sweep.until(lambda: ranks_on_worker().count(1.0) > 4, HANG_S, "ranks on both hosts train a trial")
    cluster.worker.kill("ray")
    sweep.until(lambda: 0.0 in ranks_on_worker(), HANG_S, "ranks on the host that is left train on")
    sweep.finish()
    assert any(isinstance(event, GangLost) for event in sweep.events())

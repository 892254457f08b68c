"""The scripts for plain hosts, run for real: two Rays on this machine, as if they were two hosts."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

HERE = "127.0.0.1"
STARTED = "Ray runtime started"
NODE_PORTS, WORKER_PORTS = 36, 200

SWEEP = """
sweep: tiny
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 3, epochs: {min: 1, max: 3}}
tracking: {plots: false}
"""
TRAIN = """
import ray


def train(trial):
    first = len(list(trial.saved.iterdir())) + 1 if trial.saved else 1
    print("cluster", ray.get_runtime_context().gcs_address)
    for step in range(first, 4):
        with trial.checkpoint() as folder:
            for past in range(step):
                (folder / str(past)).touch()
        trial.report(step, {"score": trial.params["x"] + step})
"""


@dataclass(frozen=True)
class Hosts:
    """Where the scripts are, what they are told, and what they started."""

    scripts: Path
    environment: dict[str, str]
    head: "subprocess.Popen[str]"

    @property
    def address(self) -> str:
        return f"{HERE}:{self.environment['HEAD_PORT']}"


def free_block(count: int, start: int) -> int:
    """The first of `count` ports in a row, from `start` on, that nobody listens to."""
    for first in range(start, start + 8000, count):
        with ExitStack() as bound:
            try:
                for port in range(first, first + count):
                    bound.enter_context(socket.socket()).bind(("", port))
            except OSError:
                continue
            return first
    pytest.skip(f"there are no {count} free ports in a row from {start} on")


def ports_of_a_host(start: int) -> dict[str, str]:
    first = free_block(2 + NODE_PORTS + WORKER_PORTS, start)
    ports = {
        "HEAD_PORT": first,
        "CLIENT_PORT": first + 1,
        "NODE_PORTS": first + 2,
        "WORKER_PORTS": first + 2 + NODE_PORTS,
    }
    return {name: str(port) for name, port in ports.items()}


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Runs a script until Ray has started, and ends with the block what it started."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        Path(folder, "log").open("w") as log,
        subprocess.Popen(
            [*command, "--temp-dir", folder, "--num-cpus", "1", "--object-store-memory", "100000000"],
            env={**environment, "RAY_TMPDIR": folder},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            deadline = time.monotonic() + 300
            while STARTED not in Path(log.name).read_text():
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(45)
            except subprocess.TimeoutExpired:
                process.kill()
            for left in psutil.process_iter(["cmdline"]):  # log monitors of hosts that an autoscaler has ended
                if any(folder in word for word in left.info["cmdline"] or ()):
                    with suppress(psutil.NoSuchProcess):
                        left.kill()


@pytest.fixture(scope="module")
def scripts(root: Path) -> Path:
    return root / "cluster" / "hosts"


@pytest.fixture(scope="module")
def hosts(scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A head on this machine."""
    token = tmp_path_factory.mktemp("secret") / "new" / "auth_token"
    # a token that another test has left in the environment would win over the file
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
    environment = {**inherited, **ports_of_a_host(20000), "RAY_AUTH_TOKEN_PATH": str(token), "RAY_AUTH_MODE": "token"}
    with started([str(scripts / "head.sh"), HERE, "--include-dashboard=false"], environment) as head:
        yield Hosts(scripts, environment, head)


def podium(hosts: Hosts, folder: Path, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Runs `podium … --cluster` in `folder`; returns its code, its JSON and what it said."""
    command = [sys.executable, "-m", "podium", *arguments, "--cluster", hosts.address, "--home", "home", "--json"]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**hosts.environment, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}, done.stderr


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "train.py").write_text(TRAIN)
    return tmp_path


@pytest.mark.cluster
@pytest.mark.slow
def test_a_sweep_runs_on_a_cluster_that_the_scripts_started(hosts: Hosts, tiny: Path) -> None:
    code, summary, said = podium(hosts, tiny, "launch", "sweep.yaml", "--store", str(tiny / "store"))
    assert code == 0, said
    assert (summary["state"], summary["trials"]["total"]) == ("finished", 3)
    log = (tiny / "store" / "logs" / "tiny" / "trial-00000.log").read_text()
    assert f":{hosts.environment['HEAD_PORT']}" in log
    assert hosts.head.poll() is None, "a Ray that was joined is left as it was"


@pytest.mark.cluster
@pytest.mark.slow
def test_a_second_host_joins(hosts: Hosts, tmp_path: Path) -> None:
    ports = {**ports_of_a_host(30000), "HEAD_PORT": hosts.environment["HEAD_PORT"]}
    with started([str(hosts.scripts / "worker.sh"), HERE, HERE], {**hosts.environment, **ports}):
        _, report, said = podium(hosts, tmp_path, "doctor")
    found = {finding["what"]: finding for finding in report["findings"]}["Ray"]
    assert found["is_well"], said
    assert found["found"].count("1 CPUs") == 2


@pytest.mark.cluster
@pytest.mark.slow
def test_another_token_is_kept_out(hosts: Hosts, tiny: Path) -> None:
    other = {"RAY_AUTH_TOKEN": "0" * 64, "RAY_NUM_REDIS_GET_RETRIES": "2"}
    code, _, said = podium(hosts, tiny, "launch", "sweep.yaml", **other)
    assert code == 2, said
    assert "InvalidAuthToken" in said


@pytest.mark.cluster
@pytest.mark.slow
def test_the_token_is_for_its_owner_alone(hosts: Hosts) -> None:
    token = Path(hosts.environment["RAY_AUTH_TOKEN_PATH"])
    assert len(token.read_text()) == 64
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.parent.stat().st_mode & 0o777 == 0o700


def test_the_scripts_have_no_known_mistakes(scripts: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("there is no shellcheck")
    looked = ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR", *scripts.glob("*.sh")]
    done = subprocess.run(looked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("command", "mode", "said"),
    [
        (["head.sh"], 0o600, "give the address by which the other hosts reach this one: head.sh ADDRESS"),
        (["head.sh", "--num-cpus=1"], 0o600, "give the address"),
        (["head.sh", "0.0.0.0"], 0o600, "0.0.0.0 is every address of this host"),
        (["head.sh", "10.77.0.1"], 0o640, "others can read the token"),
        (["worker.sh", "10.77.0.2"], 0o600, "give the head's address: worker.sh 10.77.0.2 HEAD"),
        (["worker.sh", "10.77.0.2", "10.77.0.1"], None, "there is no token"),
        (["worker.sh", "10.77.0.2", "10.77.0.1"], 0o644, "chmod 600"),
        (["firewall.sh"], 0o600, "give the addresses of all hosts of the cluster"),
        (["firewall.sh", "10.77.0.1", "lab; rm"], 0o600, "lab; rm is no IPv4 address or network"),
        (["certificates.sh", "10.77.0.1"], 0o600, "give a folder, and the address"),
        (["certificates.sh", "/nowhere", "../x"], 0o600, "../x is no address or name of a host"),
    ],
)
def test_a_mistake_is_one_message(
    scripts: Path, tmp_path: Path, command: list[str], mode: int | None, said: str
) -> None:
    token = tmp_path / "auth_token"
    if mode is not None:
        token.write_text("0" * 64)
        token.chmod(mode)
    done = subprocess.run(
        [scripts / command[0], *command[1:]],
        env={**os.environ, "RAY_AUTH_TOKEN_PATH": str(token)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1

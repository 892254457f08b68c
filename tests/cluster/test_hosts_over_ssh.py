"""`podium cluster hosts` over two network namespaces with sshd, from one of them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from empty_runs import make_empty_runs
from faults.verdict import assert_nothing_lost
from namespaces import BUCKET, HANG_S, HEAD, WORKER, Host, Hosts, two_hosts, until

from podium.sweep.messages import Progress
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STORE = f"s3://{BUCKET}/ssh"
SWEEP = """
sweep: tiny
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 4, policy: none, epochs: {min: 1, max: 3}}
tracking: {plots: false}
"""
TRAIN = """
import socket
import time


def train(trial):
    for step in range(1, 4):
        time.sleep(0.5)
        trial.report(step, {"score": trial.params["x"], "on_worker": socket.gethostname() == "worker"})
"""
SSHD = """
ListenAddress {address}:22
HostKey {home}/host_key
AuthorizedKeysFile {home}/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
SetEnv {variables}
"""
HANDED_ON = ("RAY_TMPDIR", "TMPDIR", "PYTHONPATH", "AWS_")


@dataclass(frozen=True)
class Reached:
    """Two hosts that the first one reaches by ssh."""

    hosts: Hosts

    def podium(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "podium", *arguments]
        return self.hosts.head.run(command, timeout_s=2 * HANG_S)

    def ask(self, action: str, code: int = 0) -> dict[str, Any]:
        done = self.podium("cluster", "hosts", "hosts.txt", action, "--json")
        assert done.returncode == code, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def rays(self) -> list[int]:
        """The processes of Ray on both hosts."""
        return [number for host in (self.hosts.head, self.hosts.worker) for number in host.processes("ray")]


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    server = shutil.which("sshd") or shutil.which("/usr/sbin/sshd")
    if server is None or shutil.which("ssh") is None:
        pytest.skip("OpenSSH is not installed; tests/services.sh installs it on Debian, as root")
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd asks for it, and the hosts cannot write there
    with two_hosts(tmp_path_factory.mktemp("ssh")) as hosts:
        keys = hosts.head.disk / ".ssh"
        keys.mkdir(mode=0o700)
        _make_key(hosts.head, ".ssh/id_ed25519")
        for host in (hosts.head, hosts.worker):
            _make_key(host, "host_key")
            shutil.copy(keys / "id_ed25519.pub", host.disk / "authorized_keys")
            _start_sshd(server, host)
            kind, key, *_ = (host.disk / "host_key.pub").read_text().split()
            with (keys / "known_hosts").open("a") as known:
                known.write(f"{host.address} {kind} {key}\n")
        (hosts.head.disk / "hosts.txt").write_text(f"root@{HEAD} cpus=1  # the head\n\n{WORKER} cpus=1\n")
        yield Reached(hosts)


def _make_key(host: Host, name: str) -> None:
    made = host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name])
    assert made.returncode == 0, made.stderr


def _start_sshd(server: str, host: Host) -> None:
    """Starts an sshd that logs people in at the host's own home, where ssh looks for its files, too."""
    people = Path("/etc/passwd").read_text().replace(f":{Path('~root').expanduser()}:", f":{host.home}:")
    (host.disk / "passwd").write_text(people)
    assert host.run(["mount", "--bind", "passwd", "/etc/passwd"]).returncode == 0
    variables = [f'{name}="{value}"' for name, value in host.environment.items() if name.startswith(HANDED_ON)]
    text = SSHD.format(address=host.address, home=host.home, variables=" ".join(variables))
    (host.disk / "sshd_config").write_text(text)
    host.start([server, "-D", "-e", "-f", f"{host.home}/sshd_config"], "sshd.log")
    until(lambda: "listening" in (host.disk / "sshd.log").read_text(), HANG_S, "sshd listens")


@pytest.mark.timeout(1800)  # Ray is started three times, which a busy machine does slowly
def test_a_cluster_over_ssh_from_its_start_to_its_end(reached: Reached) -> None:
    head, worker = reached.hosts.head, reached.hosts.worker
    stands = reached.ask("status", code=1)["hosts"]
    assert [stand["ray"] for stand in stands] == ["down", "down"], stands
    told = reached.ask("up")
    assert told == {"address": f"{HEAD}:6379", "started": [f"root@{HEAD}", WORKER]}
    stands = reached.ask("status")["hosts"]
    assert [(stand["host"], stand["ray"]) for stand in stands] == [(f"root@{HEAD}", "up"), (WORKER, "up")]
    assert all(stand["cpus"] > 0 and stand["gpus"] == 0 and stand["free_bytes"] > 0 for stand in stands)

    token = (worker.disk / ".ray" / "auth_token").read_text()
    assert len(token) == 64
    assert (worker.disk / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
    lines = [Path(f"/proc/{number}/cmdline").read_bytes() for host in (head, worker) for number in host.processes()]
    assert not [line for line in lines if token.encode() in line]

    # half of it dies, and comes back; what lives stays
    before = head.processes("raylet")
    worker.kill("ray")
    assert [stand["ray"] for stand in reached.ask("status", code=1)["hosts"]] == ["up", "down"]
    assert reached.ask("up")["started"] == [WORKER]
    assert head.processes("raylet") == before

    (head.disk / "sweep.yaml").write_text(SWEEP)
    (head.disk / "train.py").write_text(TRAIN)
    make_empty_runs(head.disk / "podium" / "mlflow.db")
    place = ["--home", "podium", "--store", STORE, "--cluster", told["address"]]
    done = reached.podium("launch", "sweep.yaml", *place)
    assert done.returncode == 0, done.stderr
    assert_nothing_lost(Place.of(home=head.disk / "podium", store=STORE), "tiny")
    rows = list(Place.of(home=head.disk / "podium", store=STORE).book().rows("tiny"))
    trained = [lane.metrics["on_worker"] for row in rows if isinstance(row.event, Progress) for lane in row.event.lanes]
    assert set(trained) == {0, 1}

    assert reached.ask("down") == {"hosts": [f"root@{HEAD}", WORKER]}
    assert reached.rays() == []
    assert reached.ask("down") == {"hosts": [f"root@{HEAD}", WORKER]}, "there is nothing left to end"
    assert not (worker.disk / ".podium" / "ray").exists()


def test_hosts_that_cannot_be_used_are_named_before_anything_starts(reached: Reached) -> None:
    (reached.hosts.worker.disk / ".ray").mkdir(exist_ok=True)
    token = reached.hosts.worker.disk / ".ray" / "auth_token"
    token.write_text("0" * 64)
    done = reached.podium("cluster", "hosts", "hosts.txt", "up")
    assert done.returncode == 2
    assert f"{WORKER} has another token in ~/.ray/auth_token; move it away" in done.stderr
    assert reached.rays() == []
    token.unlink()

    (reached.hosts.head.disk / "more.txt").write_text(f"{HEAD}\n10.77.0.9\n")
    done = reached.podium("cluster", "hosts", "more.txt", "up")
    assert done.returncode == 2
    assert "10.77.0.9: ssh: connect to host 10.77.0.9 port 22" in done.stderr
    assert reached.rays() == []

    known = reached.hosts.head.disk / ".ssh" / "known_hosts"
    text = known.read_text()
    known.write_text(text.splitlines()[0] + "\n")
    done = reached.podium("cluster", "hosts", "hosts.txt", "status")
    known.write_text(text)
    assert done.returncode == 1
    assert "Host key verification failed" in done.stdout

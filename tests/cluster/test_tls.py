"""Ray's messages encrypted: two hosts with certificates of one authority, and whoever comes without."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from empty_runs import make_empty_runs
from namespaces import HANG_S, HEAD, ROOT, WORKER, Host, Hosts, two_hosts
from test_open_ports import open_ports
from test_partition import PAIRS, STORE, podium, start_ray

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SCRIPTS = ROOT / "cluster" / "hosts"
WITHOUT_TLS = {"ray::RuntimeEnv", "ray::DashboardA"}
"""Whose HTTP is not encrypted."""

SWEEP = """
sweep: sealed
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 2, policy: none, epochs: {min: 1, max: 20}}
resources: {ranks: 2, hosts: spread}
tracking: {plots: false}
"""
CALL = """
import json
import sys

import grpc

asked = json.load(sys.stdin)
answers = []
for host, port in asked["places"]:
    for given in asked["given"]:
        files = [None if name is None else open(name, "rb").read() for name in given or ()]
        channel = (
            grpc.insecure_channel(f"{host}:{port}")
            if given is None
            else grpc.secure_channel(f"{host}:{port}", grpc.ssl_channel_credentials(*files))
        )
        with channel:
            call = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=bytes)
            try:
                call(b"", timeout=300)
                answers.append("OK")
            except grpc.RpcError as error:
                answers.append(error.code().name)
json.dump(answers, sys.stdout)
"""


ASK = """
import sys
import urllib.request
from pathlib import Path

headers = {"Authorization": "Bearer " + Path("~/.ray/auth_token").expanduser().read_text()}
with urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:8265/api/jobs/", headers=headers)) as answer:
    print(answer.status)
"""


def certificates(folder: Path, *addresses: str) -> Path:
    made = subprocess.run(
        [SCRIPTS / "certificates.sh", folder, *addresses], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hosts, Path]]:
    """A cluster of two hosts with certificates, and the folder that has these."""
    folder = certificates(tmp_path_factory.mktemp("certificates") / "ours", HEAD, WORKER, "127.0.0.1")
    with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        make_empty_runs(hosts.head.disk / "podium" / "mlflow.db")
        put_certificate(hosts.head, folder)
        start_ray(hosts.head, "head.sh", HEAD, "--num-cpus", "1", "--include-dashboard=true")
        shutil.copytree(hosts.head.disk / ".ray", hosts.worker.disk / ".ray", ignore=shutil.ignore_patterns("tls"))
        put_certificate(hosts.worker, folder)
        start_ray(hosts.worker, "worker.sh", WORKER, HEAD, "--num-cpus", "1")
        yield hosts, folder


def put_certificate(host: Host, folder: Path) -> None:
    (host.disk / ".ray").mkdir(mode=0o700, exist_ok=True)
    shutil.copytree(folder / host.address, host.disk / ".ray" / "tls")


def launch(hosts: Hosts, before: str) -> "subprocess.CompletedProcess[str]":
    command = [*podium("launch", "sealed/sweep.yaml"), "--store", STORE, "--cluster", f"{HEAD}:6379"]
    return hosts.head.run(["bash", "-c", f"{before}; exec {' '.join(command)}"], HANG_S)


def test_a_sweep_over_two_hosts_with_certificates(sealed: tuple[Hosts, Path]) -> None:
    hosts, _ = sealed
    files = hosts.head.disk / "sealed"
    files.mkdir()
    (files / "sweep.yaml").write_text(SWEEP)
    (files / "train.py").write_text(PAIRS)
    (hosts.head.disk / "hurry").touch()
    (hosts.worker.disk / "hurry").touch()
    done = launch(hosts, "source ~/.ray/tls/environment")
    assert done.returncode == 0, done.stderr


def test_without_a_certificate_of_the_same_authority_nothing_is_said(
    sealed: tuple[Hosts, Path], tmp_path: Path
) -> None:
    hosts, ours = sealed
    others = certificates(tmp_path / "others", HEAD)
    places = [each for host in (hosts.head, hosts.worker) for each in open_ports(host)]
    sealed_places = [each for each in places if each.process not in WITHOUT_TLS or each.port == 6381]
    assert {each.process for each in sealed_places} >= {"gcs_server", "raylet", "ray::DashboardA"}

    authority = str(ours / "authority.crt")
    given = [
        None,
        [authority],
        [authority, str(others / HEAD / "host.key"), str(others / HEAD / "host.crt")],
        [authority, str(ours / HEAD / "host.key"), str(ours / HEAD / "host.crt")],
    ]
    asked = subprocess.run(
        [*hosts.on_switch(), sys.executable, "-c", CALL],
        input=json.dumps({"places": [(each.host, each.port) for each in sealed_places], "given": given}),
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
        check=True,
    )
    answers = iter(json.loads(asked.stdout))
    for place in sealed_places:
        without_tls, without_certificate, with_another, with_ours = (next(answers) for _ in given)
        assert {without_tls, without_certificate, with_another} == {"UNAVAILABLE"}, place
        assert with_ours in {"OK", "UNIMPLEMENTED"}, place


def test_the_dashboard_answers_on_loopback_without_tls(sealed: tuple[Hosts, Path]) -> None:
    hosts, _ = sealed
    asked = hosts.head.run([sys.executable, "-c", ASK])
    assert asked.stdout == "200\n", asked.stderr


def test_the_keys_are_for_their_owner_alone_and_stay_when_hosts_are_added(tmp_path: Path) -> None:
    folder = certificates(tmp_path / "made", HEAD)
    keys = {path: path.read_text() for path in (folder / "authority.key", folder / HEAD / "host.key")}
    certificates(folder, HEAD, WORKER)
    for path, text in keys.items():
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600
    for host in (HEAD, WORKER):
        checked = ["openssl", "verify", "-CAfile", folder / "authority.crt", folder / host / "host.crt"]
        subprocess.run(checked, check=True, capture_output=True)

"""The file with the hosts of a cluster, and the script that each of them runs; Ray is not started."""

import importlib.resources
import os
import shlex
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from wiring_cases import podium_here

from podium.errors import UserError
from podium.execution import connection
from podium.sweep.placement import Node
from podium.wiring.clusters.hosts_file import Host, addresses_of, read_hosts
from podium.wiring.clusters.joining import wait_for_hosts

HANG_S = 300
HEAD = 'echo $$ >>"$HOME/begun"; echo "Ray runtime started"; exec sleep 300'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hosts.txt"


def test_one_host_a_line(path: Path) -> None:
    path.write_text("# ours\nanna@10.77.0.1\n\n  node-2.lab gpus=2 cpus=16 # new\nlocalhost address=10.0.0.3\n")
    hosts = read_hosts(path)
    assert hosts == [
        Host("anna@10.77.0.1", {}),
        Host("node-2.lab", {"gpus": "2", "cpus": "16"}),
        Host("localhost", {"address": "10.0.0.3"}),
    ]
    assert hosts[1].arguments == ["--num-cpus=16", "--num-gpus=2"]
    assert hosts[2].address == "10.0.0.3"
    assert Host("anna@127.0.0.1", {}).address == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names no host"),
        ("# nobody\n", "names no host"),
        ("one\ntwo\none\n", "hosts.txt:3: one is there already"),
        ("one\n-oProxyCommand=evil\n", "hosts.txt:2: '-oProxyCommand=evil' is no host"),
        ("one;evil\n", "hosts.txt:1: 'one;evil' is no host"),
        ("cpus=4\n", "hosts.txt:1: 'cpus=4' is no host"),
        ("one cpus=many\n", "hosts.txt:1: 'cpus=many' is not known"),
        ("one two\n", "hosts.txt:1: 'two' is not known; after the host, cpus=N, gpus=N and address="),
    ],
)
def test_a_mistake_names_file_and_line(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_hosts(path)
    assert said in str(error.value)


def test_a_file_that_is_not_there(path: Path) -> None:
    with pytest.raises(UserError, match=r"hosts\.txt cannot be read"):
        read_hosts(path)


def test_a_loopback_is_no_address_for_several_hosts() -> None:
    here, there = Host("localhost", {}), Host("other", {"address": "10.0.0.2"})
    assert addresses_of([here]) == ["127.0.0.1"]
    with pytest.raises(UserError, match=r"localhost is 127\.0\.0\.1 here, which other hosts cannot reach"):
        addresses_of([here, there])


def test_a_machine_is_one_host(path: Path) -> None:
    path.write_text("anna address=10.77.0.1\n10.77.0.2\nberta@10.77.0.1\n")
    with pytest.raises(
        UserError, match=r"hosts\.txt:3: berta@10\.77\.0\.1 is 10\.77\.0\.1, as is anna; give each host"
    ):
        addresses_of(read_hosts(path))


@pytest.mark.parametrize("action", ["up", "down", "status"])
def test_without_ssh_nothing_is_tried(path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    path.write_text("anna\n")
    monkeypatch.setenv("PATH", str(path.parent))
    done = podium_here(path.parent, "cluster", "hosts", "hosts.txt", action)
    assert (done.code, len(done.problems.splitlines())) == (2, 1)
    assert "there is no ssh on the PATH; install OpenSSH's client" in done.problems


def do(home: Path, action: str, environment: str = sys.prefix) -> "subprocess.Popen[bytes]":
    """Has the host do something, with a `head.sh` that stands in for Ray's."""
    script = (importlib.resources.files("podium.wiring.clusters") / "on_host.sh").read_text(encoding="utf-8")
    texts = {"environment": environment, "token": "0" * 64, "common_sh": "", "head_sh": HEAD, "worker_sh": ""}
    settings = [f"{name}={shlex.quote(value)}" for name, value in {**texts, "address": "", "hosts": "1"}.items()]
    text = "\n".join([*settings, "start=(head.sh)", script, action])
    variables = {name: value for name, value in os.environ.items() if name != "RAY_TLS"} | {"HOME": str(home)}
    return subprocess.Popen(["bash", "-c", text], env=variables)


def test_hosts_with_certificates_are_waited_for_by_tls(tmp_path: Path) -> None:
    (tmp_path / ".ray" / "tls").mkdir(parents=True)
    (tmp_path / ".ray" / "tls" / "environment").write_text("export RAY_USE_TLS=1\n")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/usr/bin/env bash\n[[ ${RAY_USE_TLS:-} == 1 && "$*" == "-m podium cluster wait"* ]]\n')
    python.chmod(0o755)
    assert do(tmp_path, "joined", str(tmp_path)).wait(HANG_S) == 0


def test_several_starts_at_once_make_one_ray(tmp_path: Path) -> None:
    try:
        assert [start.wait(HANG_S) for start in [do(tmp_path, "up") for _ in range(4)]] == [0, 0, 0, 0]
        assert len((tmp_path / "begun").read_text().split()) == 1
    finally:
        assert do(tmp_path, "down").wait(HANG_S) == 0


def test_what_a_host_did_before_it_was_started_anew_ends_nobody(tmp_path: Path) -> None:
    with subprocess.Popen(["bash", "-c", "sleep 300 & echo $!"], stdout=subprocess.PIPE, start_new_session=True) as led:
        assert led.stdout is not None
        stranger = int(led.stdout.readline())
        try:
            led.wait(HANG_S)  # a session whose leader has ended
            (tmp_path / ".podium" / "ray").mkdir(parents=True)
            (tmp_path / ".podium" / "ray" / "pid").write_text(f"{led.pid} 123 of-another-boot\n")
            assert do(tmp_path, "down").wait(HANG_S) == 0
            assert b"sleep" in Path("/proc", str(stranger), "cmdline").read_bytes()
        finally:
            os.kill(stranger, signal.SIGKILL)


def test_hosts_that_are_found_when_the_time_is_up_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "connected", nullcontext)
    monkeypatch.setattr(connection, "nodes", lambda: [Node("anna", 1, 0)])
    assert wait_for_hosts("10.77.0.1:6379", 1, -1, print) == [Node("anna", 1, 0)]
    with pytest.raises(UserError, match=r"1 of 2 hosts joined the Ray at 10\.77\.0\.1:6379 within -1 s: anna"):
        wait_for_hosts("10.77.0.1:6379", 2, -1, print)

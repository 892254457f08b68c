"""Every port that a cluster opens, as somebody sees it who can reach the hosts and does not have the token."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from empty_runs import make_empty_runs
from namespaces import HANG_S, HEAD, ROOT, WORKER, Host, Hosts, two_hosts
from test_partition import PACED, PAIRS, Sweep, start_ray

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SCRIPTS = ROOT / "cluster" / "hosts"
STRANGERS = Path(__file__).with_name("strangers.py")
DASHBOARD = 8265

PUBLIC = {
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetTopChannels",
}
"""What Ray tells everybody: that a port is served, the names of its methods, counts of connections."""

HEALTH = {"/api/healthz", "/api/local_raylet_healthz"}
"""The pages that an agent of Ray's dashboard shows everybody."""

PAGES = HEALTH | {
    *("/", "/favicon.ico", "/api/authentication_mode", "/api/authenticate", "/api/gcs_healthz", "/-/healthz"),
}
"""The pages that Ray's dashboard shows everybody; it has some more without a word in them, its scripts and pictures."""


@dataclass(frozen=True)
class Open:
    """A port that is open to other hosts.

    Attributes:
        host: The address of its host.
        port: Its number.
        process: The name of the process behind it.
        is_for_one_address: Whether it is bound to one address, and not to all of the host's.
    """

    host: str
    port: int
    process: str
    is_for_one_address: bool

    @property
    def public_pages(self) -> set[str]:
        """The pages for which it wants no token."""
        if self.port == DASHBOARD:
            return PAGES
        return HEALTH if self.process.startswith("ray::DashboardA") else set()

    @property
    def is_between_ranks(self) -> bool:
        """Whether the ranks of a trial meet there: no Ray, and no token."""
        return self.process.startswith("ray::Rank") and self.is_for_one_address


def open_ports(host: Host) -> list[Open]:
    """All TCP ports of a host that others can reach."""
    listed = host.run(["ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"])
    assert listed.returncode == 0, listed.stderr
    found = []
    for line in listed.stdout.splitlines():
        address, _, port = line.split()[3].rpartition(":")
        if not re.search(r"127\.0\.0\.1|\[::1\]", address):
            process = line.partition('(("')[2].partition('"')[0]
            found.append(Open(host.address, int(port), process, host.address in address))
    return list({(each.host, each.port): each for each in found}.values())


def ask(hosts: Hosts, places: list[Open]) -> dict[Open, dict[str, Any]]:
    """What somebody on neither host is answered there."""
    token = (hosts.head.disk / ".ray" / "auth_token").read_text()
    question = {"places": [(each.host, each.port) for each in places], "token": token}
    asked = subprocess.run(
        [*hosts.on_switch(), sys.executable, str(STRANGERS)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
        check=True,
    )
    return dict(zip(places, json.loads(asked.stdout), strict=True))


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hosts, Sweep]]:
    """A cluster of two hosts with its dashboard, and a sweep whose trials have a rank on each."""
    files = tmp_path_factory.mktemp("pairs")
    (files / "sweep.yaml").write_text(PACED.replace("NAME", "pairs"))
    (files / "train.py").write_text(PAIRS)
    with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
        make_empty_runs(hosts.head.disk / "podium" / "mlflow.db")
        dashboard = ["--include-dashboard=true", f"--dashboard-host={HEAD}"]
        start_ray(hosts.head, "head.sh", HEAD, "--num-cpus", "2", *dashboard)
        shutil.copytree(hosts.head.disk / ".ray", hosts.worker.disk / ".ray", dirs_exist_ok=True)
        start_ray(hosts.worker, "worker.sh", WORKER, HEAD, "--num-cpus", "2")
        sweep = Sweep(hosts, "pairs", files, "resources={ranks: 2, hosts: spread}", "budget.trials=1000")
        sweep.until(sweep.gangs_on_worker, HANG_S, "ranks on both hosts train")
        yield hosts, sweep


def test_every_open_port_refuses_strangers(training: tuple[Hosts, Sweep]) -> None:
    hosts, _ = training
    places = [each for host in (hosts.head, hosts.worker) for each in open_ports(host)]
    between_ranks = [each for each in places if each.is_between_ranks]
    assert {each.host for each in between_ranks} == {HEAD, WORKER}, "the ranks that train are among them"

    told = ask(hosts, [each for each in places if not each.is_between_ranks])
    for place, answers in told.items():
        if answers["speaks"] == "http":
            for given, refusal in (("without", 401), ("wrong", 403)):
                shown = {page for page, status in answers[given].items() if status != refusal}
                assert shown == place.public_pages, (place, given)
            assert not {401, 403} & set(answers["right"].values()), place
        else:
            assert answers["speaks"] == "grpc", f"an unknown protocol, which may ask for nothing: {place}"
            for given in ("without", "wrong"):
                refused = {name: answer for name, answer in answers[given].items() if name not in PUBLIC}
                assert set(refused.values()) == {"UNAUTHENTICATED"}, (place, refused)
            assert answers["right"], f"no request at all is understood there: {place}"
            assert "UNAUTHENTICATED" not in answers["right"].values(), place

    assert {each.process for each in told} >= {
        "gcs_server",
        "raylet",
        "ray::DashboardA",
        "ray::RuntimeEnv",
        "ray::Rank",
    }
    assert DASHBOARD in {each.port for each in told}


def test_with_the_firewall_strangers_reach_the_dashboard_alone(training: tuple[Hosts, Sweep]) -> None:
    hosts, sweep = training
    if shutil.which("nft") is None:
        pytest.skip("the rules of firewall.sh are nftables', and there is no nft here")
    for host in (hosts.head, hosts.worker):
        closed = host.run(["bash", "-c", f"{SCRIPTS / 'firewall.sh'} {HEAD} {WORKER} | nft -f -"])
        assert closed.returncode == 0, closed.stderr

    places = [each for host in (hosts.head, hosts.worker) for each in open_ports(host)]
    told = ask(hosts, places)
    assert [place.port for place, answers in told.items() if answers["speaks"] != "closed"] == [DASHBOARD]

    before = len(sweep.events())
    sweep.until(lambda: len(sweep.events()) > before + 10, HANG_S, "the hosts train on together")

"""A sweep that a laptop submits to two hosts: the laptop goes, then the driver's host, then that host once more."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import postgresql_server
import pytest
from empty_runs import make_empty_runs
from faults.verdict import assert_nothing_lost
from namespaces import BUCKET, HANG_S, HEAD, SWITCH, WORKER, Host, Hosts, two_hosts, until
from test_partition import HEAD_CPUS, PACED, TRAIN, WORKER_CPUS, start_ray

from podium.sweep.messages import Event, GangLost, GangReady, Progress, Resumed
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

LAPTOP, OTHER_LAPTOP = "10.77.0.3", "10.77.0.4"
MLFLOW = f"http://{SWITCH}:5001"
STORE = f"s3://{BUCKET}/submitted"
NAME = "submitted"

LIVES_HERE = ("podium.cli.there", "--tied")
"""Words of a driver's command line."""


@contextmanager
def mlflow_server(hosts: Hosts, folder: Path) -> Iterator[str]:
    """MLflow between the hosts; gives the address at which the tests find what it has."""
    runs = make_empty_runs(folder / "mlflow.db")
    command = [*hosts.on_switch(), sys.executable, "-m", "mlflow", "server", "--host", SWITCH, "--port", "5001"]
    command += ["--workers", "1", "--backend-store-uri", runs, "--artifacts-destination", str(folder / "files")]
    settings = {"MLFLOW_SERVER_ALLOWED_HOSTS": "*", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "mlflow.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=folder, env=os.environ | settings, start_new_session=True
        )
        try:
            until(lambda: "startup complete" in Path(log.name).read_text(), HANG_S, "MLflow answers")
            yield runs
        finally:
            os.killpg(process.pid, 9)
            process.wait(20)


class Submitted:
    """The sweep, as the services tell it."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def events(self) -> list[Event]:
        book = self.place.book()
        try:
            return [row.event for row in book.rows(NAME)]
        finally:
            book.close()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events())

    def trains_on_worker(self, after: type, times: int) -> bool:
        """Whether the second host has told of an epoch since the event that is the `times`-th of its kind."""
        events = self.events()
        marks = [index for index, event in enumerate(events) if isinstance(event, after)]
        told = (
            (event for event in events[marks[times - 1] :] if isinstance(event, Progress))
            if len(marks) >= times
            else ()
        )
        return any(event.lanes[0].metrics["on_worker"] for event in told)


def join(worker: Host) -> None:
    start_ray(worker, "worker.sh", WORKER, HEAD, "--num-cpus", str(WORKER_CPUS))


def lose_power(host: Host) -> None:
    for words in (LIVES_HERE, ("podium",), ("ray",)):
        host.kill(*words)


def podium(laptop: Host, *arguments: str) -> tuple[int, dict[str, Any], str]:
    done = laptop.run([sys.executable, "-m", "podium", *arguments, "--json"], timeout_s=HANG_S)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}, done.stderr


def equip(laptop: Host, head: Host) -> None:
    """What its user does on a laptop, once: the token, and a name for the cluster."""
    token = laptop.disk / ".ray" / "auth_token"
    token.parent.mkdir(0o700)
    token.write_text((head.disk / ".ray" / "auth_token").read_text())
    token.chmod(0o600)
    code, _, said = podium(laptop, "cluster", "add", "lab", f"http://{HEAD}:8265")
    assert code == 0, said


def test_a_submitted_sweep_outlives_the_laptop_and_the_hosts_of_its_driver(tmp_path: Path) -> None:
    binaries = postgresql_server.find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed; tests/services.sh installs it on Debian, as root")
    (tmp_path / "services").mkdir()
    with (
        two_hosts(tmp_path / "hosts") as hosts,
        postgresql_server.running(binaries, SWITCH, hosts.on_switch()) as postgresql,
        mlflow_server(hosts, tmp_path / "services") as runs,
    ):
        ledger = postgresql.new_database()
        settings = {"PODIUM_LEDGER": ledger, "PODIUM_STORE": STORE, "MLFLOW_TRACKING_URI": MLFLOW}
        head = with_settings(hosts.head, {**settings, "DASHBOARD_HOST": HEAD})
        worker = with_settings(hosts.worker, settings)
        start_ray(head, "head.sh", HEAD, "--num-cpus", str(HEAD_CPUS))
        (worker.disk / ".ray").mkdir(0o700)
        (worker.disk / ".ray" / "auth_token").write_bytes((head.disk / ".ray" / "auth_token").read_bytes())
        (worker.disk / ".ray" / "auth_token").chmod(0o600)
        join(worker)
        here = postgresql.address_here(ledger.rpartition("/")[2])
        sweep = Submitted(Place.of(home=tmp_path / "nowhere", store=STORE, tracking_uri=runs, ledger=here))

        with hosts.guest(tmp_path / "laptop", "laptop", LAPTOP) as laptop:
            equip(laptop, head)
            (laptop.disk / "sweep").mkdir()
            (laptop.disk / "sweep" / "sweep.yaml").write_text(PACED.replace("NAME", NAME))
            (laptop.disk / "sweep" / "train.py").write_text(TRAIN)
            code, _, said = podium(laptop, "launch", "sweep/sweep.yaml", "--cluster", "lab", "--detach")
            assert code == 0, said
        until(lambda: worker.processes(*LIVES_HERE), HANG_S, "the driver runs, and not on the head")
        until(lambda: sweep.trains_on_worker(GangReady, 1), HANG_S, "the second host trains")

        lose_power(worker)
        began = time.monotonic()
        until(lambda: head.processes(*LIVES_HERE), HANG_S, "the driver is started on the head")
        until(lambda: sweep.count(Resumed), HANG_S, "the sweep goes on there")
        print(f"the driver had its sweep again after {time.monotonic() - began:.0f} s")
        join(worker)
        until(lambda: sweep.trains_on_worker(Resumed, 1), HANG_S, "the host that came back trains")
        lost = sweep.count(GangLost)
        worker.kill("ray")
        until(lambda: sweep.count(GangLost) > lost, HANG_S, "the driver knows that the host is dead again")
        (head.disk / "hurry").touch()

        with hosts.guest(tmp_path / "other", "other", OTHER_LAPTOP) as laptop:
            equip(laptop, head)
            until(lambda: not head.processes(*LIVES_HERE), HANG_S, "the driver has ended")
            code, summary, said = podium(laptop, "status", NAME, "--cluster", "lab")
            assert code == 0, said
            assert (summary["state"], summary["trials"]["complete"]) == ("finished", 12)
        assert sweep.count(Resumed) == 1
        assert_nothing_lost(sweep.place, NAME)


def with_settings(host: Host, settings: Mapping[str, str]) -> Host:
    return replace(host, environment={**host.environment, **settings})

"""A Ray that adds hosts: a sweep asks for those that its trials need, trains on them, and gives them back."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from faults.verdict import assert_nothing_lost
from namespaces import HANG_S, until
from test_hosts import HERE, ports_of_a_host, started

from podium.sweep.messages import Advanced, GangLost, GangReady
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MOST_HOSTS, TRIALS = 3, 3
FAKE = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
}
"""Has Ray take more processes on this host for more hosts."""

HEAD_TYPE = "ray.head.default"
PROVIDER = {"type": "fake_multinode", "use_node_id_as_ip": True}
AUTOSCALER = {
    "cluster_name": "growing",
    "max_workers": MOST_HOSTS,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 0.05,
    "head_node_type": HEAD_TYPE,
    "available_node_types": {
        HEAD_TYPE: {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
        "more": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": MOST_HOSTS},
    },
    "auth": {},
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
}
SWEEP = """
sweep: growing
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 3, policy: none, epochs: {min: 1, max: 1}}
tracking: {plots: false}
"""
TRAIN = """
import time
from pathlib import Path


def may_end():
    for ticket in Path.home().glob("ticket-*"):
        try:
            ticket.unlink()
            return True
        except FileNotFoundError:
            pass
    return False


def train(trial):
    while not may_end():
        time.sleep(0.5)
    trial.report(1, {"score": trial.params["x"]})
"""


def test_the_autoscaler_adds_the_hosts_that_trials_need_and_no_more(tmp_path: Path, root: Path) -> None:
    """Three trials want two hosts beside the head, though three may be had; the last trial wants none of them."""
    home, log = tmp_path / "podium", tmp_path / "growing.log"
    ports = ports_of_a_host(21000)
    address = f"{ray.util.get_node_ip_address()}:{ports['HEAD_PORT']}"
    config = AUTOSCALER | {"provider": PROVIDER | {"gcs_address": address}}
    for name, text in {"autoscaler.json": json.dumps(config), "sweep.yaml": SWEEP, "train.py": TRAIN}.items():
        (tmp_path / name).write_text(text)
    environment = {**os.environ, **ports, **FAKE, "HOME": str(tmp_path)}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / ".ray" / "auth_token")}
    environment.pop("RAY_AUTH_TOKEN", None)
    growing = ["--autoscaling-config", str(tmp_path / "autoscaler.json"), "--include-dashboard=false"]
    head = [str(root / "cluster/hosts/head.sh"), HERE, *growing]
    launch = [sys.executable, "-m", "podium", "launch", "sweep.yaml", "--home", str(home), "--cluster"]
    with (
        started(head, environment),
        log.open("w") as output,
        subprocess.Popen(
            [*launch, address],
            env=environment,
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as driver,
    ):
        place = Place.of(home=home)

        def told(kind: type) -> list[Any]:
            assert driver.poll() is None, log.read_text()
            book = place.book()
            try:
                return [row.event for row in book.rows("growing") if isinstance(row.event, kind)]
            finally:
                book.close()

        until(lambda: len(told(GangReady)) == TRIALS, HANG_S, "each trial has a gang, two of them on hosts that came")
        for number in range(TRIALS - 1):
            (tmp_path / f"ticket-{number}").touch()
        until(lambda: len(told(Advanced)) == TRIALS - 1, HANG_S, "two trials have ended")
        until(lambda: len(told(GangLost)) == TRIALS - 1, HANG_S, "two gangs have given their places back")
        assert {event.detail for event in told(GangLost)} == {"given back, for want of work"}
        assert len(told(GangReady)) == TRIALS, "nobody has asked for the third host"
        (tmp_path / "ticket-last").touch()
        assert driver.wait(HANG_S) == 0, log.read_text()
        assert_nothing_lost(place, "growing")

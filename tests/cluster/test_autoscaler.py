"""A Ray that adds hosts: a sweep asks for them, and trains on those that come."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from faults.verdict import assert_nothing_lost
from namespaces import HANG_S, HEAD, two_hosts, until
from test_partition import podium, start_ray

from podium.sweep.messages import GangReady
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MOST_HOSTS = 2
FAKE = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
"""Has Ray take more processes on this host for more hosts."""

HEAD_TYPE = "ray.head.default"
AUTOSCALER = {
    "cluster_name": "growing",
    "provider": {"type": "fake_multinode", "use_node_id_as_ip": True},
    "max_workers": MOST_HOSTS,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 1,
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
budget: {trials: 40, policy: none, epochs: {min: 1, max: 20}}
tracking: {plots: false}
"""
TRAIN = """
import time
from pathlib import Path


def train(trial):
    for step in range(1, 21):
        time.sleep(0.001 if (Path.home() / "hurry").exists() else 0.5)
        trial.report(step, {"score": trial.params["x"] * step})
"""


def test_a_sweep_grows_with_the_cluster_that_its_waiting_gangs_make_grow(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    with two_hosts(tmp_path / "hosts") as hosts:
        head = replace(hosts.head, environment={**hosts.head.environment, **FAKE})
        (head.disk / "autoscaler.json").write_text(json.dumps(AUTOSCALER))
        growing = ("--autoscaling-config", "autoscaler.json", "--include-dashboard=false")
        start_ray(head, "head.sh", HEAD, "--num-cpus", "1", *growing)
        (head.disk / "sweep.yaml").write_text(SWEEP)
        (head.disk / "train.py").write_text(TRAIN)
        driver = head.start(podium("launch", "sweep.yaml", "--cluster", f"{HEAD}:6379"), "growing.log")
        place = Place.of(home=head.disk / "podium")

        def gangs() -> set[str]:
            assert driver.poll() is None, (head.disk / "growing.log").read_text()
            book = place.book()
            try:
                return {row.event.gang for row in book.rows("growing") if isinstance(row.event, GangReady)}
            finally:
                book.close()

        until(lambda: len(gangs()) == 1 + MOST_HOSTS, HANG_S, "a gang trains on each host that the autoscaler may add")
        (head.disk / "hurry").touch()
        assert driver.wait(HANG_S) == 0, (head.disk / "growing.log").read_text()
        assert_nothing_lost(place, "growing")

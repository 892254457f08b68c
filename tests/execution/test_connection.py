"""The Ray of one machine."""

import ipaddress
import json
import subprocess
import sys

import pytest

LISTENING = """
import json
import psutil
from podium.execution.connection import connected
import ray

with connected(None):
    ray.get(ray.remote(lambda: None).remote())
    found = {}
    for process in psutil.Process().children(recursive=True):
        for each in process.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN:
                found[each.laddr.port] = (each.laddr.ip, process.name())
    print(json.dumps(list(found.values())))
"""


@pytest.mark.ray
def test_a_ray_of_our_own_can_be_reached_from_this_machine_alone() -> None:
    done = subprocess.run([sys.executable, "-c", LISTENING], capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"gcs_server", "raylet"} <= {process for _, process in found}
    for address, process in found:
        given = ipaddress.ip_address(address)
        assert (getattr(given, "ipv4_mapped", None) or given).is_loopback, (address, process)

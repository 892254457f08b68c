"""A Ray of two hosts with one CPU each beside the head: tells its address, then kills or adds one for each line."""

import os
import sys

from podium.execution.token import ensure_token

ensure_token()
os.environ |= {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}

from ray.cluster_utils import Cluster  # noqa: E402

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
hosts = [cluster.add_node(num_cpus=1) for _ in range(2)]
print(cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "kill":
        cluster.remove_node(hosts.pop(), allow_graceful=False)
    else:
        hosts.append(cluster.add_node(num_cpus=1))
cluster.shutdown()

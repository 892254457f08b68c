"""A Ray of three hosts with one CPU each beside the head, two of them of one kind: tells its address, lets hosts leave.

Each line that is read is the beginning of the identifier of a host that leaves; how many ranks are left on it is told.
"""

import sys

from podium.execution.connection import connected
from podium.execution.leaving import leave

# isort: split
from ray.cluster_utils import Cluster

NOTICE_S = 120

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
spot = {"ray.io/accelerator-type": "H100", "ray.io/node-group": "spot"}
for labels in ({"ray.io/accelerator-type": "A100"}, spot, spot):
    cluster.add_node(num_cpus=1, labels=labels)
print(cluster.address, flush=True)
with connected(cluster.address):
    for line in sys.stdin:
        (host,) = (node for node in cluster.worker_nodes if node.node_id.startswith(line.strip()))
        print(leave(NOTICE_S, host.node_id).ranks, flush=True)
cluster.shutdown()

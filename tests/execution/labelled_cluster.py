"""A Ray of three hosts with one CPU each beside the head, two of them of one kind: tells its address, drains hosts.

Each line that is read is the beginning of the identifier of a host that its provider wants back.
"""

import sys
import time

from podium.execution.token import ensure_token

ensure_token()

from ray._raylet import GcsClient  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION  # noqa: E402

NOTICE_S = 120

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
for labels in (
    {"ray.io/accelerator-type": "A100"},
    *[{"ray.io/accelerator-type": "H100", "ray.io/node-group": "spot"}] * 2,
):
    cluster.add_node(num_cpus=1, labels=labels)
print(cluster.address, flush=True)
for line in sys.stdin:
    (host,) = (node for node in cluster.worker_nodes if node.node_id.startswith(line.strip()))
    deadline_ms = int((time.time() + NOTICE_S) * 1000)
    GcsClient(address=cluster.address).drain_node(host.node_id, DRAIN_NODE_REASON_PREEMPTION, "notice", deadline_ms)
cluster.shutdown()

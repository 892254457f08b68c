"""The other side of a benchmark: what `import ray, torch, mlflow` and `ray.init` take in a fresh process.

Prints one JSON line; `wall_s` is measured by the parent, from before the process starts to `ray.init`'s return.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

CHILD = """
import sys, time
began = time.time()
import ray, torch, mlflow
imported = time.time()
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=sys.argv[1])
print(began, imported, time.time(), flush=True)
ray.shutdown()
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short: sockets have short paths
        environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
        started = time.time()
        output = subprocess.run(
            [sys.executable, "-c", CHILD, folder], env=environment, cwd=folder, stdout=subprocess.PIPE, check=True
        ).stdout
    began, imported, ready = map(float, output.split()[-3:])
    figures = {"wall_s": ready - started, "import_s": imported - began, "init_s": ready - imported}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

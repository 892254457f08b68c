"""How long submitting a sweep takes, against Ray Jobs alone.

python tests/benchmarks/submitting.py http://HEAD:8265 [--rounds 5]

In turn, each in a process of its own: a script that submits the job `true` and waits until it has succeeded, and
`podium launch --detach`, which is over when the cluster keeps the driver running. Between rounds the sweep ends.
The address is that of a running cluster, whose token is in RAY_AUTH_TOKEN or ~/.ray/auth_token. Prints one JSON line.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SWEEP = """
sweep: NAME
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 1, policy: none, epochs: {min: 1, max: 1}}
tracking: {plots: false, model: false}
"""
TRAIN = """
def train(trial):
    trial.report(1, {"score": trial.params["x"]})
"""
BARE = """
import sys, time
from ray.job_submission import JobSubmissionClient

client = JobSubmissionClient(sys.argv[1])
job = client.submit_job(entrypoint="true")
while not client.get_job_status(job).is_terminal():
    time.sleep(0.1)
assert client.get_job_status(job) == "SUCCEEDED"
"""


def seconds(command: list[str], folder: Path) -> float:
    """How long a command takes."""
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "RAY_AUTH_MODE": "token"}
    )
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def one_round(address: str, number: int) -> dict[str, float]:
    """Both sides, once."""
    podium, there = [sys.executable, "-m", "podium"], ["--cluster", address]
    name = f"submitting-{os.getpid()}-{number}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "sweep.yaml").write_text(SWEEP.replace("NAME", name))
        (path / "train.py").write_text(TRAIN)
        figures = {
            "ray_jobs_s": seconds([sys.executable, "-c", BARE, address], path),
            "podium_s": seconds([*podium, "launch", "sweep.yaml", "--detach", *there], path),
        }
        seconds([*podium, "logs", "-f", f"{name}/driver", *there], path)
    print(f"  {figures}", file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rounds = [one_round(options.address, number) for number in range(options.rounds)]
    figures: dict[str, Any] = {side: round(statistics.median(r[side] for r in rounds), 2) for side in rounds[0]}
    figures["beyond_s"] = sorted(round(r["podium_s"] - r["ray_jobs_s"], 2) for r in rounds)
    print(json.dumps({"rounds": options.rounds, "load": round(os.getloadavg()[0], 1), **figures}))


if __name__ == "__main__":
    main()

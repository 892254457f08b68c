"""The other side of a benchmark: trials of two workers that return at once, by Ray Train. Prints one JSON line."""

import argparse
import json
import os
import tempfile
import time
from typing import Any


def noop(config: dict[str, Any]) -> None:
    """Reports once and returns."""
    from ray import train

    train.report({"accuracy": 0.5})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3)
    options = parser.parse_args()
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short: sockets have short paths
        ray.init(
            num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=f"{folder}/ray"
        )
        try:
            began = time.perf_counter()
            for number in range(options.trials):
                storage = RunConfig(name=f"noop-{number}", storage_path=f"{folder}/results")
                TorchTrainer(noop, scaling_config=ScalingConfig(num_workers=2), run_config=storage).fit()
            wall_s = time.perf_counter() - began
        finally:
            ray.shutdown()
    print(json.dumps({"trials": options.trials, "wall_s": wall_s, "trials_per_s": options.trials / wall_s}))


if __name__ == "__main__":
    main()

"""What both benchmarks of the obvious glue share: Ray Tune + OptunaSearch (TPE) + MLflowLoggerCallback on SQLite."""

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

METRIC = "accuracy"


def run(
    make: Callable[[], Callable[..., None]], space: dict[str, Any], trials: int, asha_epochs: int | None = None
) -> None:
    """Runs `trials` trials of the function that `make` makes once Ray is up, two at a time, and prints one JSON line.

    With `asha_epochs`, ASHA stops trials at epochs 1, 3, … of so many. `wall_s` is from after `ray.init` to the end
    of `fit`; `reached` has every best value so far with the seconds after which it was reported.
    """
    os.environ |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    }
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # short: sockets have short paths
        os.chdir(folder)
        ray.init(
            num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", _temp_dir=f"{folder}/ray"
        )
        try:
            function = make()
            began = time.perf_counter()
            reached: list[tuple[float, float]] = []

            class Reached(tune.Callback):
                def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **_: Any) -> None:
                    if not reached or result[METRIC] > reached[-1][1]:
                        reached.append((time.perf_counter() - began, result[METRIC]))

            tracking = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name="glue")
            scheduler = None
            if asha_epochs is not None:
                from ray.tune.schedulers import ASHAScheduler

                scheduler = ASHAScheduler(max_t=asha_epochs, grace_period=1, reduction_factor=3)
            tuner = tune.Tuner(
                tune.with_resources(function, {"cpu": 1}),
                param_space=space,
                tune_config=tune.TuneConfig(
                    metric=METRIC,
                    mode="max",
                    search_alg=OptunaSearch(),
                    num_samples=trials,
                    max_concurrent_trials=2,
                    scheduler=scheduler,
                ),
                run_config=tune.RunConfig(
                    name="glue", storage_path=f"{folder}/results", callbacks=[tracking, Reached()], verbose=0
                ),
            )
            results = tuner.fit()
            wall_s = time.perf_counter() - began
        finally:
            ray.shutdown()
            os.chdir(Path(folder).parent)
    assert not results.errors, results.errors
    assert len(results) == trials
    best = results.get_best_result(scope="all").metrics[METRIC]
    figures = {"trials": trials, "wall_s": wall_s, "trials_per_s": trials / wall_s, METRIC: best, "reached": reached}
    print(json.dumps(figures))

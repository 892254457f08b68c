"""Runs both sides of a benchmark in turn and prints the ratio with its spread.

python tests/benchmarks/compare.py noop|mlp|mlp-tune|asha-tune|startup|fused-tabular|…|memory [--rounds 3]
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OURS = "podium_sides.py"

Figures = dict[str, Any]


def sooner(ours: Figures, theirs: Figures) -> float:
    """How many times sooner we reach the lower of both sides' best accuracies."""
    both = min(side["reached"][-1][1] for side in (ours, theirs))
    ours_s, theirs_s = (next(s for s, value in side["reached"] if value >= both) for side in (ours, theirs))
    print(f"  accuracy {both}: {ours_s:.2f} s, {theirs_s:.2f} s", file=sys.stderr, flush=True)
    return float(theirs_s / ours_s)


PAIRS: dict[str, tuple[list[str], list[str], str, Callable[[Figures, Figures], float]]] = {
    "noop": (
        [OURS, "noop"],
        ["tune_noop.py", "--trials", "100"],
        "times as many trials a second as Ray Tune + OptunaSearch + MLflowLoggerCallback (at least 50)",
        lambda ours, theirs: ours["trials_per_s"] / theirs["trials_per_s"],
    ),
    "noop-pairs": (
        [OURS, "noop-pairs"],
        ["train_noop.py"],
        "times as many trials of two ranks a second as Ray Train's TorchTrainer with two workers (at least 200)",
        lambda ours, theirs: ours["trials_per_s"] / theirs["trials_per_s"],
    ),
    "elastic": (
        [OURS, "elastic"],
        [OURS, "elastic", "--ranks", "1"],
        "times the wall time with ranks from 1 to 2 as with one each (at most 0.85)",
        lambda ours, theirs: ours["wall_s"] / theirs["wall_s"],
    ),
    "mlp": (
        [OURS, "mlp"],
        ["bare_mlp.py"],
        "times the wall time of the same training bare, once workers are ready (at most 1.5)",
        lambda ours, theirs: ours["wall_s"] / theirs["wall_s"],
    ),
    "mlp-tune": (
        [OURS, "mlp"],
        ["tune_mlp.py"],
        "times less wall time than Ray Tune's glue for the same 16 trials",
        lambda ours, theirs: theirs["wall_s"] / ours["wall_s"],
    ),
    "asha-tune": (
        [OURS, "asha"],
        ["tune_mlp.py", "--trials", "64", "--epochs", "9", "--asha"],
        "times less wall time than Ray Tune's glue to the accuracy both reach with 64 trials under ASHA (at least 25)",
        sooner,
    ),
    "startup": (
        [OURS, "startup"],
        ["bare_startup.py"],
        "times what ray.init, import torch and import mlflow take, to the first report (at most 2)",
        lambda ours, theirs: ours["first_report_s"] / theirs["wall_s"],
    ),
}

LEAST = {"tabular": "4", "dropout": "4", "digits": "1.5", "lenet": "1.2, or plain training chosen"}
PAIRS |= {
    f"fused-{sweep}": (
        [OURS, sweep],
        [OURS, sweep, "--fuse", "off"],
        f"times as many trials an hour as plain training on warm workers (at least {least})",
        lambda ours, theirs: theirs["wall_s"] / ours["wall_s"],
    )
    for sweep, least in LEAST.items()
}


def run(command: list[str]) -> Figures:
    """The JSON line that a script prints."""
    script, *arguments = command
    done = subprocess.run([sys.executable, HERE / script, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    print(f"  {' '.join(command)}: {figures}", file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", choices=[*PAIRS, "memory"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.benchmark == "memory":
        print(json.dumps(run([OURS, "memory"])))
        return
    ours, theirs, meaning, ratio = PAIRS[options.benchmark]
    ratios = sorted(ratio(run(ours), run(theirs)) for _ in range(options.rounds))
    print(f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) {meaning}")


if __name__ == "__main__":
    main()

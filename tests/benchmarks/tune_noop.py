"""The other side of a benchmark: trials that return at once, by the obvious glue. Prints one JSON line."""

import argparse
from typing import Any

from tune_glue import METRIC, run


def noop(config: dict[str, Any]) -> None:
    """Reports once and returns."""
    from ray import tune

    tune.report({METRIC: config["a"] + config["b"]})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=20)
    from ray import tune

    space: dict[str, Any] = {name: tune.uniform(0.0, 1.0) for name in "abcd"} | {"kind": tune.choice(["x", "y", "z"])}
    run(lambda: noop, space, parser.parse_args().trials)


if __name__ == "__main__":
    main()

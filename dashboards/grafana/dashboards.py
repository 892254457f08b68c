"""Writes Podium's dashboards for Grafana: `python dashboards/grafana/dashboards.py`."""

import json
from pathlib import Path

from one_sweep import SWEEP
from panels import to_grafana
from whole_cluster import CLUSTER

FOLDER = Path(__file__).parent / "dashboards"


def texts() -> dict[str, str]:
    """By the name of a file, what belongs into it."""
    dashboards = {"one_sweep": SWEEP, "whole_cluster": CLUSTER}
    return {
        f"{name}.json": json.dumps(to_grafana(each), indent=2, ensure_ascii=False) + "\n"
        for name, each in dashboards.items()
    }


def main() -> None:
    """Writes the files."""
    for name, text in texts().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()

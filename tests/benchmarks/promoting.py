"""What a promotion costs beyond its trainings.

python tests/benchmarks/promoting.py [--trials 16] [--rounds 3]

Launches the digits experiment once. Then, in turn, `podium promote digits` with three finalists and five seeds, and
`podium launch` of a sweep that lists the same fifteen trainings; each is timed as a whole process. Prints one JSON
line with the times in seconds and the ratio of their medians, and that of each round.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from podium.wiring import plans, summaries
from podium.wiring.place import Place

DIGITS = Path(__file__).parents[2] / "experiments" / "digits" / "sweep.yaml"
JUDGED = (0, 3)
"""The exit codes of a promotion that came to a verdict."""


def podium(place: Place, *arguments: str, codes: tuple[int, ...] = (0,)) -> tuple[float, dict[str, Any]]:
    """Runs a command to its end; returns how long it took, and what it says."""
    began = time.monotonic()
    command = [sys.executable, "-m", "podium", *arguments, "--home", str(place.home), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = time.monotonic() - began
    if done.returncode not in codes:
        raise SystemExit(f"podium {' '.join(arguments)} ended with {done.returncode}")
    return seconds, json.loads(done.stdout.splitlines()[-1])


def listed(place: Place, number: int) -> Path:
    """A sweep file with the fifteen trainings of a promotion."""
    spec = plans.make_plan(place, "digits", None, None).spec
    path = place.home / f"listed-{number}.yaml"
    path.write_text(json.dumps({**spec.written(), "sweep": f"listed-{number}"}))
    return path


def main() -> None:
    """Runs all rounds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        place = Place.of(scratch)
        podium(place, "launch", str(DIGITS), f"budget.trials={options.trials}")
        promotions, sweeps, verdicts = list[float](), list[float](), list[str]()
        for number in range(options.rounds):
            seconds, done = podium(place, "promote", "digits", codes=JUDGED)
            promotions.append(seconds)
            verdicts.append(done["verdict"])
            assert len(summaries.load(place.book(), done["promotion"]).trials) == 15
            sweeps.append(podium(place, "launch", str(listed(place, number)))[0])
    ratios = [one / other for one, other in zip(promotions, sweeps, strict=True)]
    print(
        json.dumps(
            {
                "promotion_s": [round(each, 1) for each in promotions],
                "sweep_s": [round(each, 1) for each in sweeps],
                "verdicts": verdicts,
                "ratio": round(statistics.median(ratios), 2),
                "ratios": [round(each, 2) for each in ratios],
            }
        )
    )


if __name__ == "__main__":
    main()

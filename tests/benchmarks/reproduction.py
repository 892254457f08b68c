"""Whether the trials of a sweep that was killed again and again come out once more.

python tests/benchmarks/reproduction.py [--trials 24] [--reproduced 20] [--kills 6] [--seed 0]

Launches the digits experiment on a Ray of its own; now a rank, now the driver is killed in the middle, and the sweep
resumed. Then trials are reproduced, those first that were fused or interrupted. Prints one JSON line; exit code 1
unless as many as were asked for are identical or within tolerance.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from podium.console import Silent
from podium.errors import LookupFailed, PodiumError
from podium.sweep.machine import Machine
from podium.sweep.messages import AdvanceFailed, GangLost, Progress, Resumed
from podium.sweep.trial import TrialState
from podium.wiring import reproductions, summaries
from podium.wiring.place import Place

DIGITS = Path(__file__).parents[2] / "experiments" / "digits" / "sweep.yaml"
SETTINGS = ("checkpoints.every_s=1", "tracking.plots=false", "tracking.model=false", "tracking.inside=false")
STEP = 8
"""Reports between two kills, about."""


def progress(place: Place) -> int:
    """How many epochs the ledger tells of."""
    with suppress(PodiumError):
        return sum(isinstance(row.event, Progress) for row in place.book().rows("digits"))
    return 0


def ranks(driver: int) -> list[psutil.Process]:
    """The ranks below a driver."""
    found = []
    for process in psutil.Process(driver).children(recursive=True):
        with suppress(psutil.Error):
            found += [process] if process.cmdline()[0].startswith("ray::Rank") else []
    return found


def launch(place: Place, trials: int, kills: int, seed: int) -> list[str]:
    """Launches the sweep and kills something every few epochs; returns what was killed."""
    chance, killed = random.Random(seed), list[str]()
    where = ["--home", str(place.home), "--json"]
    while True:
        # a process may have been killed before it had written a line
        known = place.home.exists() and "digits" in place.book().sweeps()
        what = ["resume", "digits"] if known else ["launch", str(DIGITS), f"budget.trials={trials}", *SETTINGS]
        command = [sys.executable, "-m", "podium", *what, *where]
        problems = place.home.with_suffix(".log")
        with (
            problems.open("w") as log,
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log) as driver,
        ):
            while len(killed) < kills and driver.poll() is None:
                goal = progress(place) + chance.randint(STEP // 2, STEP)
                while driver.poll() is None and progress(place) < goal:
                    time.sleep(0.1)
                time.sleep(chance.random())
                victims = ranks(driver.pid) if driver.poll() is None and len(killed) % 2 == 0 else []
                with suppress(psutil.Error):
                    if victims:
                        chance.choice(victims).kill()
                        killed.append("rank")
                    elif driver.poll() is None:
                        driver.send_signal(signal.SIGKILL)
                        killed.append("driver")
                        break
            driver.wait()
        print(f"  driver ended with {driver.returncode}; killed so far: {killed}", file=sys.stderr, flush=True)
        if driver.returncode == 0:
            return killed
        if driver.returncode > 0 and driver.returncode != 75:
            raise SystemExit(problems.read_text())


def interrupted(place: Place) -> set[int]:
    """The trials that were running when something was killed."""
    machine: Machine | None = None
    found: set[int] = set()
    for row in place.book().rows("digits"):
        if machine is None:
            machine = summaries.empty(row.event)  # type: ignore[arg-type]  # the first one is Launched
        if isinstance(row.event, Resumed | GangLost | AdvanceFailed):
            before = {number for number, trial in machine.trials.items() if trial.state is TrialState.RUNNING}
            machine.handle(row.event)
            after = {number for number, trial in machine.trials.items() if trial.state is TrialState.RUNNING}
            found |= before - after
        else:
            machine.handle(row.event)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--reproduced", type=int, default=20)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Place.of(Path(name) / "home")
        began = time.monotonic()
        killed = launch(place, options.trials, options.kills, options.seed)
        launched_s, broken = time.monotonic() - began, interrupted(place)
        results: list[dict[str, Any]] = []
        failed: list[int] = []
        began = time.monotonic()
        for number in sorted(summaries.load(place.book(), "digits").trials, key=lambda each: each not in broken):
            if len(results) == options.reproduced:
                break
            try:
                results.append(reproductions.reproduce(place, f"digits/{number}", Silent()))
                print(f"  {results[-1]['message']}", file=sys.stderr, flush=True)
            except LookupFailed:  # it has no epoch
                continue
            except PodiumError as error:
                failed.append(number)
                print(f"  trial {number}: {error}", file=sys.stderr, flush=True)
        verdicts = Counter(each["verdict"] for each in results)
        figures = {
            "trials": options.trials,
            "killed": Counter(killed),
            "reproduced": len(results),
            "fused": sum(any(len(stretch["stack"]) > 1 for stretch in each["history"]) for each in results),
            "interrupted": sum(each["trial"] in broken for each in results),
            "epochs": sum(each["epochs"] for each in results),
            "verdicts": verdicts,
            "failed": failed,
            "launched_s": round(launched_s, 1),
            "reproduced_s": round(time.monotonic() - began, 1),
        }
        print(json.dumps(figures))
        is_good = verdicts["identical"] + verdicts["within tolerance"] == options.reproduced
        sys.exit(0 if is_good and not failed else 1)


if __name__ == "__main__":
    main()

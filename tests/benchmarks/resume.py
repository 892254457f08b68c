"""How long a sweep of thousands of finished trials takes to its first new trial, against a fresh launch.

python tests/benchmarks/resume.py [--trials 5000] [--rounds 3]

Both are real launches of the same sweep on a Ray of their own; each time is from the command to the first new
report. Prints one JSON line; the difference is what the history costs.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from podium.execution.simulated import SimulatedExecutor
from podium.spec.files import read_sweep
from podium.sweep.machine import Machine
from podium.sweep.messages import Launched, Progress
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive
from podium.wiring import code
from podium.wiring.place import Place

SWEEP = """
sweep: long
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space:
    a: {float: [0, 1]}
    b: {log: [1e-4, 1]}
    c: {choice: [x, y, z]}
budget: {trials: TRIALS, epochs: {min: 1, max: 9}, policy: asha}
tracking: {plots: false, model: false}
"""
TRAIN = """
def train(trial):
    for step in range(1, 10):
        trial.report(step, {"score": trial.params["a"] + step / 100})
"""
APPEND_AT_ONCE = 500


def write_history(place: Place, folder: Path, trials: int) -> None:
    """A ledger of a finished sweep: what a simulation of it gives, as if the trials had been trained."""
    file = read_sweep(str(folder / "sweep.yaml"), [f"budget.trials={trials}"])
    launched = Launched(
        identity=uuid.uuid4().hex,
        spec=file.spec.written(),
        text=file.text,
        code=code.stage(folder, place),
    )
    machine, memory = Machine(file.spec), MemoryBook().hold(file.spec.sweep)
    executor = SimulatedExecutor(
        file.spec, 2, lambda lane: [float(lane.parameters["a"]) + e / 100 for e in range(1, 10)], lambda advance: 1.0
    )
    executor.start()
    drive(machine, memory, RandomProposer(file.spec.space()), executor, executor.clock, (launched,))
    book = place.book()
    ledger = book.hold(file.spec.sweep)
    events = memory.events()
    for first in range(0, len(events), APPEND_AT_ONCE):
        ledger.append(events[first : first + APPEND_AT_ONCE])
    ledger.release()
    book.close()


def first_report_s(folder: Path, place: Place, trials: int) -> float:
    """Seconds from the command to the first new report."""
    known = list(place.book().rows("long")) if (place.home / "ledger.db").exists() else []
    after = known[-1].sequence if known else -1
    command = [sys.executable, "-m", "podium", "launch", str(folder / "sweep.yaml"), f"budget.trials={trials}"]
    began = time.time()
    subprocess.run([*command, "--home", str(place.home), "--json"], check=True, capture_output=True)
    return next(row.at for row in place.book().rows("long", after) if isinstance(row.event, Progress)) - began


def one_round(trials: int) -> dict[str, float]:
    """A fresh launch and a resumption, each in a home of its own."""
    figures = {}
    for side in ("fresh", "resumed"):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "sweep.yaml").write_text(SWEEP.replace("TRIALS", "4"))
            (folder / "train.py").write_text(TRAIN)
            place = Place.of(folder / ".home")
            if side == "resumed":
                write_history(place, folder, trials)
            figures[side] = first_report_s(folder, place, 4 if side == "fresh" else trials + 4)
    print(f"  {figures}", file=sys.stderr, flush=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = [one_round(options.trials) for _ in range(options.rounds)]
    differences = [each["resumed"] - each["fresh"] for each in rounds]
    figures: dict[str, Any] = {side: round(statistics.median(r[side] for r in rounds), 2) for side in rounds[0]}
    figures["difference"] = [round(value, 2) for value in sorted(differences)]
    print(json.dumps({"trials": options.trials, **figures}))


if __name__ == "__main__":
    main()

"""Sweeps as large as any: the real machine and driver on a virtual clock, and their ledger in an SQLite file.

python tests/large_sweeps.py HOME [--trials 10000]
"""

import argparse
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from podium.execution.simulated import SimulatedExecutor
from podium.ledger import Book
from podium.ledger.database import open_database
from podium.ledger.schema import EVENTS, SCHEMA_VERSION, digest
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Event, Lane, LaneProgress, Progress
from podium.testing.ledgers import MemoryBook
from podium.testing.simulation import RandomProposer, drive, launched

METRICS = (
    "train/loss",
    "train/accuracy",
    "validation/loss",
    "validation/top_5",
    "system/samples_per_s",
    "system/memory_mb",
)
"""What each epoch reports beside the objective."""

SPACE = {
    "network.depth": {"int": [1, 4]},
    "network.activation": {"choice": ["relu", "sigmoid", "tanh", "gelu"]},
    "initializer.scheme": {"choice": ["small_normal", "xavier_uniform", "he_normal", "orthogonal"]},
    "optimizer.kind": {"choice": ["sgd", "adam"]},
    "optimizer.learning_rate": {"log": [1e-4, 1.0]},
    "penalty.l2": {"log": [1e-7, 1e-2]},
    "network.dropout": {"float": [0.0, 0.6]},
}


@dataclass(frozen=True)
class Played:
    """A sweep that was played: its rows as (virtual second, event), and the last state."""

    spec: SweepSpec
    rows: list[tuple[float, Event]]
    machine: Machine

    @property
    def points(self) -> int:
        """How many metric points its rows hold."""
        lanes = (lane for _, event in self.rows if isinstance(event, Progress) for lane in event.lanes)
        return sum(len(lane.metrics) for lane in lanes)


def large_spec(name: str = "large", trials: int = 10_000, policy: str = "asha", **budget: Any) -> SweepSpec:
    epochs = {"min": 1, "max": 27, "factor": 3}
    return SweepSpec.model_validate(
        {
            "sweep": name,
            "task": "train.py:train",
            "search": {"objective": {"metric": "validation/accuracy", "direction": "maximize"}, "space": SPACE},
            "budget": {"trials": trials, "epochs": epochs, "policy": policy, **budget},
        }
    )


def curve(lane: Lane) -> Sequence[float | None]:
    """A plausible accuracy: best at a rate of 0.01, worse with depth under a small initializer; some diverge."""
    point = lane.parameters
    rate, depth = float(point["optimizer.learning_rate"]), int(point["network.depth"])  # type: ignore[arg-type]
    random = np.random.default_rng(lane.seed)
    if rate > 0.6 and random.random() < 0.5:
        return [0.1, None]
    fit = math.exp(-((math.log10(rate) + 2) ** 2) / 2) * (0.6 if point["initializer.scheme"] == "small_normal" else 1)
    limit = 0.1 + 0.85 * fit ** (depth / 2) * (1 - float(point["network.dropout"]) / 4)  # type: ignore[arg-type]
    noise = random.normal(0, 0.01, 27).tolist()
    return [min(0.999, limit * (1 - math.exp(-epoch / 4)) + noise[epoch - 1]) for epoch in range(1, 28)]


def epoch_s(advance: Advance) -> float:
    return 2.0 + 1.5 * int(advance.lanes[0].parameters["network.depth"])  # type: ignore[arg-type]


def play(spec: SweepSpec, gangs: int = 16) -> Played:
    """Plays a sweep to its end."""
    executor = SimulatedExecutor(spec, gangs, curve, epoch_s)
    executor.start()
    machine, memory = Machine(spec), MemoryBook().hold(spec.sweep)
    at: list[float] = []
    append = memory.append

    def timed(events: Sequence[Event]) -> int:
        at.extend([executor.clock.monotonic()] * len(events))
        return append(events)

    memory.append = timed  # type: ignore[method-assign]
    opening = launched(spec).model_copy(update={"provenance": {"user": "ada"}})
    drive(machine, memory, RandomProposer(spec.space()), executor, executor.clock, (opening,))
    return Played(spec, list(_spread(spec, zip(at, memory.events(), strict=True))), machine)


def write(home: Path, played: Played, rows: Sequence[tuple[float, Event]] | None = None) -> None:
    """Writes a sweep's rows (all of them by default) into the home's ledger, as if they ended now."""
    home.mkdir(parents=True, exist_ok=True)
    engine, _ = open_database(f"sqlite:///{home / 'ledger.db'}")
    rows = played.rows if rows is None else rows
    began, previous, made = time.time() - rows[-1][0], "", []
    for sequence, (at, event) in enumerate(rows):
        row: dict[str, Any] = {"sweep": played.spec.sweep, "sequence": sequence, "at": began + at, "holder_epoch": 1}
        row |= {"kind": event.kind, "schema_version": SCHEMA_VERSION, "body": event.model_dump_json()}
        row |= {"previous_hash": previous, "hash": digest(previous, row)}
        previous = row["hash"]
        made.append(row)
    with engine.begin() as connection:
        for first in range(0, len(made), 10_000):
            connection.execute(EVENTS.insert(), made[first : first + 10_000])
    engine.dispose()
    facts = {f"run/{number}": f"{number:032x}" for number in played.machine.trials}
    book = Book.at_home(home)
    book.facts(played.spec.sweep).put(facts)
    book.close()


def _spread(spec: SweepSpec, rows: Iterable[tuple[float, Event]]) -> Iterable[tuple[float, Event]]:
    """An event an epoch with several metrics, as ranks tell of them, instead of one an advance."""
    for at, event in rows:
        if not isinstance(event, Progress):
            yield at, event
            continue
        for lane in event.lanes:
            value = lane.metrics["validation/accuracy"]
            told = {name: None if value is None else 1 - value for name in METRICS} | lane.metrics
            told = LaneProgress(trial=lane.trial, epoch=lane.epoch, metrics=told)
            yield at, Progress(gang=event.gang, lanes=(told,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--trials", type=int, default=10_000)
    options = parser.parse_args()
    played = play(large_spec(trials=options.trials))
    write(options.home, played)
    print(f"{len(played.machine.trials):,} trials, {len(played.rows):,} events, {played.points:,} metric points")


if __name__ == "__main__":
    main()

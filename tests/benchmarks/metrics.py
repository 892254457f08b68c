"""What it costs a driver to be asked by Prometheus each second: nothing beyond the spread of its loop time.

A simulated sweep with a real ledger is driven again and again, in turn without an endpoint and with one that another
process asks each second. Prints for each round the driver's time between two waits, then the ratios of neighbouring
rounds with their spread, and how long an answer takes once all trials are there.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.machine import Machine
from podium.sweep.messages import Lane
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec
from podium.wiring import endpoint
from podium.wiring.metrics import Meters, Timed
from podium.wiring.place import Place

ASKING = """
import sys, time, urllib.request
while True:
    began = time.monotonic()
    if sys.argv[1]:
        urllib.request.urlopen(sys.argv[1]).read()
    print(time.monotonic() - began, flush=True)
    time.sleep(max(0, 1 - time.monotonic() + began))
"""


def curve(lane: Lane) -> list[float]:
    return [float(lane.parameters["x"]) / epoch for epoch in range(1, 10)]


@contextmanager
def asking(url: str) -> Iterator[list[float]]:
    """Another process that asks once a second, or does the like without a question where there is no address.

    It lasts as long as the block; then the seconds of each answer are there.
    """
    answers: list[float] = []
    with subprocess.Popen([sys.executable, "-c", ASKING, url], stdout=subprocess.PIPE, text=True) as process:
        yield answers
        process.kill()
        answers += map(float, process.communicate()[0].splitlines())


def run(trials: int, *, is_asked: bool) -> tuple[list[float], list[float]]:
    """One sweep: milliseconds of each loop of the driver, and the seconds of each answer."""
    with tempfile.TemporaryDirectory() as home:
        place = replace(Place.of(home), metrics="0" if is_asked else "", cluster="inline")
        book, spec = place.book(), toy_spec(trials)
        machine, ledger, opening = Machine(spec), book.hold("toy"), launched(spec)
        executor = SimulatedExecutor(spec, 8, curve, lambda advance: 1.0)
        executor.start()
        seconds: list[float] = []
        with endpoint.metered(machine, opening, ledger, book, place) as metrics:
            timed, proposer = Timed(metrics.timed(executor), seconds.append), RandomProposer(spec.space())
            with asking(metrics.url) as answers:
                drive(machine, ledger, proposer, timed, executor.clock, (opening,), metrics.news)
        ledger.release()
        return [1000 * each for each in seconds[1:]], answers


def answer_ms(trials: int) -> float:
    """How long it takes to collect everything of a sweep of so many trials that is over, in milliseconds."""
    from prometheus_client import CollectorRegistry, generate_latest

    from podium.testing.simulation import simulate

    machine = simulate(toy_spec(trials), 64, curve).machine
    with tempfile.TemporaryDirectory() as home:
        place = Place.of(home)
        book = place.book()
        ledger, registry = book.hold("toy"), CollectorRegistry()
        registry.register(Meters(machine, launched(machine.spec), ledger, book, place))
        taken = []
        for _ in range(20):
            began = time.perf_counter()
            generate_latest(registry)
            taken.append(1000 * (time.perf_counter() - began))
        ledger.release()
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--many", type=int, default=10_000)
    arguments = parser.parse_args()
    ratios: dict[str, list[float]] = {"median": [], "p99": []}
    for number in range(arguments.rounds):
        order = (False, True) if number % 2 == 0 else (True, False)
        figures = {}
        for is_asked in order:
            loops, answers = run(arguments.trials, is_asked=is_asked)
            figures[is_asked] = {"median": statistics.median(loops), "p99": float(np.percentile(loops, 99))}
            shown = {name: round(value, 3) for name, value in figures[is_asked].items()}
            told = f", {len(answers)} answers" if is_asked else ""
            print(
                f"{'asked each second' if is_asked else 'not asked'}: {len(loops)} loops, ms {shown}{told}", flush=True
            )
        for name, values in ratios.items():
            values.append(figures[True][name] / figures[False][name])
    for name, values in ratios.items():
        print(
            f"{name}: {statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f}) times as long if asked"
        )
    print(f"an answer about {arguments.many} trials: {answer_ms(arguments.many):.1f} ms")


if __name__ == "__main__":
    main()

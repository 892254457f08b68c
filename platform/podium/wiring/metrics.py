"""What Prometheus is told of a sweep that runs: its state as it stands when somebody asks, and what was counted so far.

The driver only counts; whoever asks reads the machine from a thread of its own, by snapshots that no lock guards. Names
and units follow Prometheus' practice; no label stands for a trial, so that ten thousand of them make no more series.
"""

import math
import shutil
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from podium.errors import StorageFault
from podium.ledger import Book, HeldLedger
from podium.store import local_path
from podium.sweep.machine import Machine
from podium.sweep.messages import Advance, Event, Launched, Progress
from podium.sweep.protocols import Executor
from podium.sweep.spending import total, wasted
from podium.sweep.trial import NOTHING, TrialState
from podium.wiring.place import Place

LOOP_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""The upper ends of the histogram of loop times, in seconds."""

KINDS = tuple(kind.model_fields["kind"].default for kind in get_args(get_args(Event)[0]))
"""The kinds of events; every one is told from the start, so that the first of a kind counts as an increase."""

RATE = "train/samples_per_s"
"""The metric by which the training loop tells its speed, lane by lane."""


class Meters(Collector):
    """Counts what the driver does, and tells it with the state of its sweep to whoever collects.

    Args:
        machine: The sweep.
        launched: Its first event.
        ledger: Its events and its lease, as this driver holds them.
        book: The book they are in, which knows how far MLflow is.
        place: Whose disks may fill up.
    """

    def __init__(self, machine: Machine, launched: Launched, ledger: HeldLedger, book: Book, place: Place) -> None:
        self._machine, self._ledger, self._sweep = machine, ledger, machine.spec.sweep
        self._facts = book.facts(self._sweep)
        self._disks = {"home": place.home, "store": local_path(place.store, "")}
        spec = machine.spec
        self._info = {
            "user": str(launched.provenance.get("user", "")),
            "task": spec.task,
            "policy": spec.budget.policy,
            "sampler": spec.search.sampler,
        }
        self._events = Counter(dict.fromkeys(KINDS, 0))
        self._loops, self._loops_s = [0] * (len(LOOP_S) + 1), 0.0
        self._rates: dict[int, float] = {}

    # the driver's side

    def news(self, events: Sequence[Event]) -> None:
        """Counts events that the machine has taken."""
        for event in events:
            self._events[event.kind] += 1
            if isinstance(event, Progress):
                for lane in event.lanes:
                    self._rates[lane.trial] = lane.metrics.get(RATE) or 0.0

    def looped(self, seconds: float) -> None:
        """Counts one loop of the driver, which was busy for so long."""
        self._loops[bisect_left(LOOP_S, seconds)] += 1
        self._loops_s += seconds

    def timed(self, executor: Executor) -> Executor:
        """The executor, whose driver's loops are counted."""
        return Timed(executor, self.looped)

    # the side of whoever asks

    def collect(self) -> Iterator[Metric]:
        """All series, as things stand."""
        yield from self._sweep_series()
        yield from self._gang_series()
        yield from self._driver_series()
        yield from self._disk_series()

    def _sweep_series(self) -> Iterator[Metric]:
        machine = self._machine
        trials = list(machine.trials.values())
        counts = Counter(trial.state for trial in trials)
        info = GaugeMetricFamily("podium_sweep_info", "What kind of sweep this is.", labels=["sweep", *self._info])
        info.add_metric([self._sweep, *self._info.values()], 1)
        yield info
        yield self._gauge(
            "podium_sweep_running", "1 until the sweep has ended or was interrupted.", not machine.is_ended
        )
        yield self._gauge("podium_trials", "Trials by state.", {state: counts[state] for state in TrialState}, "state")
        yield self._gauge("podium_budget_trials", "How many trials the sweep may have.", machine.budget)
        best, objectives = machine.best(), machine.spec.search.objectives
        values = () if best is None else best.last_values
        known = {each.metric: value for each, value in zip(objectives, values, strict=False) if value is not None}
        yield self._gauge("podium_best_value", "The best trial's values at the highest rung reached.", known, "metric")
        spent, in_vain = machine.spending.total, total(lost for lost in map(wasted, trials) if lost is not NOTHING)
        taken = {"cpu": spent.cpu_s, "gpu": spent.gpu_s}
        vain = {"cpu": in_vain.cpu_s, "gpu": in_vain.gpu_s}
        yield self._counter("podium_device_seconds", "Devices' time that training has taken.", taken, "device")
        yield self._counter("podium_device_seconds_wasted", "What of it was in vain, as known by now.", vain, "device")

    def _gang_series(self) -> Iterator[Metric]:
        is_busy = Counter(key is not None for key in dict(self._machine.gangs).values())
        lanes = [lane.trial for each in self._machine.pending() if isinstance(each, Advance) for lane in each.lanes]
        speed = math.fsum(self._rates.get(number, 0.0) for number in lanes)
        yield self._gauge(
            "podium_gangs", "Gangs by what they do.", {"busy": is_busy[True], "idle": is_busy[False]}, "state"
        )
        yield self._gauge("podium_lanes", "Trials that gangs are training now.", len(lanes))
        yield self._gauge(
            "podium_samples_per_second", "At which speed those trials last trained an epoch, in sum.", speed
        )

    def _driver_series(self) -> Iterator[Metric]:
        yield self._counter(
            "podium_events", "Events that this driver has written, by kind.", dict(self._events), "kind"
        )
        loops = HistogramMetricFamily("podium_loop_seconds", "The driver's time between two waits.", labels=["sweep"])
        ends = [*map(str, LOOP_S), "+Inf"]
        loops.add_metric([self._sweep], list(zip(ends, accumulate(list(self._loops)), strict=True)), self._loops_s)
        yield loops
        age = time.monotonic() - self._ledger.renewed
        yield self._gauge("podium_lease_age_seconds", "Time since this driver has last renewed its lease.", age)
        written = self._ledger.sequence + 1
        yield self._gauge("podium_ledger_events", "Events in the sweep's ledger.", written)
        with suppress(StorageFault):
            shown = self._facts.get("projected")
            behind = written if shown is None else max(0, written - 1 - shown)
            yield self._gauge("podium_tracker_backlog_events", "Events that MLflow does not show yet.", behind)

    def _disk_series(self) -> Iterator[Metric]:
        found = {}
        for name, folder in self._disks.items():
            with suppress(OSError):
                if folder is not None:
                    found[name] = shutil.disk_usage(folder)
        free = {name: usage.free for name, usage in found.items()}
        size = {name: usage.total for name, usage in found.items()}
        yield self._gauge("podium_disk_free_bytes", "What is free of the disks of home and store.", free, "disk")
        yield self._gauge("podium_disk_size_bytes", "How large they are.", size, "disk")

    def _gauge(self, name: str, text: str, values: float | Mapping[str, float], label: str = "") -> Metric:
        """One series of the sweep's, or by what its label says."""
        family = GaugeMetricFamily(name, text, labels=["sweep", label] if label else ["sweep"])
        for key, value in values.items() if isinstance(values, Mapping) else [("", values)]:
            family.add_metric([self._sweep, str(key)] if label else [self._sweep], float(value))
        return family

    def _counter(self, name: str, text: str, values: Mapping[str, float], label: str) -> Metric:
        family = CounterMetricFamily(name, text, labels=["sweep", label])
        for key, value in values.items():
            family.add_metric([self._sweep, key], float(value))
        return family


class Timed:
    """An executor whose driver is timed, from what one wait has told to the next wait.

    Args:
        executor: That does the work.
        looped: Is told of each loop how many seconds it took.
    """

    def __init__(self, executor: Executor, looped: Callable[[float], None]) -> None:
        self.start, self.close = executor.start, executor.close
        self.advance, self.halt, self.expect = executor.advance, executor.halt, executor.expect
        self._wait, self._looped, self._told = executor.wait, looped, time.perf_counter()

    def wait(self, timeout_s: float) -> Sequence[Event]:
        """What the executor has to tell."""
        self._looped(time.perf_counter() - self._told)
        events = self._wait(timeout_s)
        self._told = time.perf_counter()
        return events

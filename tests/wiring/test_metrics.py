"""What drivers tell Prometheus, where they are found, and who is refused."""

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from wiring_cases import podium_here

from podium.errors import UserError
from podium.execution.simulated import SimulatedExecutor
from podium.ledger import Book, HeldLedger
from podium.ledger.schema import LEASES
from podium.sweep.machine import Machine, replay
from podium.sweep.messages import Advance, Event, Lane, Resumed
from podium.sweep.trial import TrialState
from podium.testing.simulation import RandomProposer, drive, launched, toy_spec
from podium.wiring import endpoint, metrics, tracker
from podium.wiring.metrics import KINDS, Meters, Timed
from podium.wiring.place import Place

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(meters: Meters) -> Series:
    """All samples, by name and labels without the sweep's."""
    found = {}
    for family in meters.collect():
        for sample in family.samples:
            assert sample.labels["sweep"] == "toy"
            labels = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "sweep"))
            assert (sample.name, labels) not in found
            found[sample.name, labels] = sample.value
    return found


def by_label(series: Series, name: str) -> dict[str, float]:
    """The values of a series by its one label."""
    return {labels[0][1]: value for (each, labels), value in series.items() if each == name}


class Sweep:
    """A simulated sweep with a real ledger, and its meters."""

    def __init__(self, folder: Path, trials: int = 12, **settings: Any) -> None:
        self.place = Place.of(folder)
        self.book = self.place.book()
        self.spec = toy_spec(trials, **settings)
        self.machine, self.ledger = Machine(self.spec), self.book.hold("toy")
        self.opening: tuple[Event, ...] = (launched(self.spec),)
        self.meters = self.meet(self.machine, self.ledger)
        self.seen: list[Series] = []

    def meet(self, machine: Machine, ledger: HeldLedger) -> Meters:
        return Meters(machine, launched(self.spec), ledger, self.book, self.place)

    def watch(self, events: Sequence[Event]) -> None:
        self.meters.news(events)

    def run(self, gangs: int = 3) -> "Sweep":
        executor = SimulatedExecutor(self.spec, gangs, curve, lambda advance: 2.0)
        executor.start()
        proposer = RandomProposer(self.spec.space())
        timed = self.meters.timed(executor)
        drive(self.machine, self.ledger, proposer, timed, executor.clock, self.opening, self.watch)
        return self


class Looked(Sweep):
    """One that is looked at after each event."""

    def watch(self, events: Sequence[Event]) -> None:
        super().watch(events)
        self.seen.append(read(self.meters))
        machine, last = self.machine, self.seen[-1]
        trials = by_label(last, "podium_trials")
        assert trials == {state: machine.count().get(state, 0) for state in TrialState}
        busy = sum(key is not None for key in machine.gangs.values())
        assert by_label(last, "podium_gangs") == {"busy": busy, "idle": len(machine.gangs) - busy}
        assert last["podium_lanes", ()] == trials["running"]


def curve(lane: Lane) -> list[float | None]:
    value = float(lane.parameters["x"])
    return [None if value > 0.95 else value / epoch for epoch in range(1, 10)]


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    sweep = Sweep(tmp_path)
    yield sweep
    sweep.ledger.release()


def test_what_is_told_is_what_the_machine_knows(tmp_path: Path) -> None:
    sweep = Looked(tmp_path).run()
    last = sweep.seen[-1]
    assert last["podium_sweep_running", ()] == 0
    assert sweep.seen[0]["podium_sweep_running", ()] == 1
    assert last["podium_budget_trials", ()] == 12
    best = sweep.machine.best()
    assert best is not None
    assert last["podium_best_value", (("metric", "score"),)] == best.last_values[0]
    taken = by_label(last, "podium_device_seconds_total")
    assert taken == {"cpu": pytest.approx(sweep.machine.spending.total.cpu_s), "gpu": 0}
    assert taken["cpu"] > 0
    written = list(sweep.ledger.events())
    kinds = by_label(last, "podium_events_total")
    assert kinds == {kind: sum(event.kind == kind for event in written) for kind in KINDS}
    assert last["podium_ledger_events", ()] == len(written)
    loops = by_label(last, "podium_loop_seconds_bucket")
    assert loops["+Inf"] == last["podium_loop_seconds_count", ()] >= len(sweep.seen) / 2
    assert list(loops.values()) == sorted(loops.values())
    assert 0 < last["podium_loop_seconds_sum", ()] < 60


def test_counters_never_fall(tmp_path: Path) -> None:
    """Prometheus takes a counter that falls for one that began anew, and counts it double."""
    sweep = Looked(tmp_path, 30).run()
    for before, after in zip(sweep.seen, sweep.seen[1:], strict=False):
        for name, labels in before:
            if name.endswith(("_total", "_count", "_sum", "_bucket")):
                assert after[name, labels] >= before[name, labels], (name, labels)


def test_more_trials_make_no_more_series(tmp_path: Path) -> None:
    few, many = (Sweep(tmp_path / str(trials), trials).run() for trials in (6, 60))
    assert read(few.meters).keys() == read(many.meters).keys()


def test_state_is_told_as_before_once_it_was_resumed(sweep: Sweep) -> None:
    sweep.run()
    before = read(sweep.meters)
    sweep.ledger.release()
    ledger = sweep.book.hold("toy")
    machine = replay([*ledger.events(), Resumed(holder="another")])
    after = read(sweep.meet(machine, ledger))
    ledger.release()
    own = ("podium_events", "podium_loop", "podium_lease", "podium_disk", "podium_gangs")  # whose gangs are gone
    kept = {key: value for key, value in before.items() if not key[0].startswith(own)}
    assert len(kept) > 15
    assert kept == {key: value for key, value in after.items() if not key[0].startswith(own)}


def test_who_asks_while_the_sweep_runs_disturbs_nothing(sweep: Sweep) -> None:
    troubles, looks, is_over = list[Exception](), 0, threading.Event()

    def look() -> None:
        nonlocal looks
        while not is_over.is_set():
            try:
                read(sweep.meters)
                looks += 1
            except Exception as error:
                troubles.append(error)

    sweep.spec = toy_spec(60)
    sweep.machine = Machine(sweep.spec)
    sweep.opening = (launched(sweep.spec),)
    sweep.meters = sweep.meet(sweep.machine, sweep.ledger)
    thread = threading.Thread(target=look)
    thread.start()
    try:
        sweep.run(gangs=8)
    finally:
        is_over.set()
        thread.join()
    assert not troubles
    assert looks > 5
    assert len(sweep.machine.trials) == 60


def test_the_list_of_series_is_whole(sweep: Sweep, root: Path) -> None:
    text = (root / "dashboards" / "prometheus" / "README.md").read_text()
    told = {name for name, _ in read(sweep.run().meters)}
    listed = set(re.findall("`(podium_[a-z_]+)`", text))
    assert listed == {re.sub("_(bucket|sum|count)$", "", name) for name in told}


def test_how_far_mlflow_is_comes_from_the_tracker(sweep: Sweep) -> None:
    sweep.run()
    events = sweep.ledger.sequence + 1
    assert read(sweep.meters)["podium_tracker_backlog_events", ()] == events, "it has shown nothing"
    for shown, behind in ((events - 1, 0), (events - 11, 10)):
        sweep.book.facts("toy").put({"projected": shown})
        assert read(sweep.meters)["podium_tracker_backlog_events", ()] == behind


def test_the_tracker_tells_how_far_it_is_once_a_second_and_in_the_end(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep.run()
    now, facts = 100.0, sweep.book.facts("toy")
    monkeypatch.setattr(tracker.time, "monotonic", lambda: now)
    shown = tracker._Tracker(sweep.book, "toy", sweep.place, sweep.ledger, follow=True, beyond=-1)
    for second, projected, noted in ((0, 5, 5), (0.2, 7, 5), (0.4, 7, 5), (1.2, 7, 7), (9, 7, 7), (9.1, 8, 8)):
        now, shown._projected = 100 + second, projected
        shown._note_projected()
        assert facts.get("projected") == noted
    shown._projected, shown._is_over = 9, True
    shown._note_projected()
    assert facts.get("projected") == 9


def test_the_lease_grows_old_until_it_is_renewed(sweep: Sweep) -> None:
    sweep.ledger.renewed -= 17
    assert 17 <= read(sweep.meters)["podium_lease_age_seconds", ()] < 22


def test_speed_is_that_of_the_trials_that_run(sweep: Sweep) -> None:
    executor = SimulatedExecutor(sweep.spec, 2, curve, lambda advance: 2.0)
    advances: list[Advance] = []

    def watch(events: Sequence[Event]) -> None:
        for event in events:
            if event.kind == "progress":
                lanes = [lane.model_copy(update={"metrics": {"train/samples_per_s": 100.0}}) for lane in event.lanes]
                events = [event.model_copy(update={"lanes": tuple(lanes)})]
                sweep.meters.news(events)
                told = read(sweep.meters)
                assert told["podium_samples_per_second", ()] in {100.0 * n for n in range(3)}
                advances.append(event)

    executor.start()
    drive(
        sweep.machine, sweep.ledger, RandomProposer(sweep.spec.space()), executor, executor.clock, sweep.opening, watch
    )
    assert advances
    assert read(sweep.meters)["podium_samples_per_second", ()] == 0, "nothing runs any more"


def test_a_full_or_missing_disk_is_no_reason_to_be_silent(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path / "home")
    away = replace(sweep.place, store=str(tmp_path / "gone"))
    told = read(Meters(sweep.machine, launched(sweep.spec), sweep.ledger, sweep.book, away))
    sweep.ledger.release()
    assert by_label(told, "podium_disk_free_bytes").keys() == {"home"}
    usage = shutil.disk_usage(tmp_path)
    assert told["podium_disk_size_bytes", (("disk", "home"),)] == usage.total


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed; tests/services.sh does that")
def test_names_and_texts_are_as_prometheus_wants_them(sweep: Sweep) -> None:
    sweep.run()
    registry = CollectorRegistry()
    registry.register(sweep.meters)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_loop_is_what_lies_between_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(metrics.time, "perf_counter", lambda: now)

    class Slow:
        def wait(self, timeout_s: float) -> list[Event]:
            nonlocal now
            now += 50
            return []

        start = close = advance = halt = expect = lambda *_: None

    seconds: list[float] = []
    timed = Timed(Slow(), seconds.append)
    for second in (1, 2, 4):
        now += second
        timed.wait(0)
    assert seconds == [1, 2, 4]


# where they are asked


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("9464", ("127.0.0.1", 9464)),
        ("0", ("127.0.0.1", 0)),
        ("10.77.0.1:9464", ("10.77.0.1", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("cluster:0", ("cluster", 0)),
    ],
)
def test_places_to_tell_metrics_at(text: str, meant: tuple[str, int]) -> None:
    assert endpoint.parse(text) == meant


@pytest.mark.parametrize("text", ["http", "65536", "-1", "localhost:80", "10.0.0:1", "9464:", "a:b:c"])
def test_places_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="give a port of this machine's"):
        endpoint.parse(text)


def metered(sweep: Sweep, metrics: str, warned: list[str]) -> Any:
    place = replace(sweep.place, metrics=metrics, cluster="inline")
    return endpoint.metered(sweep.machine, launched(sweep.spec), sweep.ledger, sweep.book, place, warned.append)


def test_prometheus_is_answered_on_loopback_and_told_where(sweep: Sweep) -> None:
    with metered(sweep, "0", []) as metrics:
        (target,) = endpoint.targets(sweep.book)
        assert target["labels"] == {"sweep": "toy"}
        (address,) = target["targets"]
        assert metrics.url == f"http://{address}/metrics"
        assert address.startswith("127.0.0.1:")
        with urllib.request.urlopen(metrics.url, timeout=10) as answer:
            assert 'podium_trials{state="waiting",sweep="toy"} 0.0' in answer.read().decode()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(metrics.url, timeout=10)
    sweep.ledger.release()
    assert endpoint.targets(sweep.book) == [], "who has left is not asked"


def test_nothing_is_opened_unless_somebody_wants_it(sweep: Sweep) -> None:
    before = threading.active_count()
    with metered(sweep, "", []) as metrics:
        assert metrics.url == ""
        assert threading.active_count() == before
        assert endpoint.targets(sweep.book) == []
        executor = SimulatedExecutor(sweep.spec, 1, curve, lambda advance: 1.0)
        assert metrics.timed(executor) is executor


def test_a_port_that_is_taken_stops_no_training(sweep: Sweep) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        warned: list[str] = []
        with metered(sweep, str(port), warned) as metrics:
            assert metrics == (None, "")
        assert re.search(rf"127\.0\.0\.1:{port} cannot be opened: .* give another port.* the sweep goes on", warned[0])
        assert endpoint.targets(sweep.book) == []


def test_an_address_that_is_none_is_told_of_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODIUM_METRICS", "somewhere")
    done = podium_here(tmp_path, "resume", "toy")
    assert (done.code, "'somewhere' is no place to tell metrics at" in done.problems) == (2, True)


def test_a_driver_that_was_killed_is_missed_for_a_day(sweep: Sweep) -> None:
    def age(book: Book, seconds: float) -> None:
        with book._engine.begin() as connection:
            connection.execute(sa.update(LEASES).values(expires=time.time() - seconds))

    with metered(sweep, "0", []):
        pass
    for hours, is_missed in ((1, True), (23, True), (25, False)):
        age(sweep.book, 3600 * hours)
        assert bool(endpoint.targets(sweep.book)) is is_missed


def test_a_driver_that_tells_nothing_is_not_taken_for_the_one_before(sweep: Sweep) -> None:
    with metered(sweep, "0", []):
        pass
    sweep.ledger.release()
    again = sweep.book.hold("toy")
    assert endpoint.targets(sweep.book) == []
    again.release()


def test_targets_on_the_command_line(sweep: Sweep, tmp_path: Path) -> None:
    home = ("--home", str(sweep.place.home))
    with metered(sweep, "0", []) as metrics:
        address = metrics.url.split("/")[2]
        listed = podium_here(tmp_path, "targets", *home)
        assert [line.split() for line in listed.output.splitlines()] == [["sweep", "address"], ["toy", address]]
        written = podium_here(tmp_path, "targets", "--write", "podium.json", "--json", *home)
    expected = [{"targets": [address], "labels": {"sweep": "toy"}}]
    assert written.json == {"targets": expected}
    assert json.loads((tmp_path / "podium.json").read_text()) == expected
    sweep.ledger.release()
    assert "no driver tells metrics now" in podium_here(tmp_path, "targets", *home).output


def test_mistakes_on_the_command_line(tmp_path: Path) -> None:
    for words, said in [
        (("targets", "--every", "5"), "add --write FILE"),
        (("targets", "--write", "no/such/folder/podium.json"), "cannot be written: No such file or directory"),
        (("resume", "toy", "--metrics", "somewhere"), "'somewhere' is no place to tell metrics at"),
    ]:
        done = podium_here(tmp_path, *words)
        assert (done.code, done.output) == (2, "")
        assert said in done.problems
        assert "Traceback" not in done.problems

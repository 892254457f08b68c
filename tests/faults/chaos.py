"""Chaos: small sweeps on a real Ray and a real MLflow server, and a seeded killer among their processes.

By hand, with a summary as JSON in the last line:  python tests/faults/chaos.py --rounds 200
"""

import argparse
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
from services import Services, has_words, running_services
from verdict import assert_nothing_lost

from podium.sweep.machine import Machine
from podium.sweep.messages import Saved
from podium.wiring import summaries
from podium.wiring.place import Place

SWEEP = """
sweep: {name}
task: train.py:train
search:
  objective: {{metric: score, direction: maximize}}
  sampler: random
  space: {{x: {{float: [0, 1]}}}}
budget: {{trials: 24, epochs: {{min: 1, max: 4, factor: 2}}, policy: asha}}
tracking: {{plots: false}}
"""
TRAIN = """
import json
import time


def train(trial):
    step, score = 0, trial.params["x"]
    if trial.saved:
        step, score = json.loads((trial.saved / "state.json").read_text())
    with open({diary!r}, "a") as diary:
        diary.write(json.dumps([time.time(), trial.number, step]) + "\\n")
    while step < 4:
        time.sleep(0.02)
        step, score = step + 1, 3.9 * score * (1 - score)
        with trial.checkpoint() as folder:
            (folder / "state.json").write_text(json.dumps([step, score]))
        trial.report(step, {{"score": score}})
"""
"""The score follows from the whole history of a trial: one that goes on from a wrong place has another."""

EVENTS = 165
"""How many events the sweep has if nothing happens to it."""

DRIVE_S = 300.0
"""How long one driver may take."""

DRIVES = 8
"""How many drivers a sweep may need."""

POLL_S = 0.02

FINISHED, INTERRUPTED = 0, 75

Victim = Literal["driver", "worker", "server", "tracker"]
Phase = Literal["start", "middle", "end"]
VICTIMS: tuple[Victim, ...] = ("driver", "worker", "server", "tracker")


@dataclass(frozen=True)
class Kill:
    """One deed of the killer.

    Attributes:
        victim: Whom it kills.
        number: By which signal.
        phase: When the victim is there; by the ledger's growth; when the ledger has the end of the sweep.
        after: The event that the middle waits for.
        delay_s: How long it waits then.
    """

    victim: Victim
    number: signal.Signals
    phase: Phase
    after: int
    delay_s: float

    def __str__(self) -> str:
        moment = f"event {self.after}" if self.phase == "middle" else f"the {self.phase}"
        return f"{self.number.name} to the {self.victim} {self.delay_s:.3f} s after {moment}"


def plan(seed: int) -> list[Kill]:
    """What the killer does in one round: one or two kills; every fourth seed has the same victim first."""
    source = random.Random(1000 * seed + 20)  # with which the first twenty seeds meet every victim in every phase
    victims = [VICTIMS[seed % len(VICTIMS)], *source.choices(VICTIMS, k=source.randrange(2))]
    kills = []
    for victim in victims:
        can_be_asked = victim in ("driver", "worker")
        number = signal.SIGTERM if can_be_asked and source.random() < 0.4 else signal.SIGKILL
        phases: tuple[Phase, ...] = ("start", "middle", "end")
        (phase,) = source.choices(phases, [2, 5, 0 if victim == "worker" else 2])
        delay_s = source.uniform(0, {"start": 4.0, "middle": 0.03, "end": 0.8}[phase])
        kills.append(Kill(victim, number, phase, source.randrange(2, EVENTS), delay_s))
    return sorted(kills, key=lambda kill: ("start middle end".index(kill.phase), kill.after))


class Stage:
    """The processes of one sweep: its drivers, one after the other, and its trackers.

    Args:
        folder: Where everything of it lies, `sweep.yaml` among it.
        name: The sweep.
        place: Where the sweep lives.
        environment: That of every driver.
        make: Starts a process, as `subprocess.Popen` does; the killer finds the trackers of none but its processes.

    Attributes:
        name: The sweep.
        place: Where it lives.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        place: Place,
        environment: Mapping[str, str],
        make: Callable[..., Any] = subprocess.Popen,
    ) -> None:
        self.name, self.place = name, place
        self._folder, self._environment, self._make = folder, environment, make
        self._drives = 0
        self._driver: subprocess.Popen[bytes] | None = None

    def drive(self) -> None:
        """Starts a driver: a launch, or a resume once there is something to go on with."""
        self._drives += 1
        assert self._drives <= DRIVES, f"{DRIVES} drivers did not end the sweep"
        self._start("resume", self.name) if self.sequence() >= 0 else self._start("launch", "sweep.yaml")

    def _start(self, *what: str) -> None:
        where = ["--home", str(self.place.home), "--cluster", self.place.cluster]
        where += ["--tracking-uri", self.place.tracking_uri]
        with self._log.open("ab") as log:
            self._driver = self._make(
                [sys.executable, "-m", "podium", *what, *where, "--json"],
                cwd=self._folder,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def driver(self) -> "subprocess.Popen[bytes]":
        """The last driver."""
        assert self._driver is not None
        return self._driver

    @property
    def _log(self) -> Path:
        return self._folder / f"driver-{self._drives}.log"

    def sequence(self) -> int:
        """The last event's place in the ledger; -1 if there is none."""
        try:
            with closing(sqlite3.connect(f"file:{self.place.home / 'ledger.db'}?mode=ro", uri=True)) as ledger:
                (last,) = ledger.execute("SELECT max(sequence) FROM events").fetchone()
        except sqlite3.OperationalError:
            return -1
        return -1 if last is None else int(last)

    def is_over(self) -> bool:
        """Whether the ledger has the end of the sweep."""
        if self.sequence() < 0:
            return False
        with closing(self.place.book()) as book:
            return summaries.load(book, self.name).is_ended

    def run_ids(self) -> dict[str, Any]:
        """What the ledger's facts say of the MLflow runs."""
        if self.sequence() < 0:
            return {}
        with closing(self.place.book()) as book:
            return {key: value for key, value in book.facts(self.name).all().items() if "run" in key}

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition, or for the driver's end if it comes first."""
        deadline = time.monotonic() + DRIVE_S
        while self.driver.poll() is None and not condition():
            assert time.monotonic() < deadline, f"a moment never came; the driver said:\n{self._log.read_text()}"
            time.sleep(POLL_S)

    def wait(self, codes: Collection[int]) -> int:
        """Waits for the driver's end; returns its exit code, which has to be one of `codes`."""
        try:
            code = self.driver.wait(DRIVE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"a driver did not end; it said:\n{self._log.read_text()}") from None
        assert code in codes, f"a driver ended with {code}, and said:\n{self._log.read_text(errors='replace')}"
        return code

    def finish(self) -> None:
        """Drives the sweep to its end."""
        while self.wait((FINISHED, INTERRUPTED)) == INTERRUPTED:
            self.drive()

    def sync(self) -> None:
        """Does what the last driver said has to be done, if it left before MLflow could show everything."""
        if f"`podium sync {self.name}` completes it" in self._log.read_text(errors="replace"):
            self._start("sync", self.name)
            self.wait([FINISHED])

    @property
    def was_silent(self) -> bool:
        """Whether the last driver had not yet said a word, or its last one: only in between it heeds a signal."""
        said = self._log.read_text(errors="replace")
        return not said or '{"sweep": ' in said

    def trackers(self) -> list[psutil.Process]:
        """Those that show this sweep."""
        return [process for process in psutil.process_iter() if has_words(process, "sync", str(self.place.home))]

    def close(self) -> None:
        """Ends what is left."""
        if self._driver is not None and self._driver.poll() is None:
            self._driver.kill()
            self._driver.wait()
        for process in self.trackers():
            with suppress(psutil.NoSuchProcess):
                process.kill()


class Killer:
    """Strikes at one sweep.

    Attributes:
        seen: The run ids that the facts had at any kill.
    """

    def __init__(self, services: Services, stage: Stage, source: random.Random) -> None:
        self.seen: dict[str, Any] = {}
        self._services, self._stage, self._source = services, stage, source

    def strike(self, kill: Kill) -> bool:
        """Waits for the moment and kills; False if the victim has ended by then."""
        self._stage.wait_until(lambda: self._has_come(kill))
        time.sleep(kill.delay_s)
        self.seen |= self._stage.run_ids()
        if kill.victim == "server":
            self._services.restart_server()
            return True
        victims = self._victims(kill.victim)
        if not victims:
            return False
        with suppress(psutil.NoSuchProcess):
            self._source.choice(victims).send_signal(kill.number)
        if kill.victim == "driver":
            code = self._stage.wait([FINISHED, INTERRUPTED, -kill.number])
            assert code != -signal.SIGTERM or self._stage.was_silent, f"{kill} was not heeded"
            self._stage.drive()
        return True

    def _has_come(self, kill: Kill) -> bool:
        if kill.phase == "start":
            return kill.victim == "server" or bool(self._victims(kill.victim))
        if kill.phase == "middle":
            return self._stage.sequence() >= kill.after
        return self._stage.sequence() >= EVENTS / 2 and self._stage.is_over()

    def _victims(self, victim: Victim) -> list[psutil.Process]:
        if victim == "worker":
            return self._services.workers()
        if victim == "tracker":
            return self._stage.trackers()
        return [psutil.Process(self._stage.driver.pid)] if self._stage.driver.poll() is None else []


@dataclass(frozen=True)
class Round:
    """How a round went.

    Attributes:
        struck: What the killer did; a victim that was not there is left out.
        machine: The sweep in the end.
        seconds: How long it took.
    """

    struck: list[Kill]
    machine: Machine
    seconds: float


def play(services: Services, folder: Path, name: str, kills: Sequence[Kill] = (), seed: int = 0) -> Round:
    """Plays one round to its verdict.

    Args:
        services: What it runs on.
        folder: An empty folder for it.
        name: The sweep, which no other round on these services has.
        kills: What the killer does.
        seed: Chooses among several victims.

    Raises:
        AssertionError: if something was lost or doubled, or a driver ended as it must not.
    """
    began = time.monotonic()
    (folder / "sweep.yaml").write_text(SWEEP.format(name=name))
    (folder / "train.py").write_text(TRAIN.format(diary=str(folder / "diary")))
    place = Place.of(folder / "home", tracking_uri=services.tracking_uri, cluster=services.ray)
    with closing(Stage(folder, name, place, services.environment)) as stage:
        killer = Killer(services, stage, random.Random(seed))
        stage.drive()
        struck = [kill for kill in kills if killer.strike(kill)]
        stage.finish()
        services.wait_for_server()
        if any(kill.victim == "server" for kill in struck):
            stage.sync()
        machine = assert_nothing_lost(place, name)
        assert killer.seen.items() <= stage.run_ids().items(), "trials have other runs than before"
    assert not services.workers(), "workers are left"
    assert_diary(folder / "diary", place, name)
    return Round(struck, machine, time.monotonic() - began)


def assert_diary(diary: Path, place: Place, sweep: str) -> None:
    """Checks that each call of the training function began at the last `Saved` that the ledger had then."""
    with closing(place.book()) as book:
        saves = [(row.at, row.event) for row in book.rows(sweep) if isinstance(row.event, Saved)]
    for line in diary.read_text().splitlines():
        began, number, step = json.loads(line)
        before = [event.epoch for at, event in saves if event.trial == number and at <= began]
        assert step == max(before, default=0), f"trial {number} began at step {step}, and was saved at {before}"


def assert_same_trials(machine: Machine, undisturbed: Machine) -> None:
    """Checks numbers, parameters, seeds, and the values at the rungs that both reached."""
    assert list(machine.trials) == list(undisturbed.trials)
    for number, trial in machine.trials.items():
        other = undisturbed.trials[number]
        assert (trial.parameters, trial.seed) == (other.parameters, other.seed)
        for rung in trial.values.keys() & other.values.keys():
            assert trial.values[rung] == other.values[rung], f"trial {number} has other values at rung {rung}"


def main() -> int:
    """Plays many rounds; prints how each went, and a summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--folder", type=Path, help="where the folders of rounds that failed are kept")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    rounds: list[Round] = []
    failed: dict[int, str] = {}
    with running_services(folder) as services:
        undisturbed = play(services, fresh(folder / "undisturbed"), "undisturbed")
        print(f"undisturbed: {undisturbed.seconds:.1f} s", flush=True)
        for seed in range(options.first, options.first + options.rounds):
            here, kills = fresh(folder / f"seed-{seed}"), plan(seed)
            print(f"seed {seed}: {'; '.join(map(str, kills))}", flush=True)
            try:
                rounds.append(play(services, here, f"chaos-{seed}", kills, seed))
                assert_same_trials(rounds[-1].machine, undisturbed.machine)
            except AssertionError as error:
                failed[seed] = str(error)
                print(f"  FAILED, kept in {here}: {error}", flush=True)
                for worker in services.workers():
                    worker.kill()
                continue
            print(f"  {len(rounds[-1].struck)} of {len(kills)} struck; {rounds[-1].seconds:.1f} s", flush=True)
            shutil.rmtree(here)
    print(json.dumps(summarize(options.rounds, rounds, failed)))
    return 1 if failed else 0


def fresh(folder: Path) -> Path:
    """The folder, empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def summarize(count: int, rounds: Sequence[Round], failed: Mapping[int, str]) -> dict[str, Any]:
    """All rounds in short."""
    struck = Counter(f"{kill.victim} {kill.number.name}" for one in rounds for kill in one.struck)
    seconds = [one.seconds for one in rounds]
    return {
        "rounds": count,
        "failed": failed,
        "kills": dict(sorted(struck.items())),
        "seconds": {"mean": round(sum(seconds) / max(1, len(seconds)), 1), "most": round(max(seconds, default=0), 1)},
    }


if __name__ == "__main__":
    sys.exit(main())

"""The conformance suites of executors: what each of them keeps, and what those keep that run a user's code."""

import itertools
import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from podium.execution.worker import Assignment
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import (
    Advance,
    Advanced,
    AdvanceFailed,
    Event,
    GangLost,
    GangReady,
    Halt,
    Lane,
    LaneProgress,
    Progress,
    Saved,
)
from podium.sweep.protocols import Executor
from podium.testing.simulation import toy_spec
from podium.training.sources import digest_of, read_sources

GIVE_UP_S = 90.0
"""How long a test waits for an event."""

END = (Advanced, AdvanceFailed, GangLost)

DIVERGES, FAILS, RETURNS_NOTHING, SLOW = 0.75, 0.95, 0.85, 0.5
NO_MEMORY, NO_SPACE, HANGS, HOLDS_ALL, CRASHES = 0.01, 0.02, 0.03, 0.04, 0.05

HEARTBEAT_S = 6.0
"""`limits.heartbeat_s` of the suites."""

TRAIN = f"""
import ctypes
import time

def train(trial):
    x = trial.params["x"]
    begin = int((trial.saved / "step").read_text()) + 1 if trial.saved else 1
    if x == {FAILS}:
        print("about to fail")
        raise ValueError("x is too large")
    if x == {NO_MEMORY}:
        bytearray(1 << 62)
    if x == {NO_SPACE}:
        with open("/dev/full", "w") as file:
            file.write("more than there is room for")
    if x == {RETURNS_NOTHING}:
        return
    for step in range(begin, 10):
        time.sleep(0.2 if x == {SLOW} else 0.0)
        with trial.checkpoint() as folder:
            (folder / "step").write_text(str(step))
        print("step", step)
        trial.report(step, {{"score": float("nan") if x == {DIVERGES} and step > 1 else x + 1 / step}})
        if x == {HANGS}:
            wait_for_nothing()
        if x == {HOLDS_ALL}:
            ctypes.PyDLL(None).sleep(600)
        if x == {CRASHES}:
            ctypes.string_at(0)

def wait_for_nothing():
    time.sleep(600)
"""


def curve(lane: Lane) -> list[float | None]:
    """What `TRAIN` reports, step by step."""
    x = lane.parameters["x"]
    assert isinstance(x, float)
    return [None if x == DIVERGES and step > 1 else x + 1 / step for step in range(1, 10)]


def suite_spec() -> SweepSpec:
    """The sweep of the suites: nine steps, the last objective counts."""
    return toy_spec(limits={"heartbeat_s": HEARTBEAT_S, "grace_s": 10.0})


class Stage:
    """An executor with its gangs, and the events it has told.

    Args:
        executor: It is started here, and closed by `close`.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.events: list[Event] = []
        self._keys = itertools.count(1)
        self._trials = itertools.count()
        executor.start()
        self.gang = self.until(GangReady)[-1].gang

    def new_trial(self, x: float, **lane: Any) -> Lane:
        """The lane of a trial that nobody has trained."""
        return self.new_lane({"x": x}, **lane)

    def new_lane(self, parameters: dict[str, Value], **lane: Any) -> Lane:
        """The lane of a trial of these parameters that nobody has trained."""
        return Lane(trial=next(self._trials), parameters=parameters, seed=0, **lane)

    def command(self, *lanes: Lane, until: int, gang: str | None = None) -> Advance:
        """A new command, not yet given."""
        return Advance(key=f"advance/{next(self._keys)}", gang=gang or self.gang, until=until, lanes=lanes)

    def run(self, command: Advance) -> list[Event]:
        """Gives a command; returns all events until its end."""
        self.executor.advance(command)
        return self.until(*END)

    def until(self, *kinds: type) -> list[Any]:
        """All new events up to one of those kinds, this one included."""
        deadline, news = time.monotonic() + GIVE_UP_S, list[Event]()
        while not any(isinstance(event, kinds) for event in news):
            assert time.monotonic() < deadline, f"no {kinds} in {GIVE_UP_S:g} s, but {news}"
            news += self.executor.wait(0.5)
        self.events += news
        return news

    def rest(self) -> list[Event]:
        """What else comes within a moment."""
        news = [*self.executor.wait(0.2), *self.executor.wait(0.2)]
        self.events += news
        return news


def steps(events: Sequence[Event]) -> list[int]:
    """The steps of all progress."""
    return [lane.epoch for lane in progress(events)]


def progress(events: Sequence[Event]) -> list[LaneProgress]:
    """All progress, lane by lane."""
    return [lane for event in events if isinstance(event, Progress) for lane in event.lanes]


def last_saved(events: Sequence[Event]) -> Saved:
    """The last checkpoint told of."""
    return [event for event in events if isinstance(event, Saved)][-1]


class ExecutorSuite(ABC):
    """What every executor keeps. Subclass it, name the class `Test…`, and say how an executor is made.

    Executors are made for `suite_spec`, and run `TRAIN` or replay `curve`. One serves all tests of a class.
    """

    @pytest.fixture(scope="class")
    @abstractmethod
    def make_executor(self) -> Callable[[], Executor]:
        """Makes an executor with at least one gang, not yet started."""

    @pytest.fixture(scope="class")
    def stage(self, make_executor: Callable[[], Executor]) -> Iterator[Stage]:
        """An executor with its gangs ready."""
        stage = Stage(make_executor())
        yield stage
        stage.executor.close()

    def test_gangs_have_names_of_their_own(self, stage: Stage) -> None:
        gangs = [event.gang for event in stage.events if isinstance(event, GangReady)]
        assert len(gangs) == len(set(gangs)) >= 1

    def test_an_advance_ends_once_with_everything_told_before(self, stage: Stage) -> None:
        lane = stage.new_trial(0.25)
        command = stage.command(lane, until=3)
        events = stage.run(command)
        assert steps(events) == [1, 2, 3]
        assert [one.metrics["score"] for one in progress(events)] == curve(lane)[:3]
        assert all(event.gang == stage.gang for event in events if isinstance(event, Progress))
        assert (last_saved(events).trial, last_saved(events).epoch) == (lane.trial, 3)
        advanced = events[-1]
        assert isinstance(advanced, Advanced)
        (report,) = advanced.reports
        assert (advanced.key, advanced.gang) == (command.key, stage.gang)
        assert (report.trial, report.epoch, report.ending) == (lane.trial, 3, "until")
        assert (report.values, report.best_epoch) == ((curve(lane)[2],), 3)
        assert not any(isinstance(event, END) for event in stage.rest())

    def test_repeating_a_command_is_harmless(self, stage: Stage) -> None:
        command = stage.command(stage.new_trial(0.25), until=1)
        stage.executor.advance(command)
        events = stage.run(command)
        stage.executor.advance(command)
        events += stage.rest()
        assert sum(isinstance(event, END) for event in events) == 1
        assert steps(events) == [1]

    def test_a_second_advance_goes_on_from_the_first(self, stage: Stage) -> None:
        lane = stage.new_trial(0.25)
        saved = last_saved(stage.run(stage.command(lane, until=1)))
        further = lane.model_copy(update={"epoch": 1, "folder": saved.folder, "reached": 1})
        events = stage.run(stage.command(further, until=3))
        assert steps(events) == [2, 3]
        assert isinstance(events[-1], Advanced)

    def test_a_trial_goes_on_after_another_was_trained_in_between(self, stage: Stage) -> None:
        lane = stage.new_trial(0.25)
        saved = last_saved(stage.run(stage.command(lane, until=3)))
        stage.run(stage.command(stage.new_trial(0.3), until=1))
        further = lane.model_copy(update={"epoch": 3, "folder": saved.folder, "reached": 3})
        events = stage.run(stage.command(further, until=9))
        assert steps(events) == [4, 5, 6, 7, 8, 9]
        assert events[-1].reports[0].values == (curve(lane)[8],)  # type: ignore[union-attr]

    def test_no_number_ends_as_diverged(self, stage: Stage) -> None:
        events = stage.run(stage.command(stage.new_trial(DIVERGES), until=3))
        assert isinstance(events[-1], Advanced)
        (report,) = events[-1].reports
        assert (report.ending, report.epoch) == ("diverged", 2)
        assert [one.metrics["score"] for one in progress(events)] == [DIVERGES + 1, None]

    def test_a_halt_ends_an_advance_and_the_gang_goes_on(self, stage: Stage) -> None:
        lane = stage.new_trial(SLOW)
        command = stage.command(lane, until=9)
        halt = Halt(key=f"halt/{command.key}", gang=stage.gang, advance=command.key)
        stage.executor.advance(command)
        stage.executor.halt(halt)
        stage.executor.halt(halt)
        events = stage.until(*END)
        stage.executor.halt(halt)
        events += stage.rest()
        (end,) = (event for event in events if isinstance(event, END))
        assert isinstance(end, Advanced)
        assert end.reports[0].ending == "halted"
        saved = last_saved(events)
        assert saved.epoch < 9
        further = lane.model_copy(update={"epoch": saved.epoch, "folder": saved.folder, "reached": saved.epoch})
        events = stage.run(stage.command(further, until=9))
        assert steps(events) == list(range(saved.epoch + 1, 10))

    def test_a_command_to_a_gang_that_is_not_there_is_ignored(self, stage: Stage) -> None:
        command = stage.command(stage.new_trial(0.25), until=1, gang="nobody")
        stage.executor.advance(command)
        stage.executor.halt(Halt(key="halt/nobody", gang="nobody", advance=command.key))
        assert stage.rest() == []

    def test_nothing_happens_after_closing(self, make_executor: Callable[[], Executor]) -> None:
        stage = Stage(make_executor())
        stage.executor.advance(stage.command(stage.new_trial(SLOW), until=9))
        stage.executor.close()
        assert list(stage.executor.wait(0.2)) == []


class WorkerSuite(ExecutorSuite):
    """What executors keep besides that run a user's training function."""

    @pytest.fixture(scope="class")
    def assignment(self, tmp_path_factory: pytest.TempPathFactory) -> Assignment:
        """A folder with `TRAIN` as code, and an empty store."""
        folder = tmp_path_factory.mktemp("suite")
        (folder / "code").mkdir()
        (folder / "code" / "train.py").write_text(TRAIN)
        spec = suite_spec().written()
        return Assignment(
            spec=spec,
            code=str(folder / "code"),
            digest=digest_of(read_sources(folder / "code")),
            data=None,
            store=str(folder / "store"),
            holder=1,
            cache=str(folder / "cache"),
        )

    @pytest.mark.parametrize(
        ("x", "cause", "detail", "log"),
        [
            (FAILS, "exception", "ValueError: x is too large", "about to fail"),
            (RETURNS_NOTHING, "exception", "TaskError: the training function returned without a report", "Traceback"),
            (NO_MEMORY, "out_of_memory", "MemoryError", "bytearray(1 << 62)"),
            (NO_SPACE, "storage", "OSError: [Errno 28] No space left on device", "Traceback"),
        ],
    )
    def test_an_error_ends_the_advance_and_not_the_gang(
        self, stage: Stage, x: float, cause: str, detail: str, log: str
    ) -> None:
        command = stage.command(stage.new_trial(x), until=3)
        events = stage.run(command)
        failed = events[-1]
        assert isinstance(failed, AdvanceFailed)
        assert (failed.key, failed.gang, failed.cause) == (command.key, stage.gang, cause)
        assert failed.detail.startswith(detail)
        assert log in failed.log_tail
        assert isinstance(stage.run(stage.command(stage.new_trial(0.25), until=1))[-1], Advanced)

    def test_a_trials_output_goes_to_its_own_log(self, stage: Stage, assignment: Assignment) -> None:
        lane = stage.new_trial(0.25)
        stage.run(stage.command(lane, until=3))
        log = Path(assignment.store) / "logs" / "toy" / f"trial-{lane.trial:05d}.log"
        assert log.read_text().splitlines() == ["step 1", "step 2", "step 3"]

    def test_another_executor_goes_on_from_the_store(self, stage: Stage, make_executor: Callable[[], Executor]) -> None:
        lane = stage.new_trial(0.25)
        saved = last_saved(stage.run(stage.command(lane, until=3)))
        other = Stage(make_executor())
        further = lane.model_copy(update={"epoch": 3, "folder": saved.folder, "reached": 3})
        events = other.run(other.command(further, until=9))
        other.executor.close()
        assert steps(events) == [4, 5, 6, 7, 8, 9]


class ProcessSuite(WorkerSuite):
    """What executors keep besides whose gangs are processes, named `process <id>` in `GangReady.devices`."""

    def test_a_killed_gang_is_told_lost_and_replaced(self, stage: Stage) -> None:
        command = stage.command(stage.new_trial(SLOW), until=9)
        stage.executor.advance(command)
        events = stage.until(Saved)
        process = process_of(stage)
        os.kill(process, signal.SIGKILL)
        lost, events = replaced(stage, events)
        assert (lost.cause, lost.log_tail.splitlines()[0]) == ("worker_lost", "step 1")
        assert f"process {process} on" in lost.detail
        assert self._goes_on(stage, command, last_saved(events))

    def test_an_idle_gang_that_is_killed_is_replaced(self, stage: Stage) -> None:
        os.kill(process_of(stage), signal.SIGKILL)
        lost, _ = replaced(stage, [])
        assert (lost.cause, lost.log_tail) == ("worker_lost", "")
        assert lost.detail.endswith("it was killed, or crashed")
        assert isinstance(stage.run(stage.command(stage.new_trial(0.25), until=1))[-1], Advanced)

    def test_a_crash_tells_where_it_was(self, stage: Stage) -> None:
        stage.executor.advance(stage.command(stage.new_trial(CRASHES), until=9))
        lost, _ = replaced(stage, [])
        assert lost.cause == "worker_lost"
        assert "Segmentation fault" in lost.log_tail
        assert "in train" in lost.log_tail

    @pytest.mark.parametrize(("x", "shown"), [(HANGS, "in wait_for_nothing"), (HOLDS_ALL, "step 1")])
    def test_a_gang_that_hangs_is_replaced(self, stage: Stage, x: float, shown: str) -> None:
        process = psutil.Process(process_of(stage))
        stage.executor.advance(stage.command(stage.new_trial(x), until=9))
        lost, _ = replaced(stage, [])
        assert (lost.cause, shown in lost.log_tail) == ("hang", True), lost
        assert f"limits.heartbeat_s is {HEARTBEAT_S:g}" in lost.detail
        process.wait(GIVE_UP_S)

    def test_a_gang_that_is_stopped_is_replaced(self, stage: Stage) -> None:
        command = stage.command(stage.new_trial(SLOW), until=9)
        stage.executor.advance(command)
        events = stage.until(Saved)
        process = psutil.Process(process_of(stage))
        process.suspend()
        lost, events = replaced(stage, events)
        assert (lost.cause, "did not answer" in lost.detail) == ("hang", True)
        assert self._goes_on(stage, command, last_saved(events))
        process.wait(GIVE_UP_S)

    def test_a_gang_that_is_stopped_at_its_very_beginning_is_told_lost(
        self, make_executor: Callable[[], Executor]
    ) -> None:
        stage = Stage(make_executor())
        psutil.Process(process_of(stage)).suspend()
        assert [event.cause for event in stage.until(GangLost) if isinstance(event, GangLost)] == ["hang"]
        stage.executor.close()

    def test_a_gang_that_is_told_to_leave_saves_first(self, stage: Stage) -> None:
        command = stage.command(stage.new_trial(SLOW), until=9)
        stage.executor.advance(command)
        events = stage.until(Saved)
        process = psutil.Process(process_of(stage))
        process.terminate()
        lost, events = replaced(stage, events)
        assert (lost.cause, "SIGTERM" in lost.detail) == ("preempted", True)
        assert last_saved(events).epoch == max(steps(events)) < 9
        process.wait(GIVE_UP_S)
        assert self._goes_on(stage, command, last_saved(events))

    def test_an_idle_gang_that_is_told_to_leave_is_replaced(self, stage: Stage) -> None:
        process = psutil.Process(process_of(stage))
        process.terminate()
        lost, _ = replaced(stage, [])
        assert lost.cause == "preempted"
        process.wait(GIVE_UP_S)

    def test_no_process_outlives_its_executor(self, make_executor: Callable[[], Executor]) -> None:
        stage = Stage(make_executor())
        process = psutil.Process(process_of(stage))
        stage.executor.close()
        process.wait(GIVE_UP_S)

    def _goes_on(self, stage: Stage, command: Advance, saved: Saved) -> bool:
        """Whether the trial goes on from its last checkpoint."""
        further = command.lanes[0].model_copy(
            update={"epoch": saved.epoch, "step": saved.step, "folder": saved.folder, "reached": 0}
        )
        trained = steps(stage.run(stage.command(further, until=9)))
        # a checkpoint is written just before its step is reported, and the report may have died with the gang
        return trained in (list(range(saved.epoch + 1, 10)), list(range(saved.epoch + 2, 10)))


def process_of(stage: Stage) -> int:
    """The process of the stage's gang."""
    ready = next(event for event in stage.events if isinstance(event, GangReady) and event.gang == stage.gang)
    return int(ready.devices.partition("process ")[2].partition(",")[0])


def replaced(stage: Stage, events: list[Event]) -> tuple[GangLost, list[Event]]:
    """Waits until the stage's gang is lost, and another one ready; also gives all events since the advance."""
    before = {event.gang for event in stage.events if isinstance(event, GangReady)}
    for kind in (GangLost, GangReady):
        if not any(isinstance(event, kind) for event in events):
            events = [*events, *stage.until(kind)]
    (lost,) = (event for event in events if isinstance(event, GangLost))
    (ready,) = (event for event in events if isinstance(event, GangReady))
    assert lost.gang == stage.gang
    assert ready.gang not in before
    assert not any(isinstance(event, Advanced | AdvanceFailed) for event in events)
    stage.gang = ready.gang
    return lost, events

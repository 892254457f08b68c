"""The conformance suites of executors whose gangs train several trials as one."""

import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from podium.data.prepare import prepare
from podium.execution.worker import Assignment
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advanced, AdvanceFailed, Event, Halt, Lane, Number, Saved
from podium.sweep.protocols import Executor
from podium.testing.executors import END, HEARTBEAT_S, Stage, last_saved, process_of, progress, replaced
from podium.testing.simulation import toy_spec
from podium.training.sources import digest_of, read_sources

PAUSE_S, REFUSED_S, FAILS_ON_ONE_S = 0.05, -1.0, 0.001
"""What each forward pass of a slow trial waits; what no network can be made with; what fails on the second rank."""

TASK = """
import time

import torch.distributed as dist
from torch import nn

from podium.training.tasks import Regression


class Line(nn.Module):
    def __init__(self, pause_s):
        super().__init__()
        self.line, self.dropout, self.pause_s = nn.Linear(5, 2), nn.Dropout(0.2), pause_s

    def forward(self, inputs):
        print("forward")
        time.sleep(self.pause_s)
        if self.pause_s == 0.001 and dist.is_initialized() and dist.get_rank() == 1:
            raise ValueError("the second rank alone fails")
        return self.line(self.dropout(inputs))


class Lines(Regression):
    def network(self, parameters, schema):
        if parameters["pause_s"] < 0:
            raise ValueError("pause_s is negative")
        return Line(parameters["pause_s"])
"""

SPEEDS = ("_per_s", "communication_share")
"""Ends of the names of metrics that differ from run to run."""

Curve = dict[int, dict[str, Number]]
"""By epoch the metrics of a trial, but for its speed."""


def cohort_spec(**settings: Any) -> SweepSpec:
    """The sweep of the suites with a real task: stacks of a fixed width, so that nothing depends on the time."""
    return toy_spec(
        **settings,
        task="task.py:Lines",
        data={"source": {"kind": "arrays", "path": "lines.npz"}, "batch_size": 16},
        optimizer={"kind": "sgd"},
        search={
            "objective": {"metric": "validation/loss", "direction": "minimize"},
            "space": {
                "optimizer.learning_rate": {"log": [1e-3, 1e30]},
                "pause_s": {"choice": [0.0, PAUSE_S, REFUSED_S, FAILS_ON_ONE_S]},
            },
        },
        checkpoints={"every_s": 0.1},
        limits={"heartbeat_s": HEARTBEAT_S, "grace_s": 10.0},
        fuse=4,
    )


def cohort_assignment(folder: Path, spec: SweepSpec) -> Assignment:
    """A folder with `TASK` as code, two numbers that are linear in five as data, and their store."""
    draws = np.random.default_rng(0)
    (folder / "code").mkdir()
    (folder / "code" / "task.py").write_text(TASK)
    inputs = draws.normal(size=(100, 5)).astype(np.float32)
    np.savez(folder / "lines.npz", x=inputs, y=inputs @ draws.normal(size=(5, 2)).astype(np.float32))
    assert spec.data is not None
    store, cache = str(folder / "store"), folder / "cache"
    data = prepare(spec.data, base=folder, store=store, cache=cache)
    return Assignment(
        spec=spec.written(),
        code=str(folder / "code"),
        digest=digest_of(read_sources(folder / "code")),
        data=str(data),
        store=store,
        holder=1,
        cache=str(cache),
    )


class CohortSuite(ABC):
    """What executors keep whose gangs train several trials as one. Subclass it as `ExecutorSuite`.

    Executors are made for a sweep with rungs at 1, 3 and 9 whose trials may share a stack of four.
    """

    @pytest.fixture(scope="class")
    @abstractmethod
    def make_executor(self) -> Callable[[], Executor]:
        """Makes an executor with at least one gang, not yet started."""

    @abstractmethod
    def parameters(self, index: int) -> dict[str, Value]:
        """The parameters of one of many trials of the same signature."""

    @abstractmethod
    def slow(self, index: int) -> dict[str, Value]:
        """Those of a trial that has the same curve, in no less than a second; all slow ones have one signature."""

    @abstractmethod
    def diverging(self) -> dict[str, Value]:
        """The parameters of a trial like these that has no number to report in its third epoch, or before."""

    @pytest.fixture(scope="class")
    def stage(self, make_executor: Callable[[], Executor]) -> Iterator[Stage]:
        """An executor with its gangs ready."""
        stage = Stage(make_executor())
        yield stage
        stage.executor.close()

    @pytest.fixture(scope="class")
    def undisturbed(self, stage: Stage) -> list[Curve]:
        """The curves of the first three trials, trained together to the end."""
        lanes = fresh(stage, self.parameters, 3)
        events = stage.run(stage.command(*lanes, until=9))
        return [curve_of(events, lane) for lane in lanes]

    def test_every_lane_is_told_of_before_the_one_end(self, stage: Stage) -> None:
        lanes = fresh(stage, self.parameters, 3)
        command = stage.command(*lanes, until=3)
        stage.executor.advance(command)
        events = stage.run(command)
        advanced = events[-1]
        assert isinstance(advanced, Advanced)
        assert sum(isinstance(event, END) for event in [*events, *stage.rest()]) == 1
        assert [report.trial for report in advanced.reports] == [lane.trial for lane in lanes]
        assert {(report.ending, report.epoch, report.width) for report in advanced.reports} == {("until", 3, 3)}
        assert len({report.device_s for report in advanced.reports}) == 1, "the gang's time is shared evenly"
        for lane in lanes:
            assert epochs(events, lane) == [1, 2, 3]
            assert saved_of(events, lane)[-1].epoch == 3

    def test_lanes_leave_and_others_join(self, stage: Stage) -> None:
        first, second = fresh(stage, self.parameters, 3), fresh(stage, self.parameters, 2)
        events = stage.run(stage.command(*first, until=1)) + stage.run(stage.command(*second, until=1))
        mixed = [further(events, lane) for lane in (second[1], first[2], first[0])]
        events = stage.run(stage.command(*mixed, until=3))
        assert isinstance(events[-1], Advanced)
        assert [report.trial for report in events[-1].reports] == [lane.trial for lane in mixed]
        assert [epochs(events, lane) for lane in mixed] == [[2, 3]] * 3
        alone = further(events, mixed[1])
        assert epochs(stage.run(stage.command(alone, until=9)), alone) == [4, 5, 6, 7, 8, 9]

    def test_a_lane_that_diverges_leaves_its_mates_alone(self, stage: Stage) -> None:
        lost, *mates = stage.new_lane(self.diverging()), *fresh(stage, self.parameters, 2)
        events = stage.run(stage.command(mates[0], lost, mates[1], until=3))
        assert isinstance(events[-1], Advanced)
        assert [report.ending for report in events[-1].reports] == ["until", "diverged", "until"]
        assert [epochs(events, lane) for lane in mates] == [[1, 2, 3]] * 2
        assert epochs(events, lost)[-1] == events[-1].reports[1].epoch <= 3

    def test_a_halt_ends_all_lanes_at_one_place_and_another_gang_goes_on(
        self, stage: Stage, undisturbed: list[Curve], make_executor: Callable[[], Executor]
    ) -> None:
        lanes = fresh(stage, self.slow, 3)
        command = stage.command(*lanes, until=9)
        stage.executor.advance(command)
        stage.executor.halt(Halt(key=f"halt/{command.key}", gang=stage.gang, advance=command.key))
        events = stage.until(*END)
        assert isinstance(events[-1], Advanced)
        assert {report.ending for report in events[-1].reports} == {"halted"}
        assert len({(saved.epoch, saved.step) for lane in lanes for saved in saved_of(events, lane)[-1:]}) == 1
        other = Stage(make_executor())
        events += other.run(other.command(*(further(events, lane) for lane in lanes), until=9))
        other.executor.close()
        assert [curve_of(events, lane) for lane in lanes] == undisturbed


class CohortWorkerSuite(CohortSuite):
    """What executors keep besides that run a user's task."""

    @pytest.fixture(scope="class")
    def assignment(self, tmp_path_factory: pytest.TempPathFactory) -> Assignment:
        """What the workers work on."""
        return cohort_assignment(tmp_path_factory.mktemp("suite"), cohort_spec())

    def parameters(self, index: int) -> dict[str, Value]:
        return {"optimizer.learning_rate": 0.01 * (index + 1), "pause_s": 0.0}

    def slow(self, index: int) -> dict[str, Value]:
        return {**self.parameters(index), "pause_s": PAUSE_S}

    def diverging(self) -> dict[str, Value]:
        return {"optimizer.learning_rate": 1e30, "pause_s": 0.0}

    def test_what_a_cohort_prints_is_in_the_log_of_its_first_lane(self, stage: Stage, assignment: Assignment) -> None:
        lanes = fresh(stage, self.parameters, 2)
        stage.run(stage.command(*lanes, until=1))
        logs = [Path(assignment.store) / "logs" / "toy" / f"trial-{lane.trial:05d}.log" for lane in lanes]
        assert set(logs[0].read_text().splitlines()) == {"forward"}
        assert not logs[1].exists()

    def test_an_error_ends_the_advance_of_all_lanes_and_not_the_gang(self, stage: Stage) -> None:
        lanes = fresh(stage, lambda index: {**self.parameters(index), "pause_s": REFUSED_S}, 2)
        command = stage.command(*lanes, until=3)
        failed = stage.run(command)[-1]
        assert isinstance(failed, AdvanceFailed)
        assert (failed.key, failed.gang, failed.cause) == (command.key, stage.gang, "exception")
        assert failed.detail == "ValueError: pause_s is negative"
        assert "raise ValueError" in failed.log_tail
        assert isinstance(stage.run(stage.command(*fresh(stage, self.parameters, 2), until=1))[-1], Advanced)


class CohortProcessSuite(CohortWorkerSuite):
    """What executors keep besides whose gangs are processes, named `process <id>` in `GangReady.devices`."""

    def test_lanes_of_a_killed_gang_go_on_together(self, stage: Stage, undisturbed: list[Curve]) -> None:
        lanes = fresh(stage, self.slow, 3)
        command = stage.command(*lanes, until=9)
        stage.executor.advance(command)
        events: list[Event] = []
        while not all(saved_of(events, lane) for lane in lanes):
            events += stage.until(Saved)
        os.kill(process_of(stage), signal.SIGKILL)
        lost, events = replaced(stage, events)
        assert lost.cause == "worker_lost"
        assert f"the log of trial {lanes[0].trial}" in lost.detail
        assert lost.log_tail.splitlines()[-1] == "forward"
        places = [{(saved.epoch, saved.step) for saved in saved_of(events, lane)} for lane in lanes]
        last = max(set.intersection(*places))
        again = [further(events, lane, last) for lane in lanes]
        events = stage.run(stage.command(*again, until=9))
        for lane, whole in zip(again, undisturbed, strict=True):
            assert curve_of(events, lane) == {epoch: whole[epoch] for epoch in range(last[0] + 1, 10)}


def fresh(stage: Stage, parameters: Callable[[int], dict[str, Value]], count: int) -> list[Lane]:
    """Lanes of new trials."""
    return [stage.new_lane(parameters(index)) for index in range(count)]


def epochs(events: Sequence[Event], lane: Lane) -> list[int]:
    """The epochs of which progress was told for a lane."""
    return [one.epoch for one in progress(events) if one.trial == lane.trial]


def curve_of(events: Sequence[Event], lane: Lane) -> Curve:
    """The curve of a lane."""
    return {
        one.epoch: {name: value for name, value in one.metrics.items() if not name.endswith(SPEEDS)}
        for one in progress(events)
        if one.trial == lane.trial
    }


def saved_of(events: Sequence[Event], lane: Lane) -> list[Saved]:
    """The checkpoints of a lane."""
    return [event for event in events if isinstance(event, Saved) and event.trial == lane.trial]


def further(events: Sequence[Event], lane: Lane, place: tuple[int, int] | None = None) -> Lane:
    """The lane from its last checkpoint on, or from the one at (epoch, step)."""
    saved = last_saved([each for each in saved_of(events, lane) if place in (None, (each.epoch, each.step))])
    place_of = {"epoch": saved.epoch, "step": saved.step, "folder": saved.folder, "reached": saved.epoch}
    return lane.model_copy(update=place_of)

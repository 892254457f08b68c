"""Gangs of several ranks on Ray: one trial, trained by two processes."""

import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from podium.execution.inline import InlineExecutor
from podium.execution.worker import Assignment
from podium.spec.space import Value
from podium.sweep.messages import Advanced, Event, GangLost, GangReady, Halt, Lane, Saved
from podium.testing.cohorts import (
    PAUSE_S,
    REFUSED_S,
    Curve,
    cohort_assignment,
    cohort_spec,
    curve_of,
    further,
    saved_of,
)
from podium.testing.executors import END, Stage, replaced

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def assignment(tmp_path_factory: pytest.TempPathFactory) -> Assignment:
    return cohort_assignment(tmp_path_factory.mktemp("ranks"), cohort_spec(resources={"ranks": 2}))


@pytest.fixture(scope="module")
def stage(assignment: Assignment, running_ray: str) -> Iterator[Stage]:
    from podium.execution.ray import RayExecutor

    stage = Stage(RayExecutor(assignment, most=1))
    yield stage
    stage.executor.close()


def parameters(index: int, pause_s: float = 0.0) -> dict[str, Value]:
    return {"optimizer.learning_rate": 0.01 * (index + 1), "pause_s": pause_s}


def lanes_of(stage: Stage, pause_s: float = 0.0) -> list[Lane]:
    return [stage.new_lane(parameters(index, pause_s)) for index in range(2)]


def processes(stage: Stage) -> list[int]:
    """Those of the newest gang's ranks."""
    ready = [event for event in stage.events if isinstance(event, GangReady)][-1]
    return [int(number) for number in re.findall(r"process (\d+)", ready.devices)]


@pytest.fixture(scope="module")
def alone(assignment: Assignment, tmp_path_factory: pytest.TempPathFactory) -> list[Curve]:
    """The curves of both trials, trained in this process."""
    store = str(tmp_path_factory.mktemp("alone"))
    stage = Stage(InlineExecutor(replace(assignment, store=store), lambda: False))
    lanes = lanes_of(stage)
    events = stage.run(stage.command(*lanes, until=9))
    return [curve_of(events, lane) for lane in lanes]


def assert_same(events: list[Event], lanes: list[Lane], alone: list[Curve], first: int = 1) -> None:
    for lane, whole in zip(lanes, alone, strict=True):
        found = curve_of(events, lane)
        assert sorted(found) == list(range(first, 10))
        for epoch, metrics in found.items():
            assert metrics == pytest.approx(whole[epoch], abs=1e-5)


def test_two_processes_train_what_one_does(stage: Stage, alone: list[Curve]) -> None:
    assert len(set(processes(stage))) == 2
    lanes = lanes_of(stage)
    events = stage.run(stage.command(*lanes, until=9))
    assert isinstance(events[-1], Advanced)
    assert [(report.ending, report.epoch) for report in events[-1].reports] == [("until", 9)] * 2
    assert_same(events, lanes, alone)
    assert sum(isinstance(event, END) for event in [*events, *stage.rest()]) == 1


def test_a_halt_reaches_both_at_one_step(stage: Stage, alone: list[Curve]) -> None:
    lanes = lanes_of(stage, PAUSE_S)
    command = stage.command(*lanes, until=9)
    stage.executor.advance(command)
    stage.executor.halt(Halt(key=f"halt/{command.key}", gang=stage.gang, advance=command.key))
    events = stage.until(*END)
    assert isinstance(events[-1], Advanced)
    assert {report.ending for report in events[-1].reports} == {"halted"}
    lanes = [further(events, lane) for lane in lanes]
    events += stage.run(stage.command(*lanes, until=9))
    assert_same(events, lanes, alone)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_rank_takes_its_gang_along_and_loses_no_trial(stage: Stage, rank: int, alone: list[Curve]) -> None:
    lanes = lanes_of(stage, PAUSE_S)
    stage.executor.advance(stage.command(*lanes, until=9))
    events: list[Event] = []
    while not all(saved_of(events, lane) for lane in lanes):
        events += stage.until(Saved)
    os.kill(processes(stage)[rank], signal.SIGKILL)
    lost, events = replaced(stage, events)
    assert lost.cause == "worker_lost"
    places = [{(saved.epoch, saved.step) for saved in saved_of(events, lane)} for lane in lanes]
    last = max(set.intersection(*places))
    lanes = [further(events, lane, last) for lane in lanes]
    assert_same(stage.run(stage.command(*lanes, until=9)), lanes, alone, first=last[0] + 1)


def test_what_fails_on_its_ranks_ends_a_gang_with_its_own_cause(stage: Stage) -> None:
    stage.executor.advance(stage.command(stage.new_lane(parameters(0, REFUSED_S)), until=3))
    lost = stage.until(GangLost)[-1]
    assert isinstance(lost, GangLost)
    assert (lost.cause, lost.detail) == ("exception", "ValueError: pause_s is negative")
    assert "raise ValueError" in lost.log_tail
    ready = stage.until(GangReady)[-1]
    assert isinstance(ready, GangReady)
    stage.gang = ready.gang

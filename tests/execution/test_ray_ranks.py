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
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Event, GangLost, GangReady, Halt, Lane, Saved
from podium.testing.cohorts import (
    FAILS_ON_ONE_S,
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

    stage = Stage(RayExecutor(assignment, most=lambda: 1))
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


def test_two_sweeps_never_hold_half_of_what_each_of_them_needs(assignment: Assignment, running_ray: str) -> None:
    from podium.execution.connection import nodes
    from podium.execution.ray import RayExecutor

    resources = {"ranks": 2, "cpus": int(nodes()[0].cpus) // 2}
    large = replace(assignment, spec=assignment.spec | {"resources": resources})
    sweeps = [RayExecutor(large, most=lambda: 1) for _ in range(2)]
    for sweep in sweeps:
        sweep.start()
    told: list[Event] = []
    while not told:
        told = [event for sweep in sweeps for event in sweep.wait(0.2)]
    (ready,) = told
    assert isinstance(ready, GangReady)
    assert [event for _ in range(5) for sweep in sweeps for event in sweep.wait(0.2)] == []
    first = next(sweep for sweep in sweeps if sweep._gangs[ready.gang].is_ready)
    sweeps.remove(first)
    first.close()
    while not (told := list(sweeps[0].wait(0.5))):
        continue
    assert [type(event) for event in told] == [GangReady]
    sweeps[0].close()


def test_two_processes_train_what_one_does(stage: Stage, alone: list[Curve]) -> None:
    assert len(set(processes(stage))) == 2
    lanes = lanes_of(stage)
    events = stage.run(stage.command(*lanes, until=9))
    assert isinstance(events[-1], Advanced)
    assert [(report.ending, report.epoch) for report in events[-1].reports] == [("until", 9)] * 2
    assert {report.strategy for report in events[-1].reports} == {"replicated"}
    assert len(events[-1].usage) == 2
    assert len({used["memory_usage_megabytes"] for used in events[-1].usage}) == 2, "each rank's own"
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
def test_a_killed_rank_is_replaced_and_loses_no_trial(stage: Stage, rank: int, alone: list[Curve]) -> None:
    lanes = lanes_of(stage, PAUSE_S)
    stage.executor.advance(stage.command(*lanes, until=9))
    events: list[Event] = []
    while not all(saved_of(events, lane) for lane in lanes):
        events += stage.until(Saved)
    before = processes(stage)
    os.kill(before[rank], signal.SIGKILL)
    lost, events = replaced(stage, events)
    assert lost.cause == "worker_lost"
    after = processes(stage)
    assert after[1 - rank] == before[1 - rank], "whoever has not died stays"
    assert after[rank] != before[rank]
    places = [{(saved.epoch, saved.step) for saved in saved_of(events, lane)} for lane in lanes]
    last = max(set.intersection(*places))
    lanes = [further(events, lane, last) for lane in lanes]
    assert_same(stage.run(stage.command(*lanes, until=9)), lanes, alone, first=last[0] + 1)


def test_what_fails_on_its_ranks_leaves_them_usable(stage: Stage, alone: list[Curve]) -> None:
    events = stage.run(stage.command(stage.new_lane(parameters(0, REFUSED_S)), until=3))
    failed = events[-1]
    assert isinstance(failed, AdvanceFailed)
    assert (failed.cause, failed.detail) == ("exception", "ValueError: pause_s is negative")
    assert "raise ValueError" in failed.log_tail
    lanes = lanes_of(stage)
    events = stage.run(stage.command(*lanes, until=9))
    assert_same(events, lanes, alone)
    assert not [event for event in [*events, *stage.rest()] if isinstance(event, GangLost | AdvanceFailed)]


def test_what_fails_on_one_rank_ends_the_others_wait_with_its_own_cause(stage: Stage) -> None:
    lane = stage.new_lane(parameters(0, FAILS_ON_ONE_S))
    events = stage.run(stage.command(lane, until=3))
    failed = events[-1]
    assert isinstance(failed, AdvanceFailed)
    assert (failed.cause, failed.detail) == ("exception", "ValueError: the second rank alone fails")


@pytest.fixture(scope="module")
def pair(assignment: Assignment, stage: Stage) -> Iterator[Stage]:
    """Two gangs of one rank each, in the place of the one of two."""
    from podium.execution.ray import RayExecutor

    stage.executor.close()
    elastic = cohort_spec(resources={"ranks": {"min": 1, "max": 2}})
    pair = Stage(RayExecutor(replace(assignment, spec=elastic.written()), most=lambda: 2))
    while len(gangs(pair)) < 2:
        pair.until(GangReady)
    yield pair
    pair.executor.close()


def gangs(stage: Stage) -> list[str]:
    """Those that live."""
    lost = {event.gang for event in stage.events if isinstance(event, GangLost)}
    return [event.gang for event in stage.events if isinstance(event, GangReady) and event.gang not in lost]


def joint(stage: Stage, *lanes: Lane, until: int, first: int = 0) -> Advance:
    names = gangs(stage)
    command = stage.command(*lanes, until=until, gang=names[first])
    return command.model_copy(update={"joined": (names[1 - first],)})


def test_gangs_join_and_part_between_rungs_and_change_no_curve(pair: Stage, alone: list[Curve]) -> None:
    lanes, events = lanes_of(pair), list[Event]()
    for until, together, first in ((1, True, 0), (3, False, 0), (4, True, 1), (9, True, 1)):
        names = gangs(pair)
        command = joint(pair, *lanes, until=until, first=first)
        told = pair.run(command if together else pair.command(*lanes, until=until, gang=names[first]))
        assert isinstance(told[-1], Advanced)
        assert (told[-1].gang, {report.ranks for report in told[-1].reports}) == (names[first], {1 + together})
        events += told
        lanes = [further(told, lane) for lane in lanes]
    assert_same(events, lanes, alone)


@pytest.mark.parametrize("dead", [0, 1])
def test_a_gang_that_dies_in_a_joint_advance_leaves_the_other_usable(
    pair: Stage, dead: int, alone: list[Curve]
) -> None:
    lanes, names, events = lanes_of(pair, PAUSE_S), gangs(pair), list[Event]()
    pair.executor.advance(joint(pair, *lanes, until=9))
    while not all(saved_of(events, lane) for lane in lanes):
        events += pair.until(Saved)
    ready = {event.gang: event for event in pair.events if isinstance(event, GangReady)}
    (process,) = re.findall(r"process (\d+)", ready[names[dead]].devices)
    os.kill(int(process), signal.SIGKILL)
    lost = pair.until(GangLost)
    assert isinstance(lost[-1], GangLost)
    assert (lost[-1].gang, lost[-1].cause) == (names[dead], "worker_lost")
    events += lost
    places = [{(saved.epoch, saved.step) for saved in saved_of(events, lane)} for lane in lanes]
    last = max(set.intersection(*places))
    lanes = [further(events, lane, last) for lane in lanes]
    events = pair.run(pair.command(*lanes, until=9, gang=names[1 - dead]))
    assert_same(events, lanes, alone, first=last[0] + 1)
    while len(gangs(pair)) < 2:
        pair.until(GangReady)

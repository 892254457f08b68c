"""The simulated executor's curves and clock."""

import pytest

from podium.execution.simulated import SimulatedExecutor
from podium.sweep.messages import Advance, Advanced, GangLost, GangReady, Halt, Lane, Measured, Progress, Saved
from podium.testing.simulation import toy_spec

CURVES = {0: [0.9, 0.5, 0.7, 0.6], 1: [0.9, None, 0.7, 0.6], 2: [0.8, 0.6, 0.4, 0.2]}


@pytest.fixture
def make_executor():
    """A started executor whose trial 0 has a curve with a dip, and whose trial 1 diverges; epochs take 2 s."""

    def make(gangs=1, measure=lambda lanes: None, **objective):
        search = {"objective": {"metric": "score", "direction": "minimize", **objective}}
        spec = toy_spec(epochs={"min": 1, "max": 4}, search=search)
        executor = SimulatedExecutor(
            spec, gangs, lambda lane: CURVES[lane.trial], lambda advance: 2.0 * len(advance.lanes), measure
        )
        executor.start()
        assert executor.wait(1) == [GangReady(gang=f"simulated-{index}") for index in range(gangs)]
        return executor

    return make


def advance(*trials, until=4, epoch=0, gang="simulated-0", key="advance/1"):
    lanes = (Lane(trial=trial, parameters={"x": 0.0}, seed=0, epoch=epoch) for trial in trials or (0,))
    return Advance(key=key, gang=gang, until=until, lanes=tuple(lanes))


@pytest.mark.parametrize(
    ("objective", "value", "best_epoch"),
    [
        ({}, 0.5, 2),
        ({"at": "last"}, 0.6, 4),
        ({"direction": "maximize"}, 0.9, 1),
    ],
)
def test_reports_the_epoch_that_the_objective_asks_for(make_executor, objective, value, best_epoch):
    executor = make_executor(**objective)
    executor.advance(advance())
    progress, saved, advanced = executor.wait(1)
    assert [(lane.epoch, lane.metrics["score"]) for lane in progress.lanes] == list(enumerate(CURVES[0], 1))
    assert saved == Saved(trial=0, epoch=4, folder="0/4")
    (report,) = advanced.reports
    assert (report.epoch, report.values, report.best_epoch) == (4, (value,), best_epoch)
    assert (report.ending, report.metrics, report.device_s) == ("until", {"score": 0.6}, 8.0)
    assert executor.clock.monotonic() == 8.0


def test_goes_on_from_a_checkpoint(make_executor):
    executor = make_executor()
    executor.advance(advance(epoch=3))
    progress, _, advanced = executor.wait(1)
    assert [lane.epoch for lane in progress.lanes] == [4]
    assert advanced.reports[0].values == (0.5,), "the best epoch so far counts, trained now or before"
    assert executor.clock.monotonic() == 2.0


def test_a_curve_that_is_no_number_any_more_diverges(make_executor):
    executor = make_executor()
    executor.advance(advance(1))
    progress, advanced = executor.wait(1)
    assert [lane.epoch for lane in progress.lanes] == [1, 2]
    assert (advanced.reports[0].ending, advanced.reports[0].epoch) == ("diverged", 2)


def test_gangs_run_side_by_side(make_executor):
    executor = make_executor(gangs=2)
    executor.advance(advance(until=4))
    executor.advance(advance(until=1, gang="simulated-1", key="advance/2"))
    assert executor.wait(0) == [], "no time to wait, and so the clock stands still"
    assert executor.wait(1)[-1].key == "advance/2"
    assert executor.clock.monotonic() == 2.0
    assert executor.wait(1)[-1].key == "advance/1"
    assert executor.clock.monotonic() == 8.0
    assert executor.wait(1) == []


def test_a_halt_ends_at_the_last_whole_epoch(make_executor):
    executor = make_executor(gangs=2)
    executor.advance(advance(until=4))
    executor.advance(advance(1, until=2, gang="simulated-1", key="advance/2"))
    executor.wait(1)
    executor.halt(Halt(key="h", gang="simulated-0", advance="advance/1"))
    saved, advanced = executor.wait(1)
    assert saved == Saved(trial=0, epoch=2, folder="0/2")
    assert (advanced.key, advanced.reports[0].ending) == ("advance/1", "halted")
    assert executor.wait(1) == []


def test_a_gang_that_dies_is_replaced_and_its_advance_never_ends(make_executor):
    executor = make_executor()
    executor.advance(advance())
    executor.lose("simulated-0")
    assert executor.wait(1) == [GangLost(gang="simulated-0", detail="killed"), GangReady(gang="simulated-1")]
    assert executor.wait(1) == []
    executor.advance(advance(key="advance/2"))
    assert executor.wait(1) == [], "a dead gang takes no commands"
    executor.advance(advance(key="advance/3", gang="simulated-1"))
    assert [type(event) for event in executor.wait(1)] == [Progress, Saved, Advanced]


def test_lanes_share_the_time_of_their_cohort(make_executor):
    executor = make_executor()
    executor.advance(advance(2, 0, epoch=1))
    progress, *saved, advanced = executor.wait(1)
    assert executor.clock.monotonic() == 12.0
    assert [(report.trial, report.values, report.device_s, report.width) for report in advanced.reports] == [
        (2, (0.2,), 6.0, 2),
        (0, (0.5,), 6.0, 2),
    ]
    assert [(lane.trial, lane.epoch) for lane in progress.lanes] == [(2, 2), (2, 3), (2, 4), (0, 2), (0, 3), (0, 4)]
    assert saved == [Saved(trial=2, epoch=4, folder="2/4"), Saved(trial=0, epoch=4, folder="0/4")]


def test_a_lane_that_diverges_leaves_its_mates_alone(make_executor):
    executor = make_executor()
    executor.advance(advance(0, 1))
    progress, saved, advanced = executor.wait(1)
    assert saved == Saved(trial=0, epoch=4, folder="0/4")
    assert [(report.ending, report.epoch) for report in advanced.reports] == [("until", 4), ("diverged", 2)]
    assert [lane.metrics["score"] for lane in progress.lanes if lane.trial == 1] == [0.9, None]


def test_a_halted_cohort_saves_all_lanes_but_those_that_diverged(make_executor):
    executor = make_executor()
    executor.advance(advance(0, 1, 2))
    executor.clock.now = 13.0
    executor.halt(Halt(key="h", gang="simulated-0", advance="advance/1"))
    *saved, advanced = executor.wait(1)
    assert saved == [Saved(trial=0, epoch=2, folder="0/2"), Saved(trial=2, epoch=2, folder="2/2")]
    assert [(report.ending, report.epoch) for report in advanced.reports] == [
        ("halted", 2),
        ("diverged", 2),
        ("halted", 2),
    ]
    assert advanced.reports[0].device_s == pytest.approx(13.0 / 3)


def test_tells_what_was_measured_when_a_cohort_begins(make_executor):
    measured = Measured(trial=0, width=1, rates={1: 2.0, 2: 1.0})
    executor = make_executor(measure=lambda lanes: measured if len(lanes) > 1 else None)
    executor.advance(advance(0, 2))
    assert executor.wait(0) == [measured]
    executor.wait(1)
    executor.advance(advance(0, key="advance/2"))
    assert executor.wait(0) == []

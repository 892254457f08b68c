"""A trial's own limit of time: counted over pauses and shared by a stack."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from training_bench import Bench, make_spec

from podium.sweep.messages import Advance, Lane
from podium.training import loop

LIMITS = {
    "objective": {"metric": "validation/accuracy", "direction": "maximize"},
    "space": {"stopping.wall_time": {"float": [0.5, 1000.0]}},
}


class Clock:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def look(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(loop.time, "perf_counter", clock.look)
    monkeypatch.setattr(loop.time, "thread_time", lambda: 0.0)
    monkeypatch.setattr(loop.torch, "get_num_threads", lambda: 1)
    return clock


def lane(number: int, limit: float) -> Lane:
    return Lane(trial=number, parameters={"stopping.wall_time": limit}, seed=7)


@pytest.mark.parametrize(("limit", "epochs"), [(0.5, 1), (2.5, 3), (1000.0, 4)])
def test_a_trial_ends_after_its_time(bench: Callable[..., Bench], blobs: Path, limit: float, epochs: int) -> None:
    report = bench(make_spec(search=LIMITS), data=blobs).advance(4, lane(0, limit))
    assert report.epoch == epochs, "an epoch takes a second"
    if epochs < 4:
        assert (report.ending, report.reason) == (
            "patience",
            f"{epochs} s of training; stopping.wall_time is {limit:g}",
        )


def test_time_before_a_pause_counts(bench: Callable[..., Bench], blobs: Path) -> None:
    first = bench(make_spec(search=LIMITS), data=blobs)
    first.advance(4, lane(0, 2.5), halt_after=9)
    (saved,) = first.saved
    assert (saved.epoch, saved.step) == (1, 2)
    again = bench(make_spec(search=LIMITS), data=blobs, holder=2)
    report = again.advance(4, first.lane(lane(0, 2.5)))
    assert report.epoch == 2, "one second, and one before and after the pause each"


def test_a_stack_shares_its_time(bench: Callable[..., Bench], blobs: Path) -> None:
    stack = bench(make_spec(search=LIMITS, fuse=2), data=blobs)
    lanes = (lane(0, 0.9), lane(1, 1.9))
    reports = stack.trainer.advance(Advance(key="key", gang="gang", until=4, lanes=lanes))
    assert [report.epoch for report in reports] == [2, 3], "half a second each while they are two"

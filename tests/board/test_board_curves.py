"""Curves in columns say the same as those that are read from the ledger one by one."""

import math

from hypothesis import given
from hypothesis import strategies as st

from podium.ledger import Book
from podium.sweep.messages import LaneProgress, Progress
from podium.wiring import summaries
from podium_board.curves import Gathered
from podium_board.reading import Board

POINTS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.integers(0, 6),
        st.sampled_from(["loss", "accuracy"]),
        st.none() | st.floats(-1e6, 1e6, allow_nan=False),
    )
)


@given(POINTS)
def test_the_last_value_of_each_epoch_counts(points):
    gathered, expected = Gathered(), {}
    for trial, epoch, metric, value in points:
        lane = LaneProgress(trial=trial, epoch=epoch, metrics={metric: value})
        gathered.take([Progress(gang="g", lanes=(lane,))])
        expected.setdefault(metric, {}).setdefault(trial, {})[epoch] = value
    found = gathered.now()
    assert found.metrics == sorted(expected)
    assert found.num_points == len(points)
    for metric, trials in expected.items():
        assert found.of(metric) == {trial: sorted(by_epoch.items()) for trial, by_epoch in trials.items()}


def test_what_comes_later_does_not_change_what_was_seen():
    gathered = Gathered()
    gathered.take([Progress(gang="g", lanes=(LaneProgress(trial=0, epoch=1, metrics={"loss": 1.0}),))])
    before = gathered.now()
    gathered.take([Progress(gang="g", lanes=(LaneProgress(trial=0, epoch=1, metrics={"loss": math.nan}),))])
    assert before.of("loss") == {0: [(1, 1.0)]}
    assert gathered.now().of("loss") == {0: [(1, None)]}


def test_they_are_those_of_the_ledger(board: Board, prepared):
    book = Book.at_home(prepared[0])
    for name in prepared[1]:
        picture, expected = board.look(name), summaries.curves(book, name)
        assert picture is not None
        for metric in picture.curves.metrics:
            own = {trial: curves[metric] for trial, curves in expected.items() if metric in curves}
            assert picture.curves.of(metric) == own

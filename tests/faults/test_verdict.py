"""The verdict finds what it looks for: a whole sweep passes, and each harm done to it shows."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from empty_runs import make_empty_runs
from verdict import assert_nothing_lost, replayed_in_steps
from wiring_cases import podium

from podium.ledger import Row
from podium.sweep.messages import LaneProgress, Progress, Saved
from podium.tracking.client import connect
from podium.wiring.place import Place

SWEEP = """
sweep: whole
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  sampler: random
  space: {x: {float: [0, 1]}}
budget: {trials: 4, epochs: {min: 1, max: 4, factor: 2}, policy: asha}
tracking: {plots: false}
"""
TRAIN = """
def train(trial):
    step = int((trial.saved / "step").read_text()) if trial.saved else 0
    while step < 4:
        step += 1
        with trial.checkpoint() as folder:
            (folder / "step").write_text(str(step))
        trial.report(step, {"score": trial.params["x"]})
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a sweep that has ended."""
    folder = tmp_path_factory.mktemp("whole")
    make_empty_runs(folder / "home" / "mlflow.db")
    (folder / "sweep.yaml").write_text(SWEEP)
    (folder / "train.py").write_text(TRAIN)
    done = podium(folder, "launch", "sweep.yaml", "--cluster", "inline", "--home", "home", "--json")
    assert done.code == 0, done.problems
    return folder / "home"


@pytest.fixture
def place(whole: Path, tmp_path: Path) -> Place:
    """A copy of it."""
    return Place.of(shutil.copytree(whole, tmp_path / "home"))


def child(place: Place, number: int) -> str:
    with closing(place.book()) as book:
        run_id: str = book.facts("whole").get(f"run/{number}")
    return run_id


def execute(place: Place, statement: str) -> None:
    with closing(sqlite3.connect(place.home / "ledger.db")) as ledger, ledger:
        assert ledger.execute(statement).rowcount == 1


def leave_running(place: Place) -> None:
    connect(place.tracking_uri).update_run(child(place, 2), status="RUNNING")


def lose_a_run(place: Place) -> None:
    connect(place.tracking_uri).delete_run(child(place, 1))


def double_a_run(place: Place) -> None:
    client = connect(place.tracking_uri)
    run = client.get_run(child(place, 3))
    client.create_run(run.info.experiment_id, tags=run.data.tags)


def double_a_point(place: Place) -> None:
    connect(place.tracking_uri).log_metric(child(place, 0), "score", 0.5, step=1)


def alter_an_event(place: Place) -> None:
    execute(
        place, "UPDATE events SET body = replace(body, '\"x\":0', '\"x\":1') WHERE kind = 'proposed' AND sequence < 4"
    )


def lose_the_end(place: Place) -> None:
    execute(place, "DELETE FROM events WHERE sequence = (SELECT max(sequence) FROM events)")


def test_a_whole_sweep_passes(place: Place) -> None:
    assert len(assert_nothing_lost(place, "whole").trials) == 4


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (leave_running, "is RUNNING"),
        (lose_a_run, "the runs are those of the trials"),
        (double_a_run, "the runs are those of the trials"),
        (double_a_point, "shows score at the epochs"),
        (alter_an_event, "not as it was written"),
        (lose_the_end, "the sweep is running"),
    ],
)
def test_a_harm_shows(place: Place, harm: Callable[[Place], None], said: str) -> None:
    harm(place)
    with pytest.raises(AssertionError, match=said):
        assert_nothing_lost(place, "whole")


def rows_of(place: Place) -> list[Row]:
    with closing(place.book()) as book:
        return list(book.rows("whole"))


def test_work_that_is_done_again_shows(place: Place) -> None:
    rows = rows_of(place)
    last = max(index for index, row in enumerate(rows) if isinstance(row.event, Progress))
    event = rows[last].event
    assert isinstance(event, Progress)
    again = tuple(LaneProgress(trial=lane.trial, epoch=1, metrics={}) for lane in event.lanes)
    rows.insert(last + 1, rows[last]._replace(event=event.model_copy(update={"lanes": again})))
    with pytest.raises(AssertionError, match="redid what was saved"):
        replayed_in_steps(rows)


def test_an_advance_from_another_checkpoint_shows(place: Place) -> None:
    rows = rows_of(place)
    promoted = next(trial.number for trial in replayed_in_steps(rows).trials.values() if trial.rung == 4)
    saves = [row for row in rows if isinstance(row.event, Saved) and row.event.trial == promoted]
    elsewhere = saves[0].event.model_copy(update={"epoch": 0, "folder": "elsewhere"})
    rows.insert(rows.index(saves[0]) + 1, saves[0]._replace(event=elsewhere))
    with pytest.raises(AssertionError, match="does not start from the last Saved"):
        replayed_in_steps(rows)

import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_bench import Bench, make_spec

from podium.errors import StorageFault, TaskError
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Event, Lane, Progress
from podium.training.code import load
from podium.training.function import saves_checkpoints

MakeBench = Callable[..., Bench]

LANE = Lane(trial=3, parameters={"rate": 0.5}, seed=7)

SAVING = """
    import json

    def train(trial):
        done = 0
        if trial.saved is not None:
            done = json.loads((trial.saved / "done.json").read_text())
        with open(trial.params["calls"], "a") as calls:
            print(trial.number, done, file=calls)
        for step in range(done + 1, 100):
            with trial.checkpoint() as folder:
                (folder / "done.json").write_text(json.dumps(step))
            trial.report(step, {"score": trial.params["scores"][step - 1], "rate": trial.params["rate"]})
"""

NOT_SAVING = """
    def train(trial):
        for step in range(1, 100):
            trial.report(step, {"score": trial.params["scores"][step - 1]})
"""


def function_spec(**settings: Any) -> SweepSpec:
    return make_spec(
        **{
            "task": "train.py:train",
            "data": None,
            "search": {"objective": {"metric": "score", "direction": "maximize"}},
            "parameters": {"scores": (1.0, 3.0, 2.0, 0.0, 0.0)},
            **settings,
        }
    )


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(textwrap.dedent(text))
    return folder


@pytest.fixture
def run(bench: MakeBench, tmp_path: Path) -> Callable[..., Bench]:
    """A trainer of a function given as text."""

    def make(text: str, *, holder: int = 1, store: str | None = None, **settings: Any) -> Bench:
        settings.setdefault("parameters", {"scores": (1.0, 3.0, 2.0, 0.0, 0.0), "calls": str(tmp_path / "calls")})
        return bench(function_spec(**settings), code=write(tmp_path / "code", text), holder=holder, store=store)

    return make


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_a_function_waits_at_a_rung_and_goes_on(run: Callable[..., Bench], tmp_path: Path) -> None:
    trained = run(SAVING)
    report = trained.advance(2, LANE)
    assert (report.ending, report.epoch, report.values, report.best_epoch) == ("until", 2, (3.0,), 2)
    assert report.metrics == {"score": 3.0, "rate": 0.5}
    assert (trained.saved[-1].epoch, trained.saved[-1].step) == (2, 0)
    report = trained.advance(4, trained.lane(LANE, reached=2))
    assert (report.ending, report.epoch, report.values, report.best_epoch) == ("until", 4, (3.0,), 2)
    assert calls(tmp_path) == ["3 0"]
    assert {epoch: metrics["score"] for epoch, metrics in trained.curve(3).items()} == {1: 1, 2: 3, 3: 2, 4: 0}
    folders = [Path(saved.folder).name for saved in trained.saved]
    lying = sorted(path.name for path in (tmp_path / "store/checkpoints/toy/00003").iterdir())
    assert (len(folders), [name for name in lying if not name.startswith(".")]) == (4, folders)
    trained.trainer.close()
    assert sorted(path.name for path in (tmp_path / "store/checkpoints/toy/00003").iterdir()) == folders


def test_an_advance_tells_how_long_checkpoints_took_and_nothing_of_what_a_function_does_besides(
    run: Callable[..., Bench],
) -> None:
    trained = run("""
        import time

        def train(trial):
            with trial.checkpoint():
                time.sleep(0.1)
            trial.report(1, {"score": 0.5})
            time.sleep(0.3)
    """)
    began = time.perf_counter()
    trained.advance(3, LANE)
    elapsed, pauses = time.perf_counter() - began, trained.trainer.pauses
    assert pauses.data_s is None
    assert pauses.checkpoint_s is not None
    assert 0.1 <= pauses.checkpoint_s <= elapsed - 0.3
    other = run(NOT_SAVING)
    other.advance(2, LANE)
    other.trainer.close()
    assert other.trainer.pauses.checkpoint_s is not None, "it measures, even if there is nothing to write"


def test_a_function_gives_way_and_is_called_again(run: Callable[..., Bench], tmp_path: Path) -> None:
    trained = run(SAVING)
    other = LANE.model_copy(update={"trial": 4})
    trained.advance(2, LANE)
    trained.advance(2, other)
    report = trained.advance(4, trained.lane(LANE, reached=2))
    assert (report.ending, report.epoch, report.values, report.best_epoch) == ("until", 4, (3.0,), 2)
    assert calls(tmp_path) == ["3 0", "4 0", "3 2"]
    trained.trainer.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("trial-")]


@pytest.mark.parametrize("store", [None, "memory://podium-test/functions"])
def test_a_function_is_called_again_by_another_worker(
    run: Callable[..., Bench], tmp_path: Path, store: str | None
) -> None:
    first = run(SAVING, store=store)
    first.advance(2, LANE)
    first.trainer.close()
    second = run(SAVING, holder=2, store=store)
    assert second.advance(3, first.lane(LANE, reached=2)).values == (3.0,)
    assert calls(tmp_path) == ["3 0", "3 2"]
    assert second.advance(2, first.lane(LANE, reached=2)).epoch == 2, "it stands there already"
    assert calls(tmp_path) == ["3 0", "3 2"]


def test_a_function_that_waits_behind_the_newest_checkpoint_is_called_again(
    run: Callable[..., Bench], tmp_path: Path
) -> None:
    """Another worker went on with the trial, saved, and was lost before it told the end of its advance."""
    first = run(SAVING)
    first.advance(2, LANE)
    second = run(SAVING, holder=2)
    second.advance(3, first.lane(LANE, reached=2))
    second.trainer.close()
    first.advance(4, second.lane(LANE, reached=2))
    assert calls(tmp_path) == ["3 0", "3 2", "3 3"]
    assert sorted(first.curve(3)) == [1, 2, 4]
    first.trainer.close()


def test_without_a_checkpoint_it_starts_over(run: Callable[..., Bench]) -> None:
    first = run(NOT_SAVING)
    first.advance(2, LANE)
    first.trainer.close()
    second = run(NOT_SAVING, holder=2)
    report = second.advance(3, LANE.model_copy(update={"reached": 2}))
    assert (report.epoch, report.values) == (3, (3.0,))
    assert sorted(second.curve(3)) == [1, 2, 3]
    second.trainer.close()


def test_a_halt_unwinds_at_the_next_report(run: Callable[..., Bench], tmp_path: Path) -> None:
    trained = run(SAVING)
    report = trained.advance(4, LANE, halt_after=1)
    assert (report.ending, report.epoch) == ("halted", 2)
    assert trained.advance(4, trained.lane(LANE)).ending == "until"
    assert calls(tmp_path) == ["3 0", "3 2"]


def test_what_follows_the_last_step_is_still_run(run: Callable[..., Bench], tmp_path: Path) -> None:
    text = """
        from pathlib import Path

        def train(trial):
            try:
                for step in range(1, 99):
                    trial.report(step, {"score": step})
            finally:
                Path(trial.params["calls"]).write_text(str(step))
    """
    report = run(text).advance(4, LANE)
    assert (report.ending, report.epoch) == ("until", 4)
    assert calls(tmp_path) == ["5"], "report raises TrialDone past the maximum"


def test_fewer_steps_are_complete_at_the_last(run: Callable[..., Bench]) -> None:
    trained = run("def train(trial):\n    trial.report(2, {'score': 5})\n")
    report = trained.advance(4, LANE)
    assert (report.ending, report.epoch, report.values) == ("returned", 2, (5.0,))


def test_a_step_may_jump_over_the_rung(run: Callable[..., Bench]) -> None:
    text = "def train(trial):\n    for step in (3, 6, 9):\n        trial.report(step, {'score': step})\n"
    trained = run(text)
    report = trained.advance(2, LANE)
    assert (report.ending, report.epoch) == ("until", 3)
    report = trained.advance(4, LANE.model_copy(update={"reached": 3}))
    assert (report.ending, report.epoch, report.values) == ("until", 3, (3.0,))


def test_patience_ends_a_function(run: Callable[..., Bench]) -> None:
    report = run(NOT_SAVING, stopping={"patience": 1}).advance(4, LANE)
    assert (report.ending, report.epoch, report.values) == ("patience", 3, (3.0,))


def test_an_objective_that_is_not_finite_diverges(run: Callable[..., Bench]) -> None:
    trained = run("def train(trial):\n    for step in (1, 2, 3):\n        trial.report(step, {'score': 1e400})\n")
    report = trained.advance(4, LANE)
    assert (report.ending, report.epoch, report.values) == ("diverged", 1, (None,))
    assert trained.curve(3) == {1: {"score": None}}


def test_metrics_logged_between_join_the_next_report(run: Callable[..., Bench]) -> None:
    text = """
        def train(trial):
            trial.log_metrics({"a": 1})
            trial.report(1, {"score": 1})
            trial.report(2, {"score": 2})
    """
    trained = run(text)
    trained.advance(4, LANE)
    assert trained.curve(3) == {1: {"score": 1, "a": 1}, 2: {"score": 2}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("pass", "returned without a report"),
        ("trial.report(1, {'loss': 1})", "got loss in step 1, and the objective is 'score'"),
        ("trial.report(0, {'score': 1})", "got step 0 after step 0"),
        ("trial.report(1, {'score': 1}); trial.report(1, {'score': 1})", "got step 1 after step 1"),
        ("trial.report(1.0, {'score': 1})", "got step 1.0"),
        ("trial.report(5, {'score': 1})", "began at step 5, and budget.epochs.max is 4"),
        ("trial.report(1, {'score': 'good'})", "the metric 'score' is 'good'"),
        ("raise SystemExit(3)", "ended by SystemExit: 3"),
    ],
)
def test_a_broken_promise_is_a_task_error(run: Callable[..., Bench], body: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        run(f"def train(trial):\n    {body}\n").advance(4, LANE)


def test_an_exception_carries_the_function_s_own_traceback(run: Callable[..., Bench]) -> None:
    trained = run("def train(trial):\n    trial.report(1, {'score': 1})\n    assert 1 == 2, 'odd'\n")
    with pytest.raises(AssertionError, match="odd") as caught:
        trained.advance(4, LANE)
    assert 'train.py", line 3, in train' in "".join(traceback.format_exception(caught.value))
    assert trained.advance(1, LANE).ending == "until", "the trainer lives on"
    trained.trainer.close()


def test_a_checkpoint_that_fails_leaves_nothing_behind(run: Callable[..., Bench], tmp_path: Path) -> None:
    text = """
        def train(trial):
            with trial.checkpoint() as folder:
                (folder / "half").write_text("")
                raise OSError("disk")
    """
    with pytest.raises(OSError, match="disk"):
        run(text).advance(4, LANE)
    assert list((tmp_path / "store/checkpoints/toy/00003").iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def train(): pass", r"cannot be called as train\(trial\)"),
        ("def train(trial, data): pass", r"cannot be called as train\(trial\).*'data'"),
        ("train = 3", r"is 3; a task is a subclass of podium.Task, or a training function"),
        ("class train: pass", "is a subclass of podium.Task"),
    ],
)
def test_what_is_no_training_function_is_refused(run: Callable[..., Bench], text: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        run(text)


def test_whether_a_function_saves_is_read_from_its_file(tmp_path: Path) -> None:
    assert saves_checkpoints(load("train.py:train", write(tmp_path / "a", SAVING)))
    assert not saves_checkpoints(load("train.py:train", write(tmp_path / "b", NOT_SAVING)))


SAVING_LATE = """
    import json

    def train(trial):
        done = json.loads((trial.saved / "done.json").read_text()) if trial.saved else 0
        for step in range(done + 1, 6):
            trial.report(step, {"score": trial.params["scores"][step - 1]})
            with trial.checkpoint() as folder:
                (folder / "done.json").write_text(json.dumps(step))
"""


def test_a_function_that_saves_after_it_reports_loses_no_report(run: Callable[..., Bench]) -> None:
    first = run(SAVING_LATE)
    first.advance(3, LANE)
    assert first.saved[-1].epoch == 3
    again = run(SAVING_LATE)
    report = again.advance(4, first.lane(LANE, reached=3))
    assert (report.epoch, report.values, report.best_epoch) == (4, (3.0,), 2)
    progress = [event for event in again.events if isinstance(event, Progress)]
    assert [lane.epoch for event in progress for lane in event.lanes] == [4]


def test_a_checkpoint_before_its_report_is_not_announced(run: Callable[..., Bench]) -> None:
    trained = run(
        SAVING.replace(
            "trial.report", "if step == 3:\n                raise OSError('killed')\n            trial.report"
        )
    )
    with pytest.raises(OSError, match="killed"):
        trained.advance(5, LANE)
    assert [saved.epoch for saved in trained.saved] == [1, 2]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([SAVING, SAVING_LATE, NOT_SAVING]),
    halts=st.lists(st.integers(0, 3), min_size=1, max_size=4),
    warm=st.booleans(),
)
def test_a_halted_function_goes_on_without_losing_a_report(
    tmp_path_factory: pytest.TempPathFactory, text: str, halts: list[int], warm: bool
) -> None:
    folder = tmp_path_factory.mktemp("halted")
    parameters = {"scores": (1.0, 3.0, 2.0, 0.0, 0.0), "calls": str(folder / "calls")}
    spec = function_spec(parameters=parameters)
    trained = Bench(spec, folder / "store", data=None, code=write(folder / "code", text), holder=1)
    events, lane = list[Event](), LANE
    for number, halt_after in enumerate([*halts, 100]):
        if number and not warm:
            trained = Bench(spec, folder / "store", data=None, code=folder / "code", holder=number + 1)
        report = trained.advance(4, lane, halt_after=halt_after)
        events, lane = [*events, *trained.events], trained.lane(lane)
        if report.ending == "until":
            break
    assert (report.ending, report.epoch, report.values, report.best_epoch) == ("until", 4, (3.0,), 2)
    scores: dict[int, set[float | None]] = {}
    for event in events:
        for lane_progress in event.lanes if isinstance(event, Progress) else ():
            scores.setdefault(lane_progress.epoch, set()).add(lane_progress.metrics["score"])
    assert scores == {1: {1.0}, 2: {3.0}, 3: {2.0}, 4: {0.0}}
    trained.trainer.close()


def test_what_a_function_saves_last_counts_when_it_returns(run: Callable[..., Bench], tmp_path: Path) -> None:
    text = """
        def train(trial):
            for step in (1, 2, 3, 4):
                trial.report(step, {"score": step})
            with trial.checkpoint() as folder:
                (folder / "model").write_text("trained")
    """
    trained = run(text)
    report = trained.advance(4, LANE)
    assert (report.ending, report.epoch) == ("until", 4)
    (saved,) = trained.saved
    assert saved.epoch == 4
    assert (tmp_path / "store" / saved.folder / "files/model").read_text() == "trained"


def test_a_full_disk_under_a_function_is_a_fault(run: Callable[..., Bench], small_disk: Path) -> None:
    text = """
        def train(trial):
            for step in range(1, 5):
                with trial.checkpoint() as folder:
                    (folder / "model").write_bytes(bytes(300_000))
                trial.report(step, {"score": step})
    """
    trained = run(text, store=str(small_disk))
    with pytest.raises(StorageFault, match=r"trial 3 could not be written.*No space left on device"):
        trained.advance(4, LANE)
    assert [saved.epoch for saved in trained.saved] == [1, 2, 3]
    lying = (small_disk / "checkpoints/toy/00003").iterdir()
    assert {path.name for path in lying} == {Path(saved.folder).name for saved in trained.saved}

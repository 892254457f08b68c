from pathlib import Path

import matplotlib.figure
import plotly.graph_objects
import pytest
import torch

from podium.errors import TaskError
from podium.spec.sweep import Objective
from podium.training.artifacts import Log, artifact_folder
from podium.training.metrics import Mean
from podium.training.record import Record
from podium.training.task import Batch


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(str(tmp_path), artifact_folder("toy", 7))


def test_figures_of_both_libraries_are_kept(log: Log, tmp_path: Path) -> None:
    log.log_figure("curve", plotly.graph_objects.Figure())
    log.log_figure("curve", matplotlib.figure.Figure())
    log.log_figure("deep/curve.pdf", matplotlib.figure.Figure())
    folder = tmp_path / "artifacts/toy/00007"
    assert "plotly" in (folder / "curve.html").read_text()
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "deep/curve.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(TaskError, match="takes a figure of plotly or matplotlib"):
        log.log_figure("curve", "a picture")


def test_files_and_folders_are_kept(log: Log, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    source.mkdir()
    (source / "a.txt").write_text("a")
    log.log_artifact(source)
    log.log_artifact(str(source / "a.txt"), "b.txt")
    folder = tmp_path / "artifacts/toy/00007"
    assert (folder / "mine/a.txt").read_text() == (folder / "b.txt").read_text() == "a"


@pytest.mark.parametrize("name", ["../a.txt", "/a.txt", ""])
def test_artifacts_stay_in_their_folder(log: Log, name: str) -> None:
    with pytest.raises(TaskError, match="no name for an artifact"):
        log.log_artifact(__file__, name)
    with pytest.raises(TaskError, match="found no file"):
        log.log_artifact("nowhere.txt")


def test_metrics_are_taken_once(log: Log) -> None:
    log.log_metrics({"a": 1.0})
    log.log_metrics({"b": 2.0})
    assert log.take_metrics() == {"a": 1.0, "b": 2.0}
    assert log.take_metrics() == {}


def test_merged_means_are_means_over_all_samples() -> None:
    def batch(values: list[float]) -> Batch:
        return Batch(torch.tensor(values), torch.tensor(values), {})

    one, other, together = (Mean(lambda outputs, batch: batch.targets) for _ in range(3))
    one.update(None, batch([1.0, 2.0]))
    other.update(None, batch([6.0]))
    together.update(None, batch([1.0, 2.0, 6.0]))
    one.merge(other)
    assert one.compute() == together.compute() == 3.0


@pytest.mark.parametrize(
    ("direction", "at", "values", "best", "stale"),
    [
        ("maximize", "best", [1, 3, 3, 2], (2, 3), 2),
        ("minimize", "best", [3, 1, 1, 2], (2, 1), 2),
        ("maximize", "last", [1, 3, 3, 2], (4, 2), 2),
        ("maximize", "best", [1.0, 1.4, 1.8, 1.9], (4, 1.9), 1),
    ],
)
def test_records_keep_the_first_best_and_count_what_is_no_improvement(
    direction: str, at: str, values: list[float], best: tuple[int, float], stale: int
) -> None:
    record = Record()
    objective = Objective(metric="m", direction=direction, at=at)
    for epoch, value in enumerate(values, start=1):
        record.note(epoch, (float(value),), objective, min_delta=0.5)
    assert (record.epoch, record.values[0]) == best
    assert record.stale == stale
    assert record.is_out_of(stale)
    assert not record.is_out_of(stale + 1)
    assert not record.is_out_of(None)

"""Trials over folds report what their networks would have reported one by one, whatever happens on the way."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_bench import DOUBLE, Bench, make_spec

from podium.data.prepare import prepare
from podium.data.reader import Reader
from podium.sweep.messages import Advance, Lane, Progress, Repeat, Report, Saved
from podium.training.checkpoint import Storage
from podium.training.folded import FoldedTrainer
from podium.training.ranks import ALONE
from podium.training.task_trainer import PlainTrainer
from podium.training.trainer import load_task
from podium.training.widths import Notes

FOLDS = 3
DATA: dict[str, Any] = {
    "source": {"kind": "arrays", "path": "blobs.npz"},
    "split": {"folds": FOLDS, "by": "stratified"},
    "batch_size": 16,
}
LANES = tuple(Lane(trial=n, parameters={"optimizer.learning_rate": 0.01 * (n + 1)}, seed=n) for n in range(2))


def spec_of(**settings: Any) -> Any:
    network = {"width": 6, "dropout": 0.3, "norm": "batch"}
    base = {"task": "task.py:Double", "data": DATA, "network": network, "initializer": {"scheme": "he_normal"}}
    return make_spec(**{**base, **settings})


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "task.py").write_text(DOUBLE)
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draws = tmp_path_factory.mktemp("folds"), np.random.default_rng(0)
    targets = np.arange(120) % 3
    inputs = draws.normal(size=(3, 8))[targets] + draws.normal(size=(120, 8))
    np.savez(folder / "blobs.npz", x=inputs.astype(np.float32), y=targets)
    return prepare(spec_of().data, base=folder, store=str(folder), cache=folder / "cache")


def advance(bench: Bench, until: int, lanes: tuple[Lane, ...] = LANES) -> dict[int, Report]:
    reports = bench.trainer.advance(Advance(key=f"until {until}", gang="gang", until=until, lanes=lanes))
    return {report.trial: report for report in reports}


@pytest.fixture(scope="module")
def one_by_one(shards: Path, code: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[int, dict[str, float]]]:
    """By fold the curve of trial 0, with a trainer that has this fold alone."""
    spec, curves = spec_of(fuse="off"), []
    for fold in range(FOLDS):
        told: list[Any] = []
        ranks = type(ALONE)(told.append, lambda: False)
        reader = Reader(shards).fold(fold)
        storage = Storage(str(tmp_path_factory.mktemp("fold")), 1, str(tmp_path_factory.mktemp("cache")))
        task: Any = load_task(spec, code)
        trainer = PlainTrainer(spec, task, reader, storage, Notes(storage.cache, {}), ranks)
        trainer.advance(Advance(key="alone", gang="gang", until=4, lanes=LANES[:1]))
        curves.append({e.lanes[0].epoch: dict(e.lanes[0].metrics) for e in told if isinstance(e, Progress)})
    return curves


def assert_means(bench: Bench, one_by_one: list[dict[int, dict[str, float]]]) -> None:
    curve = bench.curve(0)
    assert sorted(curve) == [1, 2, 3, 4]
    for epoch, metrics in curve.items():
        for name in ("train/loss", "validation/loss", "validation/accuracy"):
            values = [fold[epoch][name] for fold in one_by_one]
            assert metrics[name] == pytest.approx(statistics.fmean(values), abs=1e-9)
            if name.startswith("validation/"):
                assert metrics[f"{name}_spread"] == pytest.approx(statistics.stdev(values), abs=1e-9)


@pytest.mark.parametrize("fuse", ["off", 2])
def test_metrics_are_the_means_over_the_folds(
    fuse: Any, shards: Path, code: Path, one_by_one: list[dict[int, dict[str, float]]], tmp_path: Path
) -> None:
    bench = Bench(spec_of(fuse=fuse), tmp_path, data=shards, code=code, holder=1)
    assert isinstance(bench.trainer, FoldedTrainer)
    reports = advance(bench, 4)
    assert_means(bench, one_by_one)
    best = max(bench.curve(0).items(), key=lambda item: item[1]["validation/accuracy"])
    assert (reports[0].epoch, reports[0].ending) == (4, "until")
    assert (reports[0].best_epoch, reports[0].values) == (best[0], (best[1]["validation/accuracy"],))
    assert reports[0].width == (1 if fuse == "off" else 2)
    saved = [event for event in bench.events if isinstance(event, Saved)]
    assert [(event.trial, event.epoch, event.step) for event in saved] == [(0, 4, 0), (1, 4, 0)]


@pytest.mark.parametrize("steps", [2, 9, 23])
def test_a_trial_goes_on_in_the_middle_of_any_fold(
    steps: int, shards: Path, code: Path, one_by_one: list[dict[int, dict[str, float]]], tmp_path: Path
) -> None:
    first = Bench(spec_of(fuse="off"), tmp_path, data=shards, code=code, holder=1)
    first.patience = steps
    report = advance(first, 2, LANES[:1])[0]
    assert report.ending == "halted"
    (saved,) = [event for event in first.events if isinstance(event, Saved)]
    second = Bench(spec_of(fuse="off"), tmp_path, data=shards, code=code, holder=2)
    second.events += first.events
    place = {"epoch": saved.epoch, "step": saved.step, "folder": saved.folder}
    advance(second, 2, (LANES[0].model_copy(update=place),))
    (*_, last) = [event for event in second.events if isinstance(event, Saved)]
    assert (last.epoch, last.step) == (2, 0)
    advance(second, 4, (LANES[0].model_copy(update={"epoch": 2, "folder": last.folder}),))
    assert_means(second, one_by_one)


def test_folds_that_run_out_of_patience_keep_their_last_metrics(shards: Path, code: Path, tmp_path: Path) -> None:
    spec = spec_of(fuse="off", stopping={"patience": 1}, budget={"trials": 1, "epochs": {"max": 30}})
    bench = Bench(spec, tmp_path, data=shards, code=code, holder=1)
    report = advance(bench, 30, LANES[:1])[0]
    assert report.ending == "patience"
    assert sorted(bench.curve(0)) == list(range(1, report.epoch + 1))
    assert report.epoch < 30


def test_one_fold_that_diverges_ends_the_trial(shards: Path, code: Path, tmp_path: Path) -> None:
    lane = Lane(trial=0, parameters={"optimizer.learning_rate": 1e200}, seed=0)
    bench = Bench(spec_of(fuse="off", optimizer={"kind": "sgd"}), tmp_path, data=shards, code=code, holder=1)
    report = advance(bench, 2, (lane,))[0]
    assert (report.ending, report.values) == ("diverged", (None,))
    assert "with fold 0 to validate" in report.reason


def test_a_trial_over_folds_comes_out_again_bit_for_bit(shards: Path, code: Path, tmp_path: Path) -> None:
    spec = spec_of(fuse=2)
    then = Bench(spec, tmp_path / "then", data=shards, code=code, holder=1)
    report = advance(then, 2)[1]
    assert [stretch.fold for stretch in report.history] == list(range(FOLDS))
    again = Bench(spec, tmp_path / "again", data=shards, code=code, holder=1)
    repeat = Repeat(history=report.history, mates={0: LANES[0].parameters})
    advance(again, 2, (LANES[1].model_copy(update={"repeat": repeat}),))
    assert again.curve(1) == then.curve(1)

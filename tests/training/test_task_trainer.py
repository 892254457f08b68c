import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_bench import Bench, make_spec, prepare_arrays

from podium.data.reader import Reader
from podium.errors import CheckpointError, StorageFault
from podium.sweep.messages import Lane, Progress, Saved
from podium.training.checkpoint import reading
from podium.training.seats import Seat
from podium.training.task_trainer import PlainTrainer
from podium.training.trainer import load_best

MakeBench = Callable[..., Bench]

LANE = Lane(trial=3, parameters={}, seed=7)


def test_classification_learns_and_reports(bench: MakeBench, blobs: Path) -> None:
    trained = bench(make_spec(network={"kind": "mlp"}), data=blobs)
    report = trained.advance(4, LANE)
    assert (report.trial, report.epoch, report.ending) == (3, 4, "until")
    assert report.values[0] is not None
    assert report.values[0] > 0.9
    assert report.values[0] == trained.curve(3)[report.best_epoch]["validation/accuracy"]
    assert set(report.metrics) == {
        "train/loss",
        "train/accuracy",
        "train/samples_per_s",
        "validation/loss",
        "validation/accuracy",
        "parameters",
        "diagnosis/gradient_ratio",
        "diagnosis/update_ratio",
        "diagnosis/dead",
    }
    assert report.metrics["parameters"] == 36 * 64 + 64 + 64 * 64 + 64 + 64 * 3 + 3
    assert [type(event) for event in trained.events] == [Progress] * 4 + [Saved]
    assert sorted(trained.curve(3)) == [1, 2, 3, 4]


def test_an_advance_tells_what_it_waited_for(bench: MakeBench, blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = bench(make_spec(), data=blobs)
    slow = Reader.epoch

    def epoch(self: Reader, *arguments: Any, **how: Any) -> Iterator[Any]:
        for batch in slow(self, *arguments, **how):
            time.sleep(0.01)
            yield batch

    monkeypatch.setattr(Reader, "epoch", epoch)
    trained.advance(1, LANE)
    waited, pauses = 0.01 * trained.trainer._reader.steps("train", 16), trained.trainer.pauses
    assert pauses.data_s is not None
    assert pauses.data_s >= waited > 0
    assert pauses.checkpoint_s is not None
    assert pauses.checkpoint_s > 0
    monkeypatch.undo()
    trained.advance(1, LANE)
    assert trained.trainer.pauses is not pauses, "each advance is measured by itself"


def test_a_convnet_learns(bench: MakeBench, blobs: Path) -> None:
    network = {"kind": "convnet", "depth": 1, "channels": 4, "width": 16, "kernel": 3, "norm": "batch"}
    report = bench(make_spec(network=network, optimizer={"learning_rate": 0.03}), data=blobs).advance(4, LANE)
    assert report.values[0] is not None
    assert report.values[0] > 0.8


def test_regression_learns(bench: MakeBench, line: Path) -> None:
    spec = make_spec(
        task="regression",
        optimizer={"learning_rate": 0.03},
        search={"objective": {"metric": "validation/rmse", "direction": "minimize"}},
        budget={"trials": 1, "epochs": {"max": 20}},
    )
    report = bench(spec, data=line).advance(20, LANE)
    rmse, absolute, loss = (report.metrics[f"validation/{name}"] for name in ("rmse", "mean_absolute_error", "loss"))
    assert rmse is not None
    assert absolute is not None
    assert loss is not None
    assert absolute <= rmse < 0.4
    assert loss == pytest.approx(rmse**2)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw", "adadelta"])
def test_an_advance_in_pieces_equals_one(bench: MakeBench, blobs: Path, tmp_path: Path, kind: str) -> None:
    spec = make_spec(
        optimizer={"kind": kind, "momentum": 0.9, "learning_rate": 0.05, "clip": 1.0},
        network={"width": 8, "dropout": 0.3, "norm": "batch"},
        penalty={"l1": 1e-4, "l2": 1e-4},
        schedule={"kind": "cosine", "warmup": 0.1},
        loss={"label_smoothing": 0.1},
    )
    whole = bench(spec, data=blobs, store=tmp_path / "whole")
    once = whole.advance(4, LANE)
    warm = bench(spec, data=blobs, store=tmp_path / "warm")
    warm.advance(1, LANE)
    in_memory = warm.advance(4, warm.lane(LANE))
    cold = bench(spec, data=blobs, store=tmp_path / "cold")
    cold.advance(1, LANE)
    fresh = bench(spec, data=blobs, store=tmp_path / "cold", holder=2)
    from_checkpoint = fresh.advance(4, cold.lane(LANE))
    assert once.values == in_memory.values == from_checkpoint.values
    assert whole.curve(3) == warm.curve(3) == cold.curve(3) | fresh.curve(3)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(halts=st.lists(st.integers(0, 12), min_size=1, max_size=4), warm=st.booleans())
def test_where_a_trial_is_interrupted_does_not_matter(
    halts: list[int],
    warm: bool,
    blobs: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    spec = make_spec(network={"width": 8, "dropout": 0.5, "norm": "batch"}, optimizer={"learning_rate": 0.01})
    undisturbed = Bench(spec, tmp_path_factory.mktemp("store"), data=blobs, code=None, holder=1)
    expected = undisturbed.advance(4, LANE)

    store = tmp_path_factory.mktemp("store")
    interrupted = Bench(spec, store, data=blobs, code=None, holder=1)
    lane, curve, report = LANE, dict[int, Any](), None
    for number, halt_after in enumerate([*halts, math.inf]):
        if not warm:
            interrupted = Bench(spec, store, data=blobs, code=None, holder=number)
        report = interrupted.advance(4, lane, halt_after=halt_after)
        curve |= interrupted.curve(3)
        assert report.ending in ("halted", "until")
        lane = interrupted.lane(LANE)
        if report.ending == "halted":
            assert (lane.epoch, lane.step) > (0, 0)
    assert report is not None
    assert curve == undisturbed.curve(3)
    assert (report.values, report.best_epoch) == (expected.values, expected.best_epoch)


def test_a_halt_saves_at_the_next_step(bench: MakeBench, blobs: Path) -> None:
    trained = bench(make_spec(), data=blobs)
    report = trained.advance(4, LANE, halt_after=2)
    assert (report.ending, report.epoch) == ("halted", 0)
    assert [(event.epoch, event.step) for event in trained.saved] == [(0, 3)]


def test_a_trial_is_saved_as_often_as_the_sweep_asks(bench: MakeBench, blobs: Path) -> None:
    trained = bench(make_spec(checkpoints={"every_s": 1e-9}), data=blobs)
    trained.advance(1, LANE)
    steps = Reader(blobs).steps("train", 16)
    assert [(event.epoch, event.step) for event in trained.saved] == [*((0, step) for step in range(1, steps)), (1, 0)]


def test_a_worker_removes_no_checkpoint(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    trained = bench(make_spec(), data=blobs)
    for until in (1, 2, 3, 4):
        trained.advance(until, trained.lane(LANE))
    assert [saved.epoch for saved in trained.saved] == [1, 2, 3, 4]
    for saved in trained.saved:
        sizes = [path.stat().st_size for path in (tmp_path / "store" / saved.folder).iterdir()]
        assert saved.bytes == sum(sizes) > 1000


def test_holders_do_not_touch_each_others_checkpoints(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    spec = make_spec(network={"width": 8, "dropout": 0.2}, checkpoints={"every_s": 1e-9})
    expected = bench(spec, data=blobs, store=tmp_path / "undisturbed")
    expected.advance(4, LANE)
    orphan, successor = (bench(spec, data=blobs, holder=holder) for holder in (1, 2))
    orphan.advance(1, LANE)
    start = orphan.lane(LANE)
    orphan.advance(4, start, halt_after=20)
    successor.advance(3, start)
    orphan.advance(4, orphan.lane(LANE))
    successor.advance(4, successor.lane(LANE))
    assert expected.curve(3) == orphan.curve(3)
    assert {epoch: metrics for epoch, metrics in expected.curve(3).items() if epoch > 1} == successor.curve(3)
    told = [saved.folder for each in (orphan, successor) for saved in each.saved]
    assert len({Path(folder) for folder in told}) == len(told)
    for folder in told:
        with reading(str(tmp_path / "store"), folder):
            pass


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["state.json", "state.safetensors", ""]),
    where=st.floats(0, 1, exclude_max=True),
    damage=st.sampled_from(["flip", "truncate", "remove"]),
    both=st.booleans(),
)
def test_a_damaged_checkpoint_is_noticed_and_costs_only_time(
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    blobs: Path,
    name: str,
    where: float,
    damage: str,
    both: bool,
) -> None:
    spec = make_spec(network={"width": 8, "dropout": 0.2})
    undisturbed = Bench(spec, tmp_path_factory.mktemp("undisturbed"), data=blobs, code=None, holder=1)
    expected = undisturbed.advance(3, LANE)
    store = tmp_path_factory.mktemp("store")
    first = Bench(spec, store, data=blobs, code=None, holder=1)
    first.advance(1, LANE)
    first.advance(2, first.lane(LANE))
    damaged = first.saved if both else first.saved[-1:]
    for saved in damaged:
        spoil(store / saved.folder, name, where, damage)
    second = Bench(spec, store, data=blobs, code=None, holder=2)
    caplog.clear()
    report = second.advance(3, first.lane(LANE))
    assert sorted(second.curve(3)) == ([1, 2, 3] if both else [2, 3])
    assert undisturbed.curve(3) == first.curve(3) | second.curve(3)
    assert (report.values, report.best_epoch) == (expected.values, expected.best_epoch)
    warnings = [message for message in caplog.messages if "an earlier one has to do" in message]
    assert len(warnings) == len([saved for saved in damaged if name or saved is damaged[-1]])
    with pytest.raises(CheckpointError):
        load_best(
            spec,
            code=None,
            schema=Reader(blobs).schema,
            store=str(store),
            folder=first.lane(LANE).folder,
            parameters={},
        )


def spoil(folder: Path, name: str, where: float, damage: str) -> None:
    """Damages a file of a checkpoint at a place between its beginning and its end; all of it without a name."""
    if not name:
        shutil.rmtree(folder)
        return
    path = folder / name
    content = bytearray(path.read_bytes())
    position = int(where * len(content))
    match damage:
        case "flip":
            content[position] ^= 1
            path.write_bytes(content)
        case "truncate":
            path.write_bytes(content[:position])
        case "remove":
            path.unlink()


def test_a_checkpoint_that_stands_in_is_made_good(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    first = bench(make_spec(), data=blobs)
    first.advance(2, LANE)
    twin = bench(make_spec(), data=blobs, holder=2)
    twin.advance(2, LANE)
    spoil(tmp_path / "store" / first.saved[-1].folder, "state.json", 0.0, "remove")
    third = bench(make_spec(), data=blobs, holder=3)
    third.advance(2, first.lane(LANE))
    assert third.curve(3) == {}, "the twin's checkpoint of the same place was found"
    assert [(saved.epoch, saved.step) for saved in third.saved] == [(2, 0)]


def test_a_full_disk_is_a_fault(small_disk: Path, bench: MakeBench, blobs: Path) -> None:
    spec = make_spec(network={"width": 16})
    trained = bench(spec, data=blobs, store=small_disk)
    trained.advance(1, LANE)
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(2_000_000))
    with pytest.raises(StorageFault, match="No space left on device"):
        trained.advance(2, trained.lane(LANE))
    ballast.unlink()
    again = bench(spec, data=blobs, store=small_disk, holder=2)
    report = again.advance(2, trained.lane(LANE))
    assert report.values == bench(spec, data=blobs).advance(2, LANE).values
    assert again.curve(3).keys() == {2}


def test_a_checkpoint_of_other_code_is_refused(bench: MakeBench, blobs: Path) -> None:
    first = bench(make_spec(), data=blobs)
    first.advance(1, LANE)
    other = bench(make_spec(network={"width": 9}), data=blobs)
    with pytest.raises(CheckpointError, match="the code has changed"):
        other.advance(2, first.lane(LANE))


def test_an_advance_to_where_the_trial_stands_repeats_its_report(bench: MakeBench, blobs: Path) -> None:
    first = bench(make_spec(), data=blobs)
    expected = first.advance(2, LANE)
    again = bench(make_spec(), data=blobs, holder=2)
    report = again.advance(2, first.lane(LANE))
    assert report.model_copy(update={"device_s": expected.device_s}) == expected
    assert again.events == []


@pytest.mark.parametrize("at", ["best", "last"])
def test_the_objective_says_which_epoch_counts(bench: MakeBench, blobs: Path, tmp_path: Path, at: str) -> None:
    search = {"objective": {"metric": "validation/loss", "direction": "minimize", "at": at}}
    spec = make_spec(search=search, optimizer={"kind": "sgd", "learning_rate": 1.0}, penalty={"l2": 0.3})
    trained = bench(spec, data=blobs)
    report = trained.advance(4, LANE)
    losses = {epoch: metrics["validation/loss"] for epoch, metrics in trained.curve(3).items()}
    best = min(losses, key=lambda epoch: losses[epoch] or 0.0)
    assert best < 4, "the settings have to make the last epoch worse than another"
    assert report.best_epoch == (best if at == "best" else 4)
    assert report.values == (losses[report.best_epoch],)

    reader = Reader(blobs)
    network = load_best(
        spec,
        code=None,
        schema=reader.schema,
        store=str(tmp_path / "store"),
        folder=trained.lane(LANE).folder,
        parameters={},
    )
    assert not network.training
    (batch,) = reader.sequential("validation", 1000)
    with torch.no_grad():
        scores = network(torch.from_numpy(batch.inputs))
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(batch.targets))
    assert float(loss) == pytest.approx(report.values[0])


def test_patience_ends_a_trial_and_is_remembered(bench: MakeBench, blobs: Path) -> None:
    spec = make_spec(stopping={"patience": 2, "min_delta": 2.0}, budget={"trials": 1, "epochs": {"max": 9}})
    first = bench(spec, data=blobs)
    assert first.advance(2, LANE).ending == "until"
    second = bench(spec, data=blobs, holder=2)
    report = second.advance(9, first.lane(LANE))
    assert (report.ending, report.epoch, report.reason) == ("patience", 3, "no improvement in 2 epochs")
    assert second.advance(9, second.lane(LANE)).ending == "patience"


def test_a_trial_that_blows_up_diverges(bench: MakeBench, blobs: Path) -> None:
    trained = bench(make_spec(optimizer={"kind": "sgd", "learning_rate": 1e30}), data=blobs)
    report = trained.advance(4, LANE)
    assert (report.ending, report.epoch, report.values) == ("diverged", 1, (None,))
    assert "not finite in epoch 1" in report.reason
    assert trained.curve(3)[1]["train/loss"] is None


def test_a_network_above_the_limit_is_infeasible(bench: MakeBench, blobs: Path) -> None:
    objective = {"metric": "validation/accuracy", "direction": "maximize"}
    spec = make_spec(search={"objective": objective, "constraints": ["parameters <= 300", "validation/loss <= 1"]})
    small, large = (Lane(trial=n, parameters={"network.width": width}, seed=1) for n, width in [(0, 2), (1, 20)])
    trained = bench(spec, data=blobs)
    assert trained.advance(1, small).ending == "until"
    report = trained.advance(1, large)
    assert (report.ending, report.epoch, report.values) == ("infeasible", 0, (None,))
    assert report.reason == "the network has 1223 parameters; the constraint is parameters <= 300"
    assert trained.curve(1) == {}


def test_trials_take_turns_without_touching_each_other(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    spec = make_spec(network={"width": 8, "dropout": 0.3})
    lanes = [Lane(trial=n, parameters={"optimizer.learning_rate": 0.01 * (n + 1)}, seed=n) for n in range(6)]
    taking_turns = bench(spec, data=blobs)
    for until in (1, 2):
        for lane in lanes:
            taking_turns.advance(until, taking_turns.lane(lane))
    for lane in lanes:
        alone = bench(spec, data=blobs, store=tmp_path / f"alone{lane.trial}")
        alone.advance(2, lane)
        assert alone.curve(lane.trial) == taking_turns.curve(lane.trial)


def test_the_last_batch_may_hold_one_sample_under_batch_norm(bench: MakeBench, tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    data = prepare_arrays(tmp_path, draws.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 2)
    size = Reader(data).size("train") - 1
    spec = make_spec(network={"norm": "batch"}).model_copy()
    report = bench(spec, data=data).advance(1, LANE.model_copy(update={"parameters": {"data.batch_size": size}}))
    assert report.ending == "until"


def test_the_store_may_be_any_address(bench: MakeBench, blobs: Path) -> None:
    first = bench(make_spec(), data=blobs, store="memory://podium-test/store")
    for until in (1, 2, 3):
        first.advance(until, first.lane(LANE))
    second = bench(make_spec(), data=blobs, store="memory://podium-test/store", holder=2)
    resumed = second.advance(4, first.lane(LANE))
    assert resumed.values == bench(make_spec(), data=blobs).advance(4, LANE).values


@pytest.mark.parametrize(("strategy", "kept"), [("replicated", 1), ("sharded", 0)])
def test_what_other_ranks_would_shard_is_not_kept_whole(
    bench: MakeBench, blobs: Path, strategy: str, kept: int
) -> None:
    own = bench(make_spec(resources={"ranks": {"min": 1, "max": 2}, "strategy": strategy}), data=blobs)
    own.advance(1)
    assert isinstance(own.trainer, PlainTrainer)
    assert len(own.trainer._cache) == 1
    own.trainer.sit(Seat())
    assert len(own.trainer._cache) == kept

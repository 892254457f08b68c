"""A trial once more, in stacks as it was trained before: bit for bit, whatever happened to it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from training_bench import Bench, make_spec

from podium.spec.space import Value
from podium.sweep.messages import Advance, Lane, Repeat, Report, Stretch

MakeBench = Callable[..., Bench]
Parameters = Mapping[str, Value]

EPOCHS = 4


def advance(bench: Bench, until: int, lanes: Sequence[Lane], halt_after: float = float("inf")) -> dict[int, Report]:
    bench.patience = halt_after
    starts = tuple(bench.lane(lane) for lane in lanes)
    reports = bench.trainer.advance(Advance(key="key", gang="gang", until=until, lanes=starts))
    return {report.trial: report for report in reports}


def repeated(bench: Bench, lanes: Sequence[Lane], report: Report, *, is_twin: bool = False) -> dict[int, Any]:
    mates = {lane.trial: lane.parameters for lane in lanes}
    repeat = Repeat(history=report.history, mates=mates, is_twin=is_twin)
    own = next(lane for lane in lanes if lane.trial == report.trial)
    bench.advance(report.epoch, own.model_copy(update={"repeat": repeat}))
    return bench.curve(report.trial)


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], list[Parameters], list[list[int]], int]:
    """Settings, the parameters of some trials, who is trained in each span, and where one of the spans is cut off."""
    kind = draw(st.sampled_from(["sgd", "adam", "adadelta"]))
    network = {"width": 6, "depth": 1, "norm": draw(st.sampled_from(["none", "batch"]))}
    settings = {"optimizer": {"kind": kind}, "network": network, "fuse": draw(st.sampled_from(["auto", "off", 2, 3]))}
    each = [
        {
            "optimizer.learning_rate": draw(st.sampled_from([1e-3, 1e-2, 3e4])),
            "network.dropout": draw(st.sampled_from([0.0, 0.4])),
            "penalty.l2": draw(st.sampled_from([0.0, 1e-3])),
            "penalty.l1": draw(st.sampled_from([0.0, 1e-3])),
        }
        for _ in range(draw(st.integers(2, 5)))
    ]
    spans = [draw(st.permutations(range(len(each)))) for _ in range(2)]
    return settings, each, spans, draw(st.integers(1, 12))


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(stories())
def test_a_trial_comes_out_bit_for_bit(
    blobs: Path,
    tmp_path_factory: pytest.TempPathFactory,
    story: tuple[dict[str, Any], list[Parameters], list[list[int]], int],
) -> None:
    chosen, each, spans, halt_after = story
    spec = make_spec(**chosen)
    store = tmp_path_factory.mktemp("then")
    lanes = [Lane(trial=number, parameters=dict(own), seed=100 + number) for number, own in enumerate(each)]
    then = Bench(spec, store, data=blobs, code=None, holder=1)
    reports = advance(then, 1, [lanes[number] for number in spans[0]])
    going = [lanes[number] for number in spans[1] if reports[number].ending == "until"]
    if going:
        advance(then, EPOCHS, going, halt_after=halt_after)
        after = Bench(spec, store, data=blobs, code=None, holder=2)  # what the first one had in memory is gone
        after.events.extend(then.events)
        reports |= advance(after, EPOCHS, going[::-1])
        then.events.extend(after.events)
    for report in reports.values():
        again = Bench(spec, tmp_path_factory.mktemp("again"), data=blobs, code=None, holder=1)
        curve = repeated(again, lanes, report)
        assert curve == then.curve(report.trial)
        assert len(curve) == report.epoch


def test_a_twin_is_near_and_not_the_same(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    lanes = [Lane(trial=number, parameters={}, seed=number) for number in range(2)]
    spec = make_spec(fuse=2)
    then = bench(spec, data=blobs)
    report = advance(then, EPOCHS, lanes)[1]
    twin = repeated(bench(spec, data=blobs, store=tmp_path / "twin"), lanes, report, is_twin=True)
    losses = [(curve[EPOCHS]["train/loss"], curve[EPOCHS]["validation/loss"]) for curve in (then.curve(1), twin)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_where_others_trained_it_a_rank_stops_and_saves(bench: MakeBench, blobs: Path) -> None:
    history = (Stretch(epoch=0, stack=(0,)), Stretch(epoch=1, step=2, stack=(0,), ranks=2))
    again = bench(make_spec(), data=blobs)
    report = again.advance(EPOCHS, Lane(trial=0, parameters={}, seed=7, repeat=Repeat(history=history)))
    assert report.ending == "halted"
    assert [(saved.epoch, saved.step) for saved in again.saved] == [(1, 2)]


def test_a_history_without_a_beginning_begins_plainly(bench: MakeBench, blobs: Path) -> None:
    history = (Stretch(epoch=1, stack=(1, 0)),)
    again = bench(make_spec(), data=blobs)
    report = again.advance(2, Lane(trial=0, parameters={}, seed=7, repeat=Repeat(history=history, mates={1: {}})))
    assert report.history == (Stretch(epoch=0, stack=(0,)), *history)


LOGS = """
from podium.training.tasks import Classification


class Logs(Classification):
    def log(self, log, outputs, batch):
        log.log_metrics({"largest": float(outputs.max())})
        log.log_artifact(__file__, "this.py")
"""


def test_what_a_task_logs_is_the_trials_own(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(LOGS)
    lanes = [Lane(trial=number, parameters={}, seed=number) for number in range(3)]
    spec = make_spec(fuse=3, task="logs.py:Logs")
    then = bench(spec, data=blobs, code=tmp_path)
    report = advance(then, 1, lanes)[1]
    again = bench(spec, data=blobs, code=tmp_path, store=tmp_path / "again")
    assert repeated(again, lanes, report) == then.curve(1)
    assert "largest" in then.curve(1)[1]
    assert [path.name for path in (tmp_path / "again" / "artifacts" / "toy").iterdir()] == ["00001"]


def test_a_history_tells_every_change_of_the_stack(bench: MakeBench, blobs: Path) -> None:
    lanes = [Lane(trial=number, parameters={}, seed=number) for number in range(3)]
    then = bench(make_spec(fuse=3), data=blobs)
    advance(then, 1, lanes)
    report = advance(then, 2, lanes[:2])[1]
    assert report.history == (Stretch(epoch=0, stack=(0, 1, 2)), Stretch(epoch=1, stack=(0, 1)))
    assert advance(then, 3, lanes[:2])[1].history == report.history, "going on alike begins no new stretch"

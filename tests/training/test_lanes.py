"""Law 4: a trial's curve does not depend on its mates, nor on where it joined or left them."""

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from training_bench import DOUBLE, Bench, make_spec, prepare_arrays

from podium.data.manifest import Schema
from podium.data.prepare import prepare
from podium.data.reader import Batch
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, Measured, Report
from podium.training import live as live_module
from podium.training.lanes import Stack
from podium.training.live import LiveTrial
from podium.training.loop import Loop
from podium.training.plain import Plain
from podium.training.samples import Samples
from podium.training.trainer import load_task

MakeBench = Callable[..., Bench]
Parameters = Mapping[str, Value]


@pytest.fixture(scope="session")
def double(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of classification in float64."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "task.py").write_text(DOUBLE)
    return folder


def advance(bench: Bench, until: int, lanes: Sequence[Lane], halt_after: float = math.inf) -> dict[int, Report]:
    """An advance of several lanes, each from where it stands."""
    bench.patience = halt_after
    starts = tuple(bench.lane(lane) for lane in lanes)
    reports = bench.trainer.advance(Advance(key="key", gang="gang", until=until, lanes=starts))
    assert [report.trial for report in reports] == [lane.trial for lane in lanes]
    return {report.trial: report for report in reports}


def lanes_of(each: Sequence[Parameters]) -> list[Lane]:
    return [Lane(trial=number, parameters=dict(own), seed=100 + number) for number, own in enumerate(each)]


def losses(bench: Bench, trial: int) -> list[float]:
    """Of every epoch, train and validation."""
    curve = bench.curve(trial)
    return [curve[epoch][f"{split}/loss"] or math.nan for epoch in sorted(curve) for split in ("train", "validation")]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    assert len(one) == len(other)
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


FUSIBLE: Mapping[str, st.SearchStrategy[Any]] = {
    "initializer.scheme": st.sampled_from(
        ["small_normal", "xavier_uniform", "xavier_normal", "variance_scaling", "he_uniform", "he_normal", "orthogonal"]
    ),
    "optimizer.learning_rate": st.sampled_from([1e-3, 1e-2, 5e-2]),
    "optimizer.momentum": st.sampled_from([0.0, 0.5, 0.9]),
    "optimizer.beta1": st.sampled_from([0.8, 0.9]),
    "optimizer.beta2": st.sampled_from([0.99, 0.999]),
    "optimizer.rho": st.sampled_from([0.8, 0.9]),
    "optimizer.epsilon": st.sampled_from([1e-8, 1e-4]),
    "optimizer.weight_decay": st.sampled_from([0.0, 0.1]),
    "optimizer.clip": st.sampled_from([None, 0.5, 5.0]),
    "penalty.l1": st.sampled_from([0.0, 1e-3]),
    "penalty.l2": st.sampled_from([0.0, 1e-2]),
    "network.dropout": st.sampled_from([0.0, 0.3, 0.6]),
    "loss.label_smoothing": st.sampled_from([0.0, 0.1]),
    "schedule.kind": st.sampled_from(["constant", "cosine", "step"]),
    "schedule.warmup": st.sampled_from([0.0, 0.2]),
}
SPANS = (1, 2, 4)
"""Epochs at which trials may change their mates."""

KINDS = ["sgd", "adam", "adamw", "adadelta"]


@st.composite
def stories(draw: st.DrawFn) -> tuple[dict[str, Any], list[Parameters], list[list[int]]]:
    """A structure, fusible parameters for each trial, and who trains together in each span."""
    network = {
        "kind": draw(st.sampled_from(["mlp", "mlp", "convnet"])),
        "depth": draw(st.integers(1, 2)),
        "width": 6,
        "channels": 2,
        "kernel": 3,
        "activation": draw(st.sampled_from(["relu", "tanh", "gelu"])),
        "norm": draw(st.sampled_from(["none", "batch", "layer"])),
    }
    structure = {
        "network": network,
        "optimizer": {"kind": draw(st.sampled_from(KINDS)), "nesterov": draw(st.booleans())},
    }
    searched = draw(st.lists(st.sampled_from(sorted(FUSIBLE)), min_size=1, max_size=6, unique=True))
    count = draw(st.integers(2, 4))
    each = [{name: draw(FUSIBLE[name]) for name in searched} for _ in range(count)]
    mates = [draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)) for _ in SPANS]
    return structure, each, mates


def everything(kind: str, norm: str) -> tuple[dict[str, Any], list[Parameters], list[list[int]]]:
    structure = {"network": {"width": 6, "norm": norm}, "optimizer": {"kind": kind}}
    values = {
        "initializer.scheme": ["orthogonal", "he_normal", "xavier_uniform"],
        "optimizer.learning_rate": [1e-3, 1e-2, 5e-2],
        "optimizer.momentum": [0.0, 0.5, 0.9],
        "optimizer.beta1": [0.8, 0.9, 0.7],
        "optimizer.rho": [0.8, 0.9, 0.7],
        "optimizer.weight_decay": [0.0, 0.1, 0.2],
        "optimizer.clip": [None, 0.5, 5.0],
        "penalty.l1": [0.0, 1e-3, 0.0],
        "penalty.l2": [1e-2, 0.0, 0.0],
        "network.dropout": [0.0, 0.3, 0.6],
        "loss.label_smoothing": [0.0, 0.1, 0.2],
        "schedule.kind": ["constant", "cosine", "step"],
        "schedule.warmup": [0.0, 0.2, 0.0],
    }
    each = [{name: options[trial] for name, options in values.items()} for trial in range(3)]
    return structure, each, [[0, 0, 0], [1, 0, 1], [0, 0, 0]]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories())
@example(story=everything("sgd", "batch"))
@example(story=everything("adam", "layer"))
@example(story=everything("adamw", "none"))
@example(story=everything("adadelta", "batch"))
def test_a_trial_among_mates_is_the_trial_alone(
    story: tuple[dict[str, Any], list[Parameters], list[list[int]]],
    blobs: Path,
    double: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    structure, each, mates = story
    # batches of 8 make 14 steps an epoch: 56 in all
    data = {**make_spec().model_dump()["data"], "batch_size": 8}
    spec = make_spec(task="task.py:Double", fuse=16, initializer={"scheme": "he_normal"}, data=data, **structure)
    lanes = lanes_of(each)
    together = Bench(spec, tmp_path_factory.mktemp("together"), data=blobs, code=double, holder=1)
    for until, sides in zip(SPANS, mates, strict=True):
        for side in sorted(set(sides)):
            reports = advance(together, until, [lane for lane, own in zip(lanes, sides, strict=True) if own == side])
            assert {report.width for report in reports.values()} == {sides.count(side)}
    assert not [event for event in together.events if isinstance(event, Measured)], "nothing was found unstackable"
    for lane in lanes:
        alone = Bench(spec, tmp_path_factory.mktemp("alone"), data=blobs, code=double, holder=1)
        alone.advance(4, lane)
        apart = distance(losses(together, lane.trial), losses(alone, lane.trial))
        if apart > 1e-10:
            assert apart <= 10 * twins_distance(spec, lane, blobs, double, tmp_path_factory, losses(alone, lane.trial))


def perturbing(initialize: Callable[..., None], towards: float) -> Callable[..., None]:
    """Initial weights one unit in the last place further."""

    def perturbed(network: torch.nn.Module, *others: Any) -> None:
        initialize(network, *others)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.nextafter(parameter, torch.full_like(parameter, towards)))

    return perturbed


def twins_distance(
    spec: SweepSpec,
    lane: Lane,
    data: Path,
    code: Path,
    tmp_path_factory: pytest.TempPathFactory,
    expected: Sequence[float],
) -> float:
    """How far rounding alone takes the trial: its twin's initial weights are one unit in the last place larger."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_module, "initialize", perturbing(live_module.initialize, math.inf))
        twin = Bench(spec, tmp_path_factory.mktemp("twin"), data=data, code=code, holder=1)
        twin.advance(4, lane)
    return distance(losses(twin, lane.trial), expected)


def test_in_float32_mates_matter_no_more_than_rounding(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("digits")
    source = {"source": "mnist_5k", "batch_size": 64}
    spec = make_spec(fuse=6, data=source, network={"kind": "mlp", "depth": 2, "width": 32, "norm": "batch"})
    assert spec.data is not None
    data = prepare(spec.data, base=folder, store=str(folder), cache=folder / "cache")
    rates, schemes = (0.001, 0.003, 0.01, 0.03, 0.05, 0.1), ("orthogonal", "he_normal", "xavier_uniform")
    lanes = lanes_of(
        [
            {"optimizer.learning_rate": rate, "initializer.scheme": schemes[trial % 3], "network.dropout": 0.05 * trial}
            for trial, rate in enumerate(rates)
        ]
    )

    def accuracies(each: Sequence[Sequence[Lane]]) -> list[float]:
        bench = Bench(spec, tmp_path_factory.mktemp("store"), data=data, code=None, holder=1)
        for cohort in each:
            advance(bench, 3, cohort)
        return [bench.curve(lane.trial)[3]["validation/accuracy"] or 0.0 for lane in lanes]

    alone = accuracies([[lane] for lane in lanes])
    stacked = accuracies([lanes])
    twins = []
    for target in (math.inf, -math.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(live_module, "initialize", perturbing(live_module.initialize, target))
            twins.append(accuracies([[lane] for lane in lanes]))
    spread = [max(abs(twin[lane] - alone[lane]) for twin in twins) for lane in range(len(lanes))]
    apart = [abs(one - other) for one, other in zip(stacked, alone, strict=True)]
    one_image = 1 / 770
    assert min(alone) > 0.8
    assert sum(apart) <= 2 * sum(spread) + len(lanes) * one_image


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(halts=st.lists(st.integers(0, 12), min_size=1, max_size=3), warm=st.booleans())
def test_where_a_stack_is_interrupted_does_not_matter(
    halts: list[int], warm: bool, blobs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spec = make_spec(fuse=4, network={"width": 8, "norm": "batch"})
    lanes = lanes_of([{"network.dropout": 0.5, "optimizer.learning_rate": rate} for rate in (0.01, 0.02, 0.05)])
    undisturbed = Bench(spec, tmp_path_factory.mktemp("store"), data=blobs, code=None, holder=1)
    expected = advance(undisturbed, 4, lanes)
    store = tmp_path_factory.mktemp("store")
    interrupted = Bench(spec, store, data=blobs, code=None, holder=1)
    curves: dict[int, Any] = {lane.trial: {} for lane in lanes}
    starts, reports = lanes, dict[int, Report]()
    for number, halt_after in enumerate([*halts, math.inf]):
        if not warm:
            interrupted = Bench(spec, store, data=blobs, code=None, holder=number)
        reports = advance(interrupted, 4, starts, halt_after)
        curves = {trial: curve | interrupted.curve(trial) for trial, curve in curves.items()}
        starts = [interrupted.lane(lane) for lane in starts]
        assert len({(lane.epoch, lane.step) for lane in starts}) == 1
    for trial, report in reports.items():
        assert curves[trial] == undisturbed.curve(trial)
        assert (report.values, report.best_epoch) == (expected[trial].values, expected[trial].best_epoch)


def test_a_diverging_lane_leaves_and_touches_nobody(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    spec = make_spec(fuse=16, optimizer={"kind": "sgd"})
    rates = [1e30 if trial == 5 else 0.01 * (trial + 1) for trial in range(16)]
    lanes = lanes_of([{"optimizer.learning_rate": rate} for rate in rates])
    stacked = bench(spec, data=blobs)
    reports = advance(stacked, 3, lanes)
    assert (reports[5].ending, reports[5].epoch, reports[5].values) == ("diverged", 1, (None,))
    assert {reports[trial].ending for trial in reports if trial != 5} == {"until"}
    assert sorted(stacked.curve(5)) == [1]
    for trial in (0, 4, 6, 15):
        alone = bench(spec, data=blobs, store=tmp_path / f"alone{trial}")
        alone.advance(3, lanes[trial])
        assert losses(stacked, trial) == pytest.approx(losses(alone, trial), abs=1e-4)


def test_a_lane_out_of_patience_stays_as_it_is(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    spec = make_spec(fuse=3, budget={"trials": 3, "epochs": {"max": 6}})
    lanes = lanes_of([{"stopping.patience": patience, "stopping.min_delta": 2.0} for patience in (1, 3, None)])
    stacked = bench(spec, data=blobs)
    reports = advance(stacked, 6, lanes)
    assert [(report.ending, report.epoch) for report in reports.values()] == [
        ("patience", 2),
        ("patience", 4),
        ("until", 6),
    ]
    assert {saved.trial: saved.epoch for saved in stacked.saved} == {0: 2, 1: 4, 2: 6}
    alone = bench(spec, data=blobs, store=tmp_path / "alone")
    report = alone.advance(6, lanes[0])
    assert report.values[0] == pytest.approx(reports[0].values[0], abs=1e-6)


def test_a_lane_with_a_damaged_checkpoint_goes_on_from_an_earlier_one(
    bench: MakeBench, blobs: Path, tmp_path: Path
) -> None:
    spec = make_spec(fuse=4)
    lanes = lanes_of([{"optimizer.learning_rate": rate} for rate in (0.01, 0.02, 0.05)])
    whole = bench(spec, data=blobs, store=tmp_path / "whole")
    advance(whole, 4, lanes)
    before = bench(spec, data=blobs)
    for until in (1, 2):
        advance(before, until, lanes)
    (tmp_path / "store" / before.lane(lanes[1]).folder / "state.safetensors").write_bytes(b"")
    after = bench(spec, data=blobs, holder=2)
    after.events += before.saved
    reports = advance(after, 4, lanes)
    assert [(report.ending, report.epoch, report.width) for report in reports.values()] == [
        ("until", 4, 2),
        ("until", 4, 1),
        ("until", 4, 2),
    ]
    assert [sorted(after.curve(lane.trial)) for lane in lanes] == [[3, 4], [2, 3, 4], [3, 4]]
    for lane in lanes:
        assert losses(after, lane.trial)[-4:] == pytest.approx(losses(whole, lane.trial)[-4:], abs=1e-4)


def test_device_seconds_are_shared(bench: MakeBench, blobs: Path) -> None:
    stacked = bench(make_spec(fuse=4), data=blobs)
    began = time.monotonic()
    reports = advance(stacked, 4, lanes_of([{"optimizer.learning_rate": 0.01}] * 4))
    elapsed = time.monotonic() - began
    spent = [report.device_s for report in reports.values()]
    assert spent == pytest.approx([spent[0]] * 4)
    assert 0.5 * elapsed < sum(spent) <= elapsed


def test_the_best_width_is_measured_once_and_kept(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    lanes = lanes_of([{"optimizer.learning_rate": 0.01 * (trial + 1)} for trial in range(8)])
    first = bench(make_spec(budget={"trials": 8, "epochs": {"max": 9}}), data=blobs)
    advance(first, 9, lanes)
    (measured,) = [event for event in first.events if isinstance(event, Measured)]
    assert {1, 8} <= set(measured.rates) <= {1, 2, 4, 8}
    assert measured.width in measured.rates
    assert min(measured.rates.values()) > 0
    second = bench(make_spec(budget={"trials": 8, "epochs": {"max": 9}}), data=blobs)
    reports = advance(second, 9, [lane.model_copy(update={"trial": lane.trial + 10}) for lane in lanes])
    (again,) = [event for event in second.events if isinstance(event, Measured)]
    assert again.model_copy(update={"trial": measured.trial}) == measured
    assert {report.width for report in reports.values()} == {measured.width}


def test_without_fusing_no_stack_is_tried_however_many_trials_come_together(bench: MakeBench, blobs: Path) -> None:
    plain = bench(make_spec(fuse="off", budget={"trials": 4, "epochs": {"max": 9}}), data=blobs)
    reports = advance(plain, 9, lanes_of([{"optimizer.learning_rate": 0.01 * (trial + 1)} for trial in range(4)]))
    assert {report.width for report in reports.values()} == {1}
    assert not [event for event in plain.events if isinstance(event, Measured)]


ODD_TASKS = """
from torch import nn
from podium.training.metrics import Metric
from podium.training.tasks import Classification
import torch

class Peeking(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        outputs = self.inner(inputs)
        return outputs if outputs.sum().item() > 1e9 else outputs + 0

class Peeks(Classification):
    def network(self, parameters, schema):
        return Peeking(super().network(parameters, schema))

class Scaled(nn.Module):
    def __init__(self, inner, by):
        super().__init__()
        self.inner, self.by = inner, by

    def forward(self, inputs):
        return self.inner(inputs) * self.by

class Scales(Classification):
    def network(self, parameters, schema):
        return Scaled(super().network(parameters, schema), parameters["optimizer.learning_rate"])

class Shaken(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        return self.inner(inputs + torch.rand_like(inputs))

class Shakes(Classification):
    def network(self, parameters, schema):
        return Shaken(super().network(parameters, schema))

class Stubborn(Metric):
    def __init__(self):
        self.state = {"right": torch.zeros(()), "seen": torch.zeros(())}

    def update(self, outputs, batch):
        right = int((outputs.argmax(dim=1) == batch.targets).sum().item())
        self.state = {"right": self.state["right"] + right, "seen": self.state["seen"] + len(batch.targets)}

    def merge(self, other):
        self.state = {name: value + other.state[name] for name, value in self.state.items()}

    def compute(self):
        return float(self.state["right"] / self.state["seen"])

class Counts(Classification):
    def metrics(self):
        return {**super().metrics(), "stubborn": Stubborn()}

class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cells = kind(6, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.top = nn.Linear(10, 3)

    def forward(self, inputs):
        return self.top(self.cells(inputs[:, 0])[0][:, -1])

class Sequences(Classification):
    kind = nn.LSTM

    def network(self, parameters, schema):
        return Recurrent(self.kind)

class Gated(Sequences):
    kind = nn.GRU

class Simple(Sequences):
    kind = nn.RNN
"""


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks of users that are hard to stack, or not to be stacked at all."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "task.py").write_text(ODD_TASKS)
    return folder


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("Peeks", r"task.py:14, `return outputs if outputs.sum\(\).item\(\) > 1e9 else outputs \+ 0`: .*\.item\(\)"),
        ("Scales", "the networks differ in by, which is no tensor of theirs"),
        ("Shakes", r"task.py:\d+, `return self.inner\(inputs \+ torch.rand_like\(inputs\)\)`: .*random"),
    ],
)
def test_what_cannot_be_stacked_is_said_once_and_trained_plainly(
    bench: MakeBench, blobs: Path, odd: Path, task: str, reason: str
) -> None:
    trained = bench(make_spec(task=f"task.py:{task}", initializer={"scheme": "he_normal"}), data=blobs, code=odd)
    lanes = lanes_of([{"optimizer.learning_rate": rate} for rate in (0.01, 0.02, 0.05)])
    for until in (1, 2):
        reports = advance(trained, until, lanes)
        assert [(report.ending, report.width) for report in reports.values()] == [("until", 1)] * 3
    (measured,) = [event for event in trained.events if isinstance(event, Measured)]
    assert measured.width == 1
    assert re.search(reason, measured.reason), measured.reason


def test_metrics_that_cannot_be_stacked_are_gathered_lane_after_lane(bench: MakeBench, blobs: Path, odd: Path) -> None:
    spec = make_spec(task="task.py:Counts", fuse=3, initializer={"scheme": "he_normal"})
    trained = bench(spec, data=blobs, code=odd)
    reports = advance(trained, 2, lanes_of([{"optimizer.learning_rate": rate} for rate in (0.001, 0.02, 0.05)]))
    assert [report.width for report in reports.values()] == [3] * 3
    for trial in range(3):
        for metrics in trained.curve(trial).values():
            for split in ("train", "validation"):
                assert metrics[f"{split}/stubborn"] == pytest.approx(metrics[f"{split}/accuracy"])


@pytest.mark.parametrize("task", ["Sequences", "Gated", "Simple"])
def test_recurrent_cells_are_stacked(bench: MakeBench, blobs: Path, odd: Path, tmp_path: Path, task: str) -> None:
    spec = make_spec(task=f"task.py:{task}", fuse=3, initializer={"scheme": "orthogonal"})
    lanes = lanes_of([{"optimizer.learning_rate": rate} for rate in (0.001, 0.01, 0.02)])
    trained = bench(spec, data=blobs, code=odd)
    reports = advance(trained, 2, lanes)
    assert [report.width for report in reports.values()] == [3] * 3
    alone = bench(spec, data=blobs, code=odd, store=tmp_path / "alone")
    alone.advance(2, lanes[1])
    assert losses(trained, 1) == pytest.approx(losses(alone, 1), abs=1e-5)


@pytest.mark.parametrize("task", ["Classification", "Sequences", "Gated", "Simple"])
@pytest.mark.parametrize("network", [{"norm": "batch"}, {"kind": "convnet", "channels": 2}])
def test_all_of_a_stack_is_on_its_device(odd: Path, task: str, network: dict[str, Any]) -> None:
    # what is on the device `meta` has no values, and mixes with nothing on the CPU, as what is on a GPU
    device = torch.device("meta")
    spec = make_spec(task=f"task.py:{task}", network={"width": 4, "dropout": 0.5, **network})
    loaded, schema = load_task(spec, odd), Schema((1, 6, 6), "float32", (), "int64", 3, (), (), normalize=False)
    each = [
        {
            "optimizer.learning_rate": 0.01 * n,
            "optimizer.clip": float(n),
            "penalty.l1": 0.1 * n,
            "penalty.l2": 0.1 * n,
            "network.dropout": 0.1 * n,
            "loss.label_smoothing": 0.1 * n,
        }
        for n in (1, 2, 3)
    ]
    stack = Stack([LiveTrial(spec, loaded, schema, lane, device) for lane in lanes_of(each)])
    inputs, targets = torch.zeros((8, 1, 6, 6), device=device), torch.zeros(8, dtype=torch.int64, device=device)
    samples = Samples(inputs, targets, torch.arange(8, device=device))
    stack.begin_epoch(2, 2)
    stack.step(samples)
    stack.settle()
    stack.begin_validation()
    with torch.no_grad():
        stack.validate(samples, [])
    assert {tensor.device for live in stack.lives for tensor in live.tensors().values()} == {device}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_where_a_gpu_is_too_small_stacks_are_narrowed(bench: MakeBench, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    data = prepare_arrays(tmp_path, draws.normal(size=(64, 1, 64, 64)).astype(np.float32), np.arange(64) % 3)
    spec = make_spec(network={"kind": "convnet", "channels": 64, "depth": 3, "width": 4})
    lanes = lanes_of([{"optimizer.learning_rate": 1e-6 * (trial + 1)} for trial in range(16)])
    undisturbed, needed = {}, {}
    for width in (4, 16):
        undisturbed[width] = bench(spec.model_copy(update={"fuse": width}), data=data, store=tmp_path / f"{width}")
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        advance(undisturbed[width], 1, lanes)
        needed[width] = torch.cuda.max_memory_allocated()
        undisturbed[width].trainer.close()
    del undisturbed[16]
    torch.cuda.empty_cache()
    limit, memory = sum(needed.values()) / 2, torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(limit / memory)
    try:
        trained = bench(spec.model_copy(update={"fuse": 16}), data=data)
        reports = advance(trained, 1, lanes)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert {(report.ending, report.width <= 8) for report in reports.values()} == {("until", True)}
    assert [event.width for event in trained.events if isinstance(event, Measured)]
    for lane in lanes:
        assert losses(trained, lane.trial) == pytest.approx(losses(undisturbed[4], lane.trial), rel=0.02)


def test_where_memory_runs_out_stacks_are_halved_and_start_again(
    bench: MakeBench, blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(fuse=16, network={"width": 8, "dropout": 0.3, "norm": "batch"})
    lanes = lanes_of([{"optimizer.learning_rate": 0.002 * (trial + 1)} for trial in range(12)])
    expected = bench(spec.model_copy(update={"fuse": 4}), data=blobs, store=tmp_path / "undisturbed")
    advance(expected, 3, lanes)
    step, made = Stack.step, list[int]()

    def starved(stack: Stack, samples: Samples) -> None:
        made.append(len(stack.lives))
        if len(stack.lives) > 4 and len(made) % 10 == 0:
            raise torch.OutOfMemoryError("CUDA out of memory")
        step(stack, samples)

    monkeypatch.setattr(Stack, "step", starved)
    trained = bench(spec, data=blobs)
    reports = advance(trained, 3, lanes)
    assert {(report.ending, report.width) for report in reports.values()} == {("until", 4)}
    assert list(dict.fromkeys(made)) == [12, 6, 4]
    assert [event.width for event in trained.events if isinstance(event, Measured)] == [8, 4]
    for trial in range(12):
        assert trained.curve(trial) == expected.curve(trial)
    made.clear()
    again = [lane.model_copy(update={"trial": lane.trial + 100}) for lane in lanes]
    assert {report.width for report in advance(trained, 1, again).values()} == {4}, "the limit is remembered"


@pytest.mark.parametrize(("kind", "count"), [(Stack, 3), (Plain, 1)])
def test_trials_that_are_kept_in_memory_make_room_before_stacks_are_narrowed(
    bench: MakeBench, blobs: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Stack | Plain], count: int
) -> None:
    lanes = lanes_of([{"optimizer.learning_rate": 0.01}] * 5)
    trained = bench(make_spec(fuse=4), data=blobs)
    advance(trained, 1, lanes[3:])
    step, failures, batches = kind.step, [torch.OutOfMemoryError("CUDA out of memory")], list[float]()

    def starved(group: Any, samples: Samples) -> None:
        if failures:
            raise failures.pop()
        step(group, samples)

    def awaited(loop: Loop, coming: Iterable[Batch]) -> Iterator[Batch]:
        for batch in coming:
            batches.append(1.0)
            loop.data_s += 1.0
            yield batch

    monkeypatch.setattr(kind, "step", starved)
    monkeypatch.setattr(Loop, "_awaited", awaited)
    reports = advance(trained, 1, lanes[:count])
    assert trained.trainer.pauses.data_s == sum(batches), "what the attempt that failed waited for counts, too"
    assert {(report.ending, report.width) for report in reports.values()} == {("until", count)}
    assert not [event for event in trained.events if isinstance(event, Measured)]


def test_what_needs_more_than_all_memory_fails(bench: MakeBench, blobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def starved(group: Plain, samples: Samples) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Plain, "step", starved)
    with pytest.raises(torch.OutOfMemoryError):
        bench(make_spec(fuse=4), data=blobs).advance(1)

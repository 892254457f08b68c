"""Diagnosis: what is measured is right, alike in stacks and alone, and leaves the training as it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from training_bench import DOUBLE, Bench, make_spec

from podium.data.reader import Reader
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane
from podium.training.diagnosis import first_samples, moments
from podium.training.live import LiveTrial
from podium.training.plain import Plain
from podium.training.trainer import load_task
from podium.training.verdict import Moment, from_plain

MakeBench = Callable[..., Bench]
NETWORK = {"depth": 2, "width": 8, "norm": "batch", "dropout": 0.3}


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """The code of classification in float64."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "task.py").write_text(DOUBLE)
    return tmp_path / "code"


def made(spec: SweepSpec, data: Path, code: Path | None = None) -> LiveTrial:
    task: Any = load_task(spec, code)
    lane = Lane(trial=0, parameters={}, seed=3)
    return LiveTrial(spec, task, Reader(data).schema, lane, torch.device("cpu"))


def inspected(spec: SweepSpec, live: LiveTrial, data: Path) -> Moment:
    (moment,) = Plain(live).inspect(first_samples(Reader(data), spec, live)).moments(0)
    return moment


def kept(bench: Bench, trial: int = 0) -> list[Moment]:
    """What was left among the trial's artifacts."""
    store = Path(bench.trainer._storage.store)  # type: ignore[attr-defined]
    return from_plain(json.loads((store / "artifacts" / "toy" / f"{trial:05d}" / "diagnosis.json").read_text()))


def trained(bench: Bench, until: int = 4) -> Bench:
    lanes = tuple(
        Lane(trial=number, parameters={"optimizer.learning_rate": rate}, seed=number)
        for number, rate in enumerate((1e-3, 1e-2))
    )
    bench.trainer.advance(Advance(key="key", gang="gang", until=until, lanes=lanes))
    return bench


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        ({"max": 9}, {0, 1, 3, 9}),
        ({"max": 4}, {0, 1, 3, 4}),
        ({"min": 27, "max": 81}, {0, 1, 3, 9, 27, 81}),
        ({"max": 1}, {0, 1}),
    ],
)
def test_the_moments_are_the_rungs_and_some_before_the_first(epochs: dict[str, int], expected: set[int]) -> None:
    assert moments(make_spec(budget={"trials": 1, "epochs": epochs})) == expected


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
def test_what_is_measured_is_what_torch_computes(activation: str, blobs: Path) -> None:
    spec = make_spec(network={"depth": 1, "width": 8, "activation": activation})
    live = made(spec, blobs)
    _, first, act, _, last = live.network
    with torch.no_grad():
        first.bias.copy_(torch.tensor([-100.0, 100, 0, 0, 0, 0, 0, 0]))  # type: ignore[union-attr]
    moment = inspected(spec, live, blobs)

    samples = first_samples(Reader(blobs), spec, live)
    assert len(samples.positions) == 16, "no more than a batch"
    hidden = act(first(samples.inputs.flatten(1)))
    loss = torch.nn.functional.cross_entropy(last(hidden), samples.targets)
    gradients = torch.autograd.grad(loss, [first.weight, last.weight])
    assert moment.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    assert [layer.name for layer in moment.layers] == ["1", "4"]
    one, two = moment.layers
    for layer, module, gradient in ((one, first, gradients[0]), (two, last, gradients[1])):
        assert layer.gradient == pytest.approx(float(gradient.norm()), rel=1e-5)
        assert layer.weight == pytest.approx(float(module.weight.detach().norm()), rel=1e-5)
        assert layer.update == 0, "no step was made"
    assert one.activation == pytest.approx(float(hidden.detach().square().mean().sqrt()), rel=1e-5)
    assert two.activation == pytest.approx(float(last(hidden).detach().square().mean().sqrt()), rel=1e-5)
    assert (two.dead, two.saturated) == (None, None)
    if activation == "relu":
        assert one.dead == pytest.approx(float((hidden == 0).all(dim=0).float().mean()))
        assert one.dead >= 1 / 8
        assert one.saturated is None
    else:
        near = (hidden < 0.01) | (hidden > 0.99)
        assert (one.dead, one.saturated) == (None, pytest.approx(float(near.float().mean())))
        assert one.saturated >= 2 / 8


def test_dead_channels_of_images_are_counted(blobs: Path) -> None:
    spec = make_spec(network={"kind": "convnet", "depth": 1, "channels": 4, "kernel": 3, "width": 8})
    live = made(spec, blobs)
    first = next(module for module in live.network.modules() if isinstance(module, torch.nn.Conv2d))
    assert first.bias is not None
    with torch.no_grad():
        first.bias.copy_(torch.tensor([-100.0, 100.0, 100.0, 100.0]))
    assert inspected(spec, live, blobs).layers[0].dead == 1 / 4


def test_a_measurement_leaves_nothing_behind(blobs: Path) -> None:
    spec = make_spec(network=NETWORK)
    live = made(spec, blobs)
    live.network.train()
    live.flat.gradients.fill_(0.5)
    before = {name: value.clone() for name, value in live.tensors().items()}
    chance, modes = torch.get_rng_state(), [module.training for module in live.network.modules()]
    assert inspected(spec, live, blobs) == inspected(spec, live, blobs)
    for name, value in live.tensors().items():
        assert torch.equal(value, before[name]), name
    assert bool((live.flat.gradients == 0.5).all())
    assert torch.equal(torch.get_rng_state(), chance)
    assert [module.training for module in live.network.modules()] == modes
    assert not any(module._forward_hooks for module in live.network.modules())


@pytest.mark.parametrize("fuse", [1, 2])
def test_training_is_the_same_without_it(fuse: int, bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    spec = {"network": NETWORK, "fuse": fuse, "penalty": {"l2": 1e-3}}
    one = trained(bench(make_spec(**spec), data=blobs))
    other = trained(bench(make_spec(**spec, tracking={"diagnosis": False}), data=blobs, store=tmp_path / "other"))
    for trial in (0, 1):
        with_it, without = one.curve(trial), other.curve(trial)
        shared = {
            epoch: {name: value for name, value in metrics.items() if not name.startswith("diagnosis/")}
            for epoch, metrics in with_it.items()
        }
        assert shared == without, "to the last bit"
        assert {epoch for epoch, metrics in with_it.items() if "diagnosis/gradient_ratio" in metrics} == {1, 3, 4}
    assert not (tmp_path / "other" / "artifacts").exists()


@pytest.mark.parametrize(
    "network",
    [
        NETWORK,
        {"kind": "convnet", "depth": 1, "channels": 2, "kernel": 3, "width": 6, "activation": "tanh"},
        {"kind": "resnet", "depth": 1, "stages": 1, "channels": 2, "kernel": 3, "norm": "batch"},
    ],
)
def test_a_stack_measures_what_each_lane_would_alone(
    network: dict[str, Any], bench: MakeBench, blobs: Path, double: Path, tmp_path: Path
) -> None:
    spec = {"task": "task.py:Double", "network": network}
    alone = trained(bench(make_spec(**spec, fuse=1), data=blobs, code=double), until=1)
    stacked = trained(bench(make_spec(**spec, fuse=2), data=blobs, code=double, store=tmp_path / "stacked"), until=1)
    for trial in (0, 1):
        mine, theirs = kept(alone, trial), kept(stacked, trial)
        assert [moment.epoch for moment in mine] == [0, 1]
        for one, other in zip(mine, theirs, strict=True):
            assert one.loss == pytest.approx(other.loss, abs=1e-9)
            assert [layer.name for layer in one.layers] == [layer.name for layer in other.layers]
            for a, b in zip(one.layers, other.layers, strict=True):
                for name in ("gradient", "weight", "update", "activation", "dead", "saturated"):
                    assert getattr(a, name) == pytest.approx(getattr(b, name), abs=1e-9), (one.epoch, a.name, name)
                assert a.update
                assert a.update > 0


def test_the_update_is_what_the_step_changed(bench: MakeBench, blobs: Path) -> None:
    spec = make_spec(
        optimizer={"kind": "sgd", "learning_rate": 0.25}, data={**make_spec().model_dump()["data"], "batch_size": 150}
    )
    alone = bench(spec, data=blobs)
    alone.advance(1)
    (moment,) = kept(alone)
    assert moment.epoch == 0, "the only step of the first epoch is the very first one"
    # the batch has all samples, of which 64 are measured: close, and no more
    for layer in moment.layers:
        assert layer.gradient
        assert layer.update == pytest.approx(0.25 * layer.gradient, rel=0.5)


def test_a_trial_that_was_interrupted_has_measured_the_same(bench: MakeBench, blobs: Path, tmp_path: Path) -> None:
    lane = Lane(trial=0, parameters={}, seed=7)
    through = bench(make_spec(), data=blobs)
    through.advance(4, lane)
    first = bench(make_spec(), data=blobs, store=tmp_path / "broken")
    first.advance(4, lane, halt_after=3)
    second = bench(make_spec(), data=blobs, store=tmp_path / "broken")
    second.advance(4, first.lane(lane))
    assert kept(second) == kept(through)
    assert [moment.epoch for moment in kept(through)] == [0, 1, 3, 4]


def test_what_is_measured_of_classes_knows_what_chance_is(bench: MakeBench, blobs: Path) -> None:
    alone = bench(make_spec(), data=blobs)
    alone.advance(1)
    first, second = kept(alone)
    assert first.chance == pytest.approx(1.0986, abs=0.05), "three equal classes"
    assert second.chance is None


def test_a_network_that_cannot_be_measured_is_trained_all_the_same(
    bench: MakeBench, blobs: Path, double: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (double / "task.py").write_text(
        "from torch import nn\n"
        "from podium.training.tasks import Classification\n\n\n"
        "class Shy(nn.Sequential):\n"
        "    def forward(self, inputs):\n"
        "        if self[1]._forward_hooks:\n"
        "            raise RuntimeError('somebody is watching')\n"
        "        return super().forward(inputs)\n\n\n"
        "class Task(Classification):\n"
        "    def network(self, parameters, schema):\n"
        "        return Shy(*super().network(parameters, schema))\n"
    )
    report = bench(make_spec(task="task.py:Task"), data=blobs, code=double).advance(2)
    assert (report.ending, report.epoch) == ("until", 2)
    assert "not measured: RuntimeError: somebody is watching" in capsys.readouterr().err
    assert report.verdict == ""

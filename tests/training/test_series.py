"""Training on series of different lengths: the same curves alone, in a stack and in parts of a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_bench import Bench, make_spec

from podium.data.prepare import prepare
from podium.errors import SpecError
from podium.sweep.messages import Advance, Lane, Report
from podium.training.preflight import measure

CODE = """
import numpy as np
import torch
from torch import nn
from podium.training.tasks import Classification

def series():
    source = np.random.default_rng(0)
    for number in range(150):
        steps = source.normal(size=(source.integers(2, 15), 2)) + (number % 2)
        yield steps, number % 2

class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.GRU(2, 6, batch_first=True).double(), nn.Linear(6, 2).double()

    def forward(self, inputs):
        return self.head(self.cell(inputs.double())[0])

class Series(Classification):
    def network(self, parameters, schema):
        assert schema.series and schema.inputs[1] == 2
        return Last()

    def losses(self, outputs, batch):
        return super().losses(last(outputs, batch), batch)

    def metrics(self):
        return {}

def last(outputs, batch):
    places = (batch.lengths - 1).view(-1, 1, 1).expand(-1, 1, outputs.shape[-1])
    return outputs.gather(1, places).squeeze(1)
"""
CODE += """
class Taker(Last):
    takes_lengths = True

    def forward(self, inputs, lengths):
        places = (lengths - 1).view(-1, 1, 1).expand(-1, 1, 6)
        return self.head(self.cell(inputs.double())[0].gather(1, places).squeeze(1))

class Taking(Classification):
    def network(self, parameters, schema):
        return Taker()

    def metrics(self):
        return {}
"""
DATA: dict[str, Any] = {"source": "task.py:series", "series": True, "batch_size": 16}
LANES = tuple(Lane(trial=n, parameters={"optimizer.learning_rate": 0.02 * (n + 1)}, seed=n) for n in range(2))


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    (folder / "task.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def shards(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    spec = spec_of()
    assert spec.data is not None
    return prepare(spec.data, base=code, store=str(folder), cache=folder / "cache")


def spec_of(**settings: Any) -> Any:
    objective = {"metric": "validation/loss", "direction": "minimize"}
    return make_spec(
        **{"task": "task.py:Series", "data": DATA, "network": {}, "search": {"objective": objective}, **settings}
    )


def trained(spec: Any, shards: Path, code: Path, store: Path) -> tuple[Bench, dict[int, Report]]:
    bench = Bench(spec, store, data=shards, code=code, holder=1)
    reports = bench.trainer.advance(Advance(key="key", gang="gang", until=4, lanes=LANES))
    return bench, {report.trial: report for report in reports}


@pytest.mark.parametrize("settings", [{"fuse": 2}, {"fuse": "off", "compute": {"microbatch": 5}}])
def test_curves_are_the_same(settings: dict[str, Any], shards: Path, code: Path, tmp_path: Path) -> None:
    same = {"tracking": {"diagnosis": False}}  # it is of what goes through the network at once
    alone, _ = trained(spec_of(**same, fuse="off"), shards, code, tmp_path / "alone")
    other, reports = trained(spec_of(**same, **settings), shards, code, tmp_path / "other")
    assert {report.width for report in reports.values()} == {2 if settings["fuse"] == 2 else 1}
    for trial in (0, 1):
        curve = alone.curve(trial)
        assert curve[4]["validation/loss"] < 0.8 * curve[1]["validation/loss"]
        for epoch, metrics in curve.items():
            assert other.curve(trial)[epoch] == pytest.approx(metrics, abs=1e-9)


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_networks_that_take_samples_of_one_shape_refuse_series(kind: str, shards: Path) -> None:
    with pytest.raises(
        SpecError, match=rf"^(data\.series: is on, and `network\.kind: {kind}`|network\.kind: a convnet)"
    ):
        measure(spec_of(task="classification"), code=None, data=shards, parameters={"network.kind": kind})


def test_a_network_that_takes_lengths_is_given_them(shards: Path, code: Path, tmp_path: Path) -> None:
    whole, _ = trained(spec_of(fuse="off"), shards, code, tmp_path / "whole")
    for settings in ({"fuse": 2}, {"fuse": "off"}):
        spec = spec_of(task="task.py:Taking", **settings)
        measured = measure(spec, code=code, data=shards, parameters={}, mate={})
        assert measured.obstacle == ""
        taking, reports = trained(spec, shards, code, tmp_path / f"taking-{settings['fuse']}")
        assert {report.width for report in reports.values()} == {2 if settings["fuse"] == 2 else 1}
        for trial in (0, 1):
            for epoch, metrics in whole.curve(trial).items():
                assert taking.curve(trial)[epoch] == pytest.approx(metrics, abs=1e-9)


def test_a_batch_is_as_long_as_its_longest_series(shards: Path) -> None:
    from podium.data.reader import Reader

    widths = {batch.inputs.shape[1] for batch in Reader(shards).epoch("train", batch_size=4, seed=0, epoch=0)}
    assert len(widths) > 3
    assert np.max(list(widths)) <= 14

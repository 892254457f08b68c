"""Presets: settings that a launch puts in the place of the file's own by one word."""

from pathlib import Path

import pytest

import podium
from podium.errors import SpecError
from podium.spec.files import read_sweep
from podium.spec.schema import json_schema

SWEEP = """\
sweep: small
task: classification
data: {source: digits, batch_size: 32}
search:
  objective: {metric: validation/accuracy, direction: maximize}
  space:
    optimizer.learning_rate: {log: [1e-4, 1.0]}
budget: {trials: 4, epochs: {max: 3}}
presets:
  full:
    sweep: large
    budget.trials: 100
    budget.epochs: {min: 1, max: 27}
    search.space.optimizer.learning_rate: {log: [1e-5, 1.0]}
    search.space.network.depth: {int: [1, 9]}
  broken:
    budget.trials: none
"""


BROKEN = "    budget.trials: none"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    return path


def test_a_preset_stands_in_the_place_of_the_settings_it_names(path: Path) -> None:
    small, full = read_sweep(path).spec, read_sweep(path, ["preset=full"]).spec
    assert (small.sweep, small.budget.trials, small.budget.epochs.max) == ("small", 4, 3)
    assert (full.sweep, full.budget.trials, full.budget.epochs.max) == ("large", 100, 27)
    assert set(full.search.space) == {"optimizer.learning_rate", "network.depth"}
    assert full.search.space["optimizer.learning_rate"].domain().low == 1e-5
    assert full.data == small.data


def test_other_overrides_come_after_the_preset(path: Path) -> None:
    spec = read_sweep(path, ["budget.epochs.max=9", "preset=full", "budget.trials=7"]).spec
    assert (spec.budget.trials, spec.budget.epochs.max) == (7, 9)
    assert spec.presets == read_sweep(path).spec.presets


def test_a_preset_is_given_from_python_too(path: Path) -> None:
    assert podium.load_sweep(path, {"preset": "full"}).spec.budget.trials == 100


def test_an_unknown_preset_is_told_with_those_there_are(path: Path) -> None:
    with pytest.raises(SpecError, match=r"'ful' is no preset of this sweep; did you mean 'full'.*broken, full"):
        read_sweep(path, ["preset=ful"])
    path.write_text(SWEEP.partition("presets:")[0])
    with pytest.raises(SpecError, match="'full' is no preset of this sweep; allowed: none"):
        read_sweep(path, ["preset=full"])


def test_a_mistake_in_a_preset_is_told_with_its_line(path: Path) -> None:
    with pytest.raises(SpecError, match="must be a whole number, and is 'none'") as caught:
        read_sweep(path, ["preset=broken"])
    assert (caught.value.key, caught.value.line) == ("budget.trials", 1 + SWEEP.splitlines().index(BROKEN))


@pytest.mark.parametrize("presets", ["presets: full", "presets: {full: 3}"])
def test_presets_are_sections(path: Path, presets: str) -> None:
    path.write_text(SWEEP.partition("presets:")[0] + presets)
    with pytest.raises(SpecError, match="section of keys"):
        read_sweep(path)
    with pytest.raises(SpecError):
        read_sweep(path, ["preset=full"])


def test_the_schema_knows_presets() -> None:
    assert "preset=NAME" in json_schema()["properties"]["presets"]["description"]

"""What is known of a sweep before it starts."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from wiring_cases import BLOBS, QUICK, podium_here, write_blobs

from podium.console import Silent
from podium.errors import CapacityError, UserError
from podium.spec.files import parse_sweep, read_sweep
from podium.spec.space import Value, fusible_because
from podium.spec.sweep import SweepSpec
from podium.store import write
from podium.sweep.placement import Node
from podium.wiring import preflight
from podium.wiring.place import Place


def spec(space: Mapping[str, Any]) -> SweepSpec:
    tree = json.loads(json.dumps(YAML(typ="safe").load(BLOBS)))
    tree["search"]["space"] = dict(space)
    return parse_sweep(tree)


def structural(space: Mapping[str, Any]) -> list[dict[str, Value]]:
    """The structures of a space; each point must be one of the space's."""
    settings = spec(space)
    points = list(preflight.structures(settings))
    assert all(settings.space().contains(point) for point in points)
    return [{key: value for key, value in point.items() if fusible_because(key) is None} for point in points]


def test_a_space_without_structure_has_one() -> None:
    assert structural({"optimizer.learning_rate": {"log": [1e-3, 1e-1]}, "network.dropout": {"float": [0, 0.5]}}) == [
        {}
    ]


def test_a_small_space_is_covered_whole() -> None:
    space = {"network.depth": {"int": [1, 3]}, "network.width": {"choice": [8, 16]}, "penalty.l1": {"float": [0, 1]}}
    assert structural(space) == [{"network.depth": d, "network.width": w} for d in (1, 2, 3) for w in (8, 16)]


def test_a_conditional_parameter_counts_only_where_it_is_active() -> None:
    space = {
        "network.kind": {"choice": ["mlp", "convnet"]},
        "network.kernel": {"choice": [3, 5], "when": {"network.kind": "convnet"}},
    }
    assert structural(space) == [
        {"network.kind": "mlp"},
        {"network.kind": "convnet", "network.kernel": 3},
        {"network.kind": "convnet", "network.kernel": 5},
    ]


@pytest.mark.parametrize(("high", "count"), [(64, 64), (65, 64), (10**9, 64)])
def test_a_large_space_is_tried_at_its_corners_and_some_points(high: int, count: int) -> None:
    space = {"network.width": {"int": [1, high]}}
    tried = [point["network.width"] for point in structural(space)]
    assert len(tried) == count
    assert {1, high} <= set(tried)
    assert structural(space) == structural(space)


def test_a_continuous_structure_is_tried_at_both_ends() -> None:
    space = {"augmentation.noise": {"float": [0.25, 0.75]}, "network.depth": {"int": [1, 3]}}
    tree = json.loads(json.dumps(YAML(typ="safe").load(QUICK)))
    tree["search"]["space"] = space
    points = list(preflight.structures(parse_sweep(tree)))
    assert points[0] == {"augmentation.noise": 0.25, "network.depth": 1}
    assert points[1] == {"augmentation.noise": 0.75, "network.depth": 3}
    assert len(points) == 64


def test_time_is_at_most_that_of_the_slowest_structure_with_the_threads_of_a_trial(tmp_path: Path) -> None:
    write_blobs(tmp_path)
    file = read_sweep(tmp_path / "sweep.yaml")
    place = Place.of(tmp_path / "home", cluster="inline")
    report = preflight.check(file, place, Silent())
    (only,) = report["structures"]
    assert only["point"] == {}
    assert only["epoch_s"] > 0
    assert report["most_s"] == pytest.approx(4 * 3 * only["epoch_s"], abs=0.1)
    assert torch.get_num_threads() == file.spec.resources.cpus


def checked(folder: Path) -> str:
    """What `podium check` finds, in words."""
    return preflight.to_text(
        preflight.check(read_sweep(folder / "sweep.yaml"), Place.of(folder / ".podium", cluster="inline"), Silent())
    )


def test_the_text_says_all_that_was_found(tmp_path: Path) -> None:
    lines = checked(write_blobs(tmp_path)).splitlines()
    assert lines[0] == "blobs can be launched: task classification, 1 gang(s) at a time"
    assert "  optimizer.learning_rate  fusible     a number the optimizer multiplies by" in lines
    assert any(line.startswith("1 structure(s) tried: 131 to 131 weights, ") for line in lines)
    assert lines[-1].startswith("The sweep trains for at most about ")


def test_a_function_without_checkpoints_is_told_what_follows(quick: Path) -> None:
    assert "saves no checkpoint" not in checked(quick)
    (quick / "train.py").write_text("def train(trial):\n    trial.report(1, {'score': 0.5})\n")
    outcome = podium_here(quick, "check", "sweep.yaml", "--cluster", "inline")
    assert outcome.code == 0
    assert "The function saves no checkpoint" in outcome.output


def test_a_sweep_larger_than_the_machine_is_refused_with_what_there_is(quick: Path) -> None:
    place = Place.of(quick / "home", cluster="local")
    wanted = {"resources.gpus=64": "64 GPU", "resources.cpus=100000": "100000 CPU"}
    for override, said in wanted.items():
        with pytest.raises(CapacityError, match=said) as refusal:
            preflight.check(read_sweep(quick / "sweep.yaml", [override]), place, Silent())
        assert f"this machine has {os.cpu_count()} CPUs" in str(refusal.value)
        assert "Lower `resources`" in str(refusal.value)


@pytest.mark.parametrize("hosts", [[], [Node("head", cpus=0)]])
def test_a_cluster_that_can_grow_is_not_too_small(
    hosts: list[Node], quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, place = read_sweep(quick / "sweep.yaml"), Place.of(home=quick / "home", cluster="auto")
    monkeypatch.setattr(preflight, "_join", lambda place: (hosts, True))
    assert preflight.check(file, place, Silent())["gangs"] == 1
    monkeypatch.setattr(preflight, "_join", lambda place: (hosts, False))
    with pytest.raises(CapacityError, match="the cluster offers less"):
        preflight.check(file, place, Silent())


def test_nothing_is_tried_where_nothing_can_be_written(quick: Path) -> None:
    (quick / "home").write_text("")
    with pytest.raises(UserError, match="--home"):
        preflight.check(read_sweep(quick / "sweep.yaml"), Place.of(quick / "home", cluster="inline"), Silent())


@pytest.mark.ray
@pytest.mark.usefixtures("running_ray")
def test_a_host_that_does_not_see_the_store_is_found(tmp_path: Path) -> None:
    from podium.execution.connection import ray
    from podium.execution.sharing import nodes_that_misread, require_shared

    store, nodes = str(tmp_path / "store"), ray.nodes()  # type: ignore[no-untyped-call]
    assert nodes_that_misread(store, "probe", b"hello", nodes) == nodes
    write(store, "probe", b"something else")
    assert nodes_that_misread(store, "probe", b"hello", nodes) == nodes
    write(store, "probe", b"hello")
    assert nodes_that_misread(store, "probe", b"hello", nodes) == []
    require_shared(store)
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["probe"]

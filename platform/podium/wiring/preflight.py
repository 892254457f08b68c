"""Preflight: a sweep is tried out before anything is written or started."""

import itertools
import os
import random
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from podium.errors import CapacityError
from podium.spec.advice import warnings
from podium.spec.files import SweepFile
from podium.spec.space import Domain, Float, Parameter, Space, Value, fusible_because
from podium.spec.sweep import SweepSpec
from podium.sweep.placement import Node, count_gangs
from podium.wiring.launch import Watcher, prepare_data
from podium.wiring.place import Place

MOST_STRUCTURES = 64


def try_out(spec: SweepSpec, code_folder: Path | None, data: Path | None) -> None:
    """Loads the task and pushes one batch through the network of one point.

    Raises:
        UserError: for a task, an objective or a network that cannot work.
    """
    from podium.training.trainer import is_task, load_task

    if is_task(load_task(spec, code_folder)):
        from podium.training.preflight import measure

        measure(spec, code=code_folder, data=data, parameters=next(structures(spec)))


def check(file: SweepFile, place: Place, watcher: Watcher) -> dict[str, Any]:
    """Tries every structure of the space up to 64, beyond that the corners and a seeded choice; says what it found.

    Raises:
        UserError: for the first thing that would not work.
    """
    from podium.training.trainer import is_task, load_task

    spec = file.spec
    for text in warnings(spec):
        watcher.warn(text)
    report: dict[str, Any] = {"sweep": spec.sweep, "task": spec.task}
    place.require_writable()
    report["gangs"] = _gangs(spec, place)
    data = prepare_data(spec, file.folder, place, watcher)
    code_folder = file.folder if spec.has_code else None
    task = load_task(spec, code_folder)
    report["parameters"] = _parameters(spec, is_task=is_task(task))
    if is_task(task):
        report |= _try_all(spec, code_folder, data, report["gangs"], watcher)
    else:
        from podium.training.function import saves_checkpoints

        report["saves_checkpoints"] = saves_checkpoints(task)
    return report


def structures(spec: SweepSpec) -> Iterator[dict[str, Value]]:
    """Whole points that cover the structures of the space; fusible parameters stay at their first value."""
    space = spec.space()
    structural = space.only(lambda name: fusible_because(name) is None)
    try:
        points = list(itertools.islice(structural.grid(), MOST_STRUCTURES + 1))
    except ValueError:
        points = []
    if not 0 < len(points) <= MOST_STRUCTURES:
        points = list(_drawn(structural, spec.search.seed))
    for point in points:
        yield _completed(space, point, end=0)


def first_point(spec: SweepSpec) -> dict[str, Value]:
    """A whole point: what the file says above its space, and else the lower ends or first choices of the domains."""
    return _completed(spec.space(), spec.given(), end=0)


def _completed(space: Space, point: dict[str, Value], end: int) -> dict[str, Value]:
    """A whole point, what `point` leaves open at one end of its domain."""
    return space.walk(lambda parameter: point.get(parameter.name, _ends(parameter.domain)[end]))


def _structural(point: dict[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in point.items() if fusible_because(name) is None}


def to_text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = [f"{report['sweep']} can be launched: task {report['task']}, {report['gangs']} gang(s) at a time", ""]
    width = max((len(entry["name"]) for entry in report["parameters"]), default=0)
    lines += [f"  {entry['name']:<{width}}  {entry['kind']:<10}  {entry['because']}" for entry in report["parameters"]]
    if "saves_checkpoints" in report and not report["saves_checkpoints"]:
        lines += ["", "The function saves no checkpoint: it cannot be paused, and runs under asha_stop instead of asha"]
    if "structures" in report:
        sizes = [entry["parameters_count"] for entry in report["structures"]]
        epochs = [entry["epoch_s"] for entry in report["structures"]]
        memory = max(entry["memory_bytes"] for entry in report["structures"])
        lines += [
            "",
            f"{len(sizes)} structure(s) tried: {min(sizes):,} to {max(sizes):,} weights, {min(epochs):.2g} to "
            f"{max(epochs):.2g} s an epoch, at most {memory / 1e6:,.0f} MB",
            _stacks(report),
            f"The sweep trains for at most about {report['most_s']:,.0f} s: every trial to its last epoch, at the "
            "slowest structure's speed; validation comes on top",
        ]
    return "\n".join(lines)


def _stacks(report: dict[str, Any]) -> str:
    if report["fuse"] == "off":
        return "Trials are trained one by one, as `fuse: off` says"
    obstacles = sorted({entry["obstacle"] for entry in report["structures"]} - {""})
    if not obstacles:
        return "Trials that differ in fusible parameters alone are trained as stacks, as wide as is measured to be best"
    which = "Trials" if all(entry["obstacle"] for entry in report["structures"]) else "Trials of some structures"
    return f"{which} are trained one by one, since they cannot be stacked: {'; '.join(obstacles)}"


def _try_all(
    spec: SweepSpec, code_folder: Path | None, data: Path | None, gangs: int, watcher: Watcher
) -> dict[str, Any]:
    from podium.training.preflight import measure

    points = list(structures(spec))
    watcher.stage(f"Trying {len(points)} structure(s)")
    mates = [_completed(spec.space(), _structural(point), end=1) for point in points]
    measured = [
        measure(spec, code=code_folder, data=data, parameters=point, mate=mate)
        for point, mate in zip(points, mates, strict=True)
    ]
    slowest_s = max(each.epoch_s for each in measured)
    return {
        "structures": [
            {"point": _structural(point), **asdict(each)} for point, each in zip(points, measured, strict=True)
        ],
        "fuse": spec.fuse,
        "most_s": round(spec.budget.trials * spec.budget.epochs.max * slowest_s / gangs, 1),
    }


def _parameters(spec: SweepSpec, *, is_task: bool) -> list[dict[str, str]]:
    """Each searched key, whether it is fusible, and why. Where a function owns the loop, nothing is."""
    entries = []
    for name in spec.space().names:
        why = fusible_because(name) if is_task else None
        otherwise = "changes shapes, the graph or the batch" if is_task else "a training function owns its loop"
        entries.append({"name": name, "kind": "fusible" if why else "structural", "because": why or otherwise})
    return entries


def _gangs(spec: SweepSpec, place: Place) -> int:
    """How many gangs fit at a time, on this machine or on the cluster at an address; one that can grow has one."""
    if place.cluster == "inline":
        return 1
    here = place.cluster == "local"
    accelerator = _accelerator_here() if here and spec.resources.accelerators else ""
    nodes, may_grow = _join(place) if not here else ([_machine(accelerator)], False)
    try:
        return min(spec.budget.trials, count_gangs(nodes, spec.resources))
    except CapacityError:
        if not may_grow:
            raise
        return 1


def _machine(accelerator: str) -> Node:
    return Node("this machine", os.cpu_count() or 1, _count_gpus(), accelerator)


def _join(place: Place) -> tuple[list[Node], bool]:
    """The hosts of a cluster, and whether an autoscaler may add more."""
    from podium.execution.connection import connected, may_add_hosts
    from podium.execution.sharing import require_shared

    with connected(place.cluster) as nodes:
        require_shared(place.store)
        return nodes, may_add_hosts()


def _accelerator_here() -> str:
    from podium.execution.connection import accelerator_here

    return accelerator_here()


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _drawn(space: Space, seed: int) -> Iterator[dict[str, Value]]:
    """The two corners and seeded points, 64 in all."""
    yield space.walk(lambda parameter: _ends(parameter.domain)[0])
    yield space.walk(lambda parameter: _ends(parameter.domain)[1])
    source = random.Random(seed)  # noqa: S311 - a choice of structures to try, no secret

    def draw(parameter: Parameter) -> Value:
        values, (low, high) = parameter.domain.values(), _ends(parameter.domain)
        return source.uniform(low, high) if values is None else source.choice(values)  # type: ignore[arg-type]

    for _ in range(MOST_STRUCTURES - 2):
        yield space.walk(draw)


def _ends(domain: Domain) -> tuple[Value, Value]:
    values = domain.values()
    if values is not None:
        return values[0], values[-1]
    assert isinstance(domain, Float)
    return domain.low, domain.high

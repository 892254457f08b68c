"""The verdict on a sweep that has ended: nothing lost, nothing doubled (laws 1, 2 and 7), read from what it left."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
from mlflow.entities import Run

from podium.ledger import Row, audit
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.machine import Machine, SweepState, replay
from podium.sweep.messages import Advance, Advanced, GangReady, Lane, Launched, Progress, Saved
from podium.sweep.trial import Trial
from podium.testing.invariants import assert_endings_kept, assert_invariants, assert_same
from podium.tracking.client import connect
from podium.wiring.place import Place

TRIAL_STATUS = {
    "complete": "FINISHED",
    "stopped": "KILLED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
"""DESIGN.md, "States and endings": how MLflow shows each ending."""

SWEEP_STATUS = {"finished": "FINISHED", "exhausted": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}

GONE_S = 10.0
"""How long workers may take to end after their driver has."""


def assert_nothing_lost(place: Place, sweep: str) -> Machine:
    """Checks a sweep that has ended, by its ledger, its MLflow runs and the processes of this machine.

    Args:
        place: Where it lives; its `tracking_uri` must answer.
        sweep: Its name.

    Returns:
        The sweep as its ledger has it.

    Raises:
        AssertionError: naming what does not hold.
    """
    book = place.book()
    try:
        assert audit(book, sweep) == [], "the ledger is not as it was written"
        assert book.holder(sweep) is None, "the lease is still held"
        rows, facts = list(book.rows(sweep)), book.facts(sweep).all()
    finally:
        book.close()
    machine = replayed_in_steps(rows)
    assert_same(machine, replay(row.event for row in rows))
    assert machine.is_ended, f"the sweep is {machine.state}"
    assert machine.state is not SweepState.INTERRUPTED, machine.reason
    if machine.state is SweepState.FINISHED:
        assert len(machine.trials) == machine.budget, f"{len(machine.trials)} trials of {machine.budget}"
    assert_mirrored(place, rows, machine, facts)
    assert_no_worker_left(rows)
    return machine


def replayed_in_steps(rows: list[Row]) -> Machine:
    """The machine after all rows, looked at after each.

    Every advance starts from the last `Saved` before it, trains nothing that lies before that, and counts once.
    """
    launched = rows[0].event
    assert isinstance(launched, Launched)
    machine = Machine(SweepSpec.model_validate(launched.spec))
    saved: dict[int, Saved] = {}
    reached: dict[int, int] = {}
    counted: Counter[str] = Counter()
    for sequence, _, event in rows:
        trials, advances = dict(machine.trials), {command.key: command for command in machine.pending()}
        if isinstance(event, Saved):
            saved[event.trial] = event
        elif isinstance(event, Progress):
            for done in event.lanes:
                assert done.epoch > reached[done.trial], f"event {sequence} redid what was saved: {done}"
                reached[done.trial] = done.epoch
        elif isinstance(event, Advanced):
            counted[event.key] += event.key in advances
        for command in machine.handle(event):
            for lane in command.lanes if isinstance(command, Advance) else ():
                _assert_starts_from(lane, saved.get(lane.trial))
                reached[lane.trial] = lane.epoch
        assert_invariants(machine)
        assert_endings_kept(trials, machine.trials)
    doubled = [key for key, count in counted.items() if count > 1]
    assert not doubled, f"advances counted twice: {doubled}"
    return machine


def _assert_starts_from(lane: Lane, saved: Saved | None) -> None:
    expected = ("", 0, 0) if saved is None else (saved.folder, saved.epoch, saved.step)
    assert (lane.folder, lane.epoch, lane.step) == expected, f"{lane} does not start from the last Saved: {saved}"


def assert_mirrored(place: Place, rows: list[Row], machine: Machine, facts: Mapping[str, Any]) -> None:
    """Checks the runs of an ended sweep: one a trial, under one parent, each with the ending, parameters and curve."""
    launched = rows[0].event
    assert isinstance(launched, Launched)
    client = connect(place.tracking_uri)
    parents, children = _runs(place, launched)
    assert [run.info.run_id for run in parents] == [facts["parent_run"]], "not the one parent run"
    assert parents[0].info.status == SWEEP_STATUS[machine.state], f"the parent run is {parents[0].info.status}"
    numbers = sorted(int(run.data.tags["podium.trial"]) for run in children)
    assert numbers == list(machine.trials), f"the runs are those of the trials {numbers}"
    epochs = _epochs(rows)
    for run in children:
        trial = machine.trials[int(run.data.tags["podium.trial"])]
        _assert_shows(run, trial)
        assert run.info.run_id == facts[f"run/{trial.number}"], f"trial {trial.number} has another run"
        assert run.data.tags["mlflow.parentRunId"] == facts["parent_run"]
        for metric in {objective.metric for objective in machine.spec.search.objectives}:
            history = client.get_metric_history(run.info.run_id, metric)
            shown = sorted(point.step for point in history)
            assert shown == epochs.get(trial.number, []), f"trial {trial.number} shows {metric} at the epochs {shown}"


def _assert_shows(run: Run, trial: Trial) -> None:
    assert run.info.status == TRIAL_STATUS[trial.state], f"the run of {trial} is {run.info.status}"
    assert run.info.end_time is not None, f"the run of {trial} has no end"
    assert run.data.tags["state"] == trial.state
    shown = {name: run.data.params.get(name) for name in trial.parameters}
    assert shown == {name: _text(value) for name, value in trial.parameters.items()}, f"{trial} is shown with {shown}"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _runs(place: Place, launched: Launched) -> tuple[list[Run], list[Run]]:
    """The parent runs and the child runs that MLflow has of a sweep."""
    client = connect(place.tracking_uri)
    experiment = client.get_experiment_by_name(launched.spec["sweep"])
    assert experiment is not None, "MLflow has no experiment of the sweep"
    condition = f"tags.`podium.sweep_id` = '{launched.identity}'"
    parents: list[Run] = []
    children: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], condition, max_results=1000, page_token=token)
        for run in page:
            (children if "podium.trial" in run.data.tags else parents).append(run)
        token = page.token
        if not token:
            return parents, children


def _epochs(rows: list[Row]) -> dict[int, list[int]]:
    """By trial the epochs of which the ledger has metrics, each once."""
    epochs: dict[int, set[int]] = {}
    for row in rows:
        if isinstance(row.event, Progress):
            for lane in row.event.lanes:
                epochs.setdefault(lane.trial, set()).add(lane.epoch)
    return {number: sorted(found) for number, found in epochs.items()}


def assert_no_worker_left(rows: list[Row]) -> None:
    """Checks that every worker that ever said it was ready has ended."""
    deadline = time.monotonic() + GONE_S
    while left := list(_workers(rows)):
        assert time.monotonic() < deadline, f"workers are left: {left}"
        time.sleep(0.1)


def _workers(rows: list[Row]) -> Iterator[int]:
    for row in rows:
        match = re.search(r"process (\d+)", row.event.devices) if isinstance(row.event, GangReady) else None
        if match is not None and _is_worker(int(match[1])):
            yield int(match[1])


def _is_worker(pid: int) -> bool:
    try:
        return any(part.startswith("ray::Rank") for part in psutil.Process(pid).cmdline()[:1])
    except psutil.NoSuchProcess:
        return False

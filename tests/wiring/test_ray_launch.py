"""Real launches on Ray, shared or of their own: workers that are killed, drivers that are interrupted."""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import psutil
import pytest
from forked import Process
from wiring_cases import QUICK, TRAIN, Outcome, paced, podium, podium_here, write_blobs, write_quick

from podium.ledger import Row
from podium.sweep.machine import replay
from podium.sweep.messages import Advance, Advanced, GangLost, GangReady, Progress, Saved
from podium.wiring import summaries
from podium.wiring.place import Place

TOGETHER = """
import torch
import torch.distributed as dist


def train(trial):
    assert trial.ranks == dist.get_world_size() == 2
    first = int((trial.saved / "step").read_text()) + 1 if trial.saved else 1
    for step in range(first, 4):
        share = torch.tensor(float(trial.rank + 1))
        dist.all_reduce(share)
        with trial.checkpoint() as folder:
            (folder / "step").write_text(str(step))
        trial.report(step, {"score": trial.params["x"] * float(share) + step / 100 + trial.rank})
    if trial.number == 2 and trial.rank == 1:
        raise ValueError("the second rank cannot clean up")
    if trial.number == 3:
        dist.destroy_process_group()
"""
STUCK = """
import time


def train(trial):
    trial.report(1, {"score": 0.5})
    time.sleep(600)
"""

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def process_of(ready: GangReady) -> psutil.Process:
    """The worker's process, from what it said of its devices."""
    match = re.search(r"process (\d+)", ready.devices)
    assert match is not None
    return psutil.Process(int(match[1]))


def require_gone(workers: list[psutil.Process]) -> None:
    """Fails if any worker outlives its driver by more than a moment."""
    deadline = time.monotonic() + 5
    while left := [worker for worker in workers if is_alive(worker)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def launching(folder: Path, *arguments: str) -> Iterator[Process]:
    """A launch in the background whose workers have begun to train; ended with the block."""
    process = Process([sys.executable, "-m", "podium", *arguments], cwd=folder, start_new_session=True)
    try:
        deadline = time.monotonic() + 300
        while not events(folder, Progress) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        assert process.poll() is None
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def rows(folder: Path) -> list[Row]:
    """What the ledger has of the sweep so far."""
    book = Place.of(folder / ".podium").book()
    try:
        return list(book.rows("quick"))
    finally:
        book.close()


def events(folder: Path, kind: type) -> list:  # type: ignore[type-arg]
    return [row.event for row in rows(folder) if isinstance(row.event, kind)]


def runs(summary: dict) -> list[mlflow.entities.Run]:  # type: ignore[type-arg]
    """The child runs of a sweep."""
    client = mlflow.MlflowClient(tracking_uri=summary["tracking_uri"])
    experiment = client.get_run(summary["parent_run_id"]).info.experiment_id
    return list(client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{summary['parent_run_id']}'"))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A folder with a sweep of a training function that takes its time."""
    return write_quick(tmp_path, train=paced(0.3))


def test_a_sweep_of_the_built_in_task_ends_whole(tmp_path: Path) -> None:
    folder = write_blobs(tmp_path)
    outcome = podium(folder, "launch", "sweep.yaml", "budget.trials=5", "tracking.plots=false", "--json")
    assert outcome.code == 0, outcome.problems
    summary = outcome.json
    assert summary["state"] == "finished"
    assert summary["trials"]["total"] == 5
    assert summary["trials"].get("complete", 0) + summary["trials"].get("stopped", 0) == 5
    assert summary["model"]["name"] == "blobs"
    children = runs(summary)
    assert sorted(run.data.tags["podium.trial"] for run in children) == ["0", "1", "2", "3", "4"]
    assert {run.info.status for run in children} <= {"FINISHED", "KILLED"}
    logs = {path.name for path in (folder / ".podium" / "logs" / "blobs").iterdir()}
    for number in range(5):
        printers = {number, *summaries.leads(Place.of(folder / ".podium"), "blobs", number)}
        assert {f"trial-{printer:05d}.log" for printer in printers} & logs
    assert "Starting workers" in outcome.problems
    assert "5/5 trials" in outcome.problems


def test_trials_of_two_ranks_end_as_those_of_one(tmp_path: Path, running_ray: str) -> None:
    bests = []
    for number, ranks in enumerate((2, 1)):
        (folder := tmp_path / str(number)).mkdir()
        write_blobs(folder)
        settings = ["budget.policy=none", "tracking.plots=false", f"resources.ranks={ranks}", "search.sampler=random"]
        where = running_ray if ranks > 1 else "inline"
        outcome = podium(folder, "launch", "sweep.yaml", *settings, "--cluster", where, "--json")
        assert outcome.code == 0, outcome.problems
        assert outcome.json["trials"]["complete"] == 4
        assert {run.info.status for run in runs(outcome.json)} == {"FINISHED"}
        bests.append({run.data.tags["podium.trial"]: run.data.metrics["validation/loss"] for run in runs(outcome.json)})
    assert bests[0] == pytest.approx(bests[1], abs=1e-4)


def test_a_training_function_is_called_by_every_rank(tmp_path: Path, running_ray: str) -> None:
    folder = write_quick(tmp_path, train=TOGETHER)
    settings = ("resources.ranks=2", "budget.policy=none", "--cluster", running_ray)
    outcome = podium(folder, "launch", "sweep.yaml", *settings, "--json")
    assert outcome.code == 0, outcome.problems
    assert (outcome.json["trials"]["complete"], outcome.json["trials"]["failed"]) == (4, 2)
    reasons = {failure["trial"]: failure["reason"] for failure in outcome.json["failures"]}
    assert "the second rank cannot clean up" in reasons[2], "though the first one was done"
    assert "leave `destroy_process_group` out" in reasons[3]
    ended = replay([row.event for row in rows(folder)]).trials.values()
    for trial in ended:
        if trial.number not in reasons:
            assert trial.values[3] == (pytest.approx(3 * float(trial.parameters["x"]) + 0.03),)
            assert trial.ranks == 2


def test_a_function_without_checkpoints_cannot_change_its_ranks(tmp_path: Path) -> None:
    folder = write_quick(tmp_path, train=STUCK)
    outcome = podium(folder, "launch", "sweep.yaml", "resources.ranks={min: 1, max: 2}", "--cluster", "inline")
    assert outcome.code == 2
    assert "resources.ranks: is a range, and train.py:train saves no checkpoint" in outcome.problems
    assert "Traceback" not in outcome.problems


def test_gangs_that_nobody_needs_join_the_last_trial(tmp_path: Path) -> None:
    folder = write_blobs(tmp_path)
    two_gangs = f"resources={{ranks: {{min: 1, max: 2}}, cpus: {max(1, (os.cpu_count() or 1) // 2)}}}"
    long = "budget.epochs={min: 60, max: 180}"  # until both gangs are up
    settings = (two_gangs, long, "fuse=off", "tracking.plots=false", "budget.trials=3")
    outcome = podium(folder, "launch", "sweep.yaml", *settings, "--json")
    assert outcome.code == 0, outcome.problems
    ended = [row.event for row in Place.of(folder / ".podium").book().rows("blobs") if isinstance(row.event, Advanced)]
    assert {report.ranks for advanced in ended for report in advanced.reports} == {1, 2}
    best = outcome.json["best"]
    assert (best["rung"], best["ranks"]) == (180, 2)
    assert best["metrics"]["train/communication_share"] > 0
    assert "by 2 replicated ranks" in podium_here(folder, "status", "blobs").output
    assert {run.data.tags["podium.ranks"] for run in runs(outcome.json)} == {"1", "2"}


def test_what_no_host_has_is_refused(slow: Path, running_ray: str) -> None:
    outcome = podium(slow, "launch", "sweep.yaml", "resources.gpus=64", "--cluster", running_ray)
    assert outcome.code == 2
    assert "64 GPU" in outcome.problems
    assert "Traceback" not in outcome.problems


def test_a_killed_worker_loses_no_trial(slow: Path, running_ray: str) -> None:
    with launching(slow, "launch", "sweep.yaml", "--cluster", running_ray, "--json") as process:
        process_of(events(slow, GangReady)[0]).kill()
        output, problems = process.communicate(timeout=300)
    outcome = Outcome(process.returncode, output, problems)
    assert outcome.code == 0, problems
    assert len(events(slow, GangLost)) == 1
    summary = outcome.json
    assert summary["trials"]["total"] == 6
    assert "failed" not in summary["trials"]
    children = runs(summary)
    assert len(children) == 6
    assert not [run for run in children if run.info.status == "RUNNING"]
    reached = [row["rung"] for row in trials(slow)]
    assert min(reached) >= 1


def test_a_killed_worker_loses_no_lane(tmp_path: Path, running_ray: str) -> None:
    from podium.execution.connection import nodes

    folder = write_blobs(tmp_path)
    sweep = (folder / "sweep.yaml").read_text().replace("sweep: blobs", "sweep: quick").replace("size: 32", "size: 4")
    sweep = sweep.replace("trials: 4, epochs: {min: 1, max: 3}", "trials: 12, epochs: {min: 4, max: 8}")
    (folder / "sweep.yaml").write_text(sweep + "fuse: 4\ncheckpoints: {every_s: 0.2}\n")
    two_gangs = f"resources.cpus={max(1, int(nodes()[0].cpus) // 2)}"
    settings = (two_gangs, "tracking.plots=false", "--cluster", running_ray)
    with launching(folder, "launch", "sweep.yaml", *settings, "--json") as process:
        gang = events(folder, Progress)[0].gang
        (ready,) = (ready for ready in events(folder, GangReady) if ready.gang == gang)
        process_of(ready).kill()
        output, problems = process.communicate(timeout=300)
    summary = Outcome(process.returncode, output, problems).json
    assert (process.returncode, summary["state"], summary["trials"]["total"]) == (0, "finished", 12), problems
    assert podium(folder, "ledger", "verify", "quick").code == 0
    told = rows(folder)
    (lost,) = events(folder, GangLost)
    before = [row.event for row in itertools.takewhile(lambda row: row.event != lost, told)]
    broken_off = [each for each in replay(before).pending() if isinstance(each, Advance) and each.gang == lost.gang]
    assert [len(advance.lanes) > 1 for advance in broken_off] == [True]
    places = {
        report.trial: (advanced.key, lane, report.width)
        for advanced in events(folder, Advanced)
        for lane, report in enumerate(advanced.reports)
    }
    assert {advanced.reports[0].width for advanced in events(folder, Advanced)} >= {1, 4}
    children = runs(summary)
    assert len(children) == 12
    for run in children:
        tags = run.data.tags
        assert run.info.status in ("FINISHED", "KILLED")
        place = tags["podium.cohort"], int(tags["podium.lane"]), int(tags["podium.width"])
        assert place == places.pop(int(tags["podium.trial"]))
    assert not places
    for ready in (row for row in told if isinstance(row.event, GangReady)):
        ends = [row for row in told if isinstance(row.event, Advanced) and row.event.gang == ready.event.gang]
        spent_s = sum(report.device_s for row in ends for report in row.event.reports)
        assert spent_s <= max([ready.at, *(row.at for row in ends)]) - ready.at


@pytest.mark.parametrize("is_at_an_address", [False, True])
def test_a_trial_that_kills_every_worker_it_meets_fails_and_the_sweep_goes_on(
    is_at_an_address: bool, running_ray: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if is_at_an_address:  # what opens the store is in the environment, which a Ray of this launch's own inherits
        store, ray = ["--store", request.getfixturevalue("s3_store").address], "local"
    else:
        store, ray = [], running_ray
    train = TRAIN.replace("    first = 1", "    if trial.number == 2:\n        end_it_all()\n    first = 1")
    train += "\n\ndef end_it_all():\n    import ctypes\n\n    ctypes.string_at(0)\n"
    write_quick(tmp_path, QUICK + "retries: {worker_lost: 1}\n", train)
    outcome = podium(tmp_path, "launch", "sweep.yaml", "--cluster", ray, *store, "--json")
    assert outcome.code == 0, outcome.problems
    assert len(outcome.output.splitlines()) == 1, "Ray's own words about dead workers stay away"
    assert outcome.json["trials"]["total"] == 6
    assert outcome.json["trials"]["failed"] == 1
    (failure,) = outcome.json["failures"]
    assert (failure["trial"], failure["cause"], failure["attempts"]) == (2, "worker_lost", {"worker_lost": 2})
    assert "in end_it_all" in failure["log_tail"]
    assert "in end_it_all" in podium_here(tmp_path, "logs", "quick/2", *store).output
    lost = events(tmp_path, GangLost)
    assert len({loss.gang for loss in lost}) == 2
    children = runs(outcome.json)
    assert len(children) == 6
    assert {run.info.status for run in children} <= {"FINISHED", "KILLED", "FAILED"}


def test_a_worker_told_to_leave_saves_at_its_next_step(tmp_path: Path, running_ray: str) -> None:
    folder = write_blobs(tmp_path, samples=4_000)
    sweep = (folder / "sweep.yaml").read_text().replace("sweep: blobs", "sweep: quick").replace("size: 32", "size: 1")
    (folder / "sweep.yaml").write_text(sweep)
    settings = ("budget.trials=2", "budget.epochs.max=2", "budget.policy=none", "tracking.plots=false")
    with launching(folder, "launch", "sweep.yaml", *settings, "--cluster", running_ray, "--json") as process:
        ready = events(folder, GangReady)[0]
        told = time.monotonic()
        process_of(ready).terminate()
        while not events(folder, GangLost):
            assert time.monotonic() < told + 60
            time.sleep(0.05)
        output, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    (lost,) = events(folder, GangLost)
    assert (lost.gang, lost.cause) == (ready.gang, "preempted")
    saves = events(folder, Saved)
    assert any(saved.step > 0 for saved in saves), "in the middle of an epoch, not at its end"
    summary = Outcome(process.returncode, output, problems).json
    assert (summary["trials"]["total"], summary["state"]) == (2, "finished")


def trials(folder: Path) -> list[dict]:  # type: ignore[type-arg]
    """Every trial as `podium.load_result` has it, by a process of its own."""
    program = (
        "import json, podium\n"
        "frame = podium.load_result('quick', home='.podium').trials()\n"
        "print(json.dumps(json.loads(frame.to_json(orient='records'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    rows: list[dict] = json.loads(done.stdout)  # type: ignore[type-arg]
    return rows


@pytest.mark.parametrize(("number", "is_shared"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_signal_to_leave_leaves_nothing_running_and_resume_completes(
    slow: Path, running_ray: str, number: signal.Signals, is_shared: bool
) -> None:
    where = ["--cluster", running_ray if is_shared else "local"]
    with launching(slow, "launch", "sweep.yaml", *where) as process:
        workers = [process_of(ready) for ready in events(slow, GangReady)]
        process.send_signal(number)
        output, problems = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "podium resume quick" in output
    assert "running ones write a checkpoint" in problems
    require_gone(workers)
    resumed = podium(slow, "resume", "quick", "--cluster", running_ray, "--json")
    assert resumed.code == 0, resumed.problems
    assert resumed.json["state"] == "finished"
    assert resumed.json["trials"]["total"] == 6
    assert len(runs(resumed.json)) == 6


def test_ctrl_c_twice_leaves_at_once_and_can_be_resumed(tmp_path: Path, running_ray: str) -> None:
    stuck = write_quick(tmp_path, train=STUCK)
    with launching(stuck, "launch", "sweep.yaml", "budget.policy=none", "--cluster", running_ray) as process:
        workers = [process_of(ready) for ready in events(stuck, GangReady)]
        process.send_signal(signal.SIGINT)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, problems = process.communicate(timeout=300)
    assert process.returncode == 75
    assert "left at once; `podium resume NAME` goes on" in problems
    assert "Traceback" not in problems
    require_gone(workers)
    assert podium_here(stuck, "status", "quick", "--json").json["state"] == "interrupted"

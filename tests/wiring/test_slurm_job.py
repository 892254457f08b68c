"""The file for sbatch that `podium cluster slurm` writes."""

import importlib.resources
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from slurm_server import until
from wiring_cases import Outcome, podium_here

from podium.errors import UserError
from podium.wiring.clusters.slurm import seconds

SWEEP = """
sweep: tiny
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 3, epochs: {min: 1, max: 3}}
resources: {ranks: 4, gpus: 1, hosts: 2}
"""
EXAMPLE = ["experiments/digits/sweep.yaml", "resources.gpus=1", "--nodes", "4", "--gpus-per-node", "8"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    (tmp_path / "train.py").touch()
    return tmp_path


def slurm(folder: Path, *arguments: str) -> Outcome:
    return podium_here(folder, "cluster", "slurm", *arguments)


def test_the_example_is_what_the_command_writes(root: Path) -> None:
    """Regenerate it as cluster/slurm/README.md says."""
    places = ["--home", "/shared/podium", "--environment", sys.prefix]
    done = slurm(root, *EXAMPLE, "--time", "8:00:00", *places, "--out", "-")
    assert done.code == 0, done.problems
    written = done.output.replace(sys.prefix, "/shared/environment").replace(str(root), "/shared/project")
    assert written == (root / "cluster" / "slurm" / "example.sbatch").read_text()


@pytest.mark.parametrize(
    ("script", "fine"),
    [
        ("cluster/slurm/example.sbatch", "SC2317"),  # functions that a trap calls, or other nodes
        ("platform/podium/wiring/clusters/on_host.sh", "SC2154"),  # settings that come before it
    ],
)
def test_scripts_are_clean(root: Path, script: str, fine: str) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed; tests/services.sh installs it on Debian, as root")
    command = ["shellcheck", "--shell=bash", f"--exclude={fine}", root / script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_all_options_arrive(folder: Path) -> None:
    words = ["--mem", "64G", "--partition", "gpu", "--account", "vision", "--qos", "low", "--constraint", "a100&ib"]
    asked = ["--nodes", "2", "--cpus-per-node", "16", "--gpus-per-node", "2", "--time", "1-0", "--job-name", "mine"]
    done = slurm(
        folder,
        "sweep.yaml",
        "search.space={x: {int: [0, 9]}}",
        *asked,
        *words,
        "--signal-s",
        "300",
        "--home",
        "a b",
        "--json",
    )
    assert done.code == 0, done.problems
    assert done.json == {"sweep": "tiny", "file": "tiny.sbatch"}
    lines = (folder / "tiny.sbatch").read_text().splitlines()
    assert [line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")] == [
        "job-name=mine",
        "mem=64G",
        "partition=gpu",
        "account=vision",
        "qos=low",
        "constraint=a100&ib",
        "nodes=2",
        "ntasks-per-node=1",
        "cpus-per-task=16",
        "gpus-per-node=2",
        "time=1-0",
        "signal=B:TERM@300",
        "requeue",
        "open-mode=append",
        "output=%x-%j.log",
    ]
    assert f"home='{folder / 'a b'}'" in lines
    assert f"sweep=({folder / 'sweep.yaml'} 'search.space={{x: {{int: [0, 9]}}}}')" in lines


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--time", "8h"], "--time is '8h'; give minutes, minutes:seconds"),
        (["--time", "1:30"], "--time 1:30 is 90 s, and the sweep is told to leave 120 s before its end"),
        (["--time", "60", "--partition", "gpu --wrap"], "--partition is 'gpu --wrap'; give one word"),
        (["--time", "60", "--environment", "nowhere"], "nowhere has no bin/podium"),
        (
            ["--time", "60", "--gpus-per-node", "1"],
            "sweep.yaml:8: resources: a trial needs 4 rank(s) of 1 CPU(s) and 1",
        ),
        (["--time", "60", "--nodes", "1"], "on 2 hosts, and the job asks for 1 node(s) with all its CPUs and 2 GPU(s)"),
        (["--time", "60", "--cpus-per-node", "1"], "asks for 2 node(s) with 1 CPU(s) and 2 GPU(s) each"),
        (["--time", "60", "--out", "sweep.yaml"], "--out sweep.yaml exists and is another file"),
        (["--time", "60", "--out", "no/such/folder"], "--out no/such/folder cannot be written"),
    ],
)
def test_a_mistake_is_one_message_and_writes_nothing(folder: Path, arguments: list[str], said: str) -> None:
    before = {path: path.read_text() for path in folder.iterdir()}
    done = slurm(folder, "sweep.yaml", "--nodes", "2", "--gpus-per-node", "2", *arguments)
    assert done.code == 2
    assert said in done.problems
    assert len(done.problems.splitlines()) == 1
    assert {path: path.read_text() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("90", 5400),
        ("1:30", 90),
        ("8:00:00", 28800),
        ("2-3", 183600),
        ("2-3:30", 185400),
        ("1-0:0:5", 86405),
    ],
)
def test_times_are_read_as_slurm_reads_them(time: str, expected: int) -> None:
    assert seconds(time) == expected


@pytest.mark.parametrize("time", ["", "soon", "-1", "1:2:3:4", "8:00:00 "])
def test_other_times_are_refused(time: str) -> None:
    with pytest.raises(UserError, match="--time is"):
        seconds(time)


STANDS_IN = {
    "srun": 'setsid "${@: -3}" & echo $! >"$STATE/node"; trap "kill -KILL -- -$!" TERM; wait; "$folder/tidy"',
    "ray": 'echo "$@" >"$STATE/ray"; exec /bin/sleep 300',
    "squeue": '[[ -e $STATE/state ]] && cat "$STATE/state"',
    "scontrol": 'echo "$1" >>"$STATE/asked"; [[ $(wc -l <"$STATE/asked") == 2 ]]',
    "sleep": "exec /bin/sleep 0.1",
}
JOINS = "for _ in {1..600}; do if [[ -s $STATE/ray ]]; then exit; fi; sleep 0.1; done; exit 1"
"""What stands in for `podium cluster wait`."""


@contextmanager
def running_job(folder: Path, podium: str, scratch: str = "/tmp") -> Iterator["subprocess.Popen[bytes]"]:
    """The body of a job, with programs that stand in for Slurm, Ray and `podium`."""
    binaries = folder / "environment" / "bin"
    binaries.mkdir(parents=True)
    for name, text in {**STANDS_IN, "podium": podium}.items():
        (binaries / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (binaries / name).chmod(0o755)
    body = (importlib.resources.files("podium.wiring.clusters") / "job.sh").read_text(encoding="utf-8")
    settings = f"environment={binaries.parent} home={folder} store={folder} gpus=0\nsweep=(sweep.yaml)\n"
    (folder / "job").write_text(settings + body)
    slurm = {
        "JOB_ID": str(os.getpid()),
        "JOB_NUM_NODES": "1",
        "NODEID": "0",
        "CPUS_ON_NODE": "1",
        "RESTART_COUNT": "1",
        "TMPDIR": scratch,
    }
    variables = {**os.environ, **{f"SLURM_{name}": value for name, value in slurm.items()}, "STATE": str(folder)}
    job = subprocess.Popen(["/bin/bash", folder / "job"], env=variables, start_new_session=True)
    try:
        yield job
    finally:
        for group in (job.pid, int((folder / "node").read_text())):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        job.wait()


def test_a_run_does_not_believe_what_a_run_left_that_was_killed(tmp_path: Path) -> None:
    for left in (f"slurm-{os.getpid()}-{restarts}" for restarts in (0, 1)):
        (tmp_path / left).mkdir()
        (tmp_path / left / "complete").touch()
    with running_job(tmp_path, f"if [[ $1 == cluster ]]; then {JOINS}; fi") as job:
        assert job.wait(60) == 0
    assert (tmp_path / "ray").exists()
    assert list(tmp_path.glob("slurm-*")) == []


@pytest.mark.parametrize(("length", "is_short"), [(43, True), (44, False)])
def test_sockets_of_ray_have_short_paths(tmp_path: Path, length: int, is_short: bool) -> None:
    name = f"ray-{os.getpid()}-0"
    with tempfile.TemporaryDirectory(prefix="p", dir="/tmp") as base:
        scratch = Path(base) / ("x" * (length - len(f"{base}//{name}")))
        scratch.mkdir()
        with running_job(tmp_path, f"if [[ $1 == cluster ]]; then {JOINS}; fi", str(scratch)) as job:
            assert job.wait(60) == 0
    (used,) = re.findall(r"--temp-dir=(\S+)", (tmp_path / "ray").read_text())
    assert used == (f"{scratch}/{name}" if is_short else f"/tmp/{name}")
    assert len(f"{used}/session_2026-11-30_13-31-13_943765_4194304/sockets/plasma_store") <= 107


@contextmanager
def waiting_job(folder: Path, state: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A job whose hosts have not joined yet, and what Slurm says of its state; nothing for no answer."""
    if state:
        (folder / "state").write_text(f"{state}\n")
    with running_job(folder, 'touch "$STATE/waits"; exec /bin/sleep 300') as job:
        for name in ("waits", "ray"):
            until((folder / name).exists, f"{name} is there")
        yield job


@pytest.mark.parametrize("state", ["RUNNING", "SIGNALING", ""])
def test_a_job_is_queued_again_though_slurm_stumbles_and_the_hosts_have_not_joined(tmp_path: Path, state: str) -> None:
    with waiting_job(tmp_path, state) as job:
        job.terminate()
        assert job.wait(60) == 143
    assert (tmp_path / "asked").read_text().split() == ["requeue", "requeue"]


def test_a_job_that_slurm_ends_is_not_queued_again(tmp_path: Path) -> None:
    with waiting_job(tmp_path, "COMPLETING") as job:
        job.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            job.wait(2)  # Slurm itself tells the driver
        os.kill(int((tmp_path / "node").read_text()), signal.SIGKILL)
        assert job.wait(60) == 137
    assert not (tmp_path / "asked").exists()

"""The file for sbatch that `podium cluster slurm` writes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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

"""Jobs on a real Slurm with two nodes: told of their time limit, requeued, cancelled, submitted again, ended."""

import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_server
from empty_runs import make_empty_runs
from faults.verdict import assert_nothing_lost
from slurm_server import until

from podium.sweep.messages import Event, Progress, Resumed
from podium.wiring.place import Place

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

STEPS, SAVED_EVERY = 20, 2

ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")

FORGOTTEN_S = 2
"""How long after the end of a job a node refuses it: Slurm tells a job's starts apart by whole seconds."""

SWEEP = f"""
sweep: nights
task: train.py:train
search:
  objective: {{metric: score, direction: maximize}}
  space: {{x: {{float: [0, 1]}}}}
budget: {{trials: 12, policy: none, epochs: {{min: 1, max: {STEPS}}}}}
tracking: {{plots: false}}
"""
TRAIN = f"""
import os
import time
from pathlib import Path


def train(trial):
    first = int((trial.saved / "step").read_text()) + 1 if trial.saved else 1
    for step in range(first, {STEPS + 1}):
        time.sleep(0.01 if Path("HURRY").exists() else 0.5)
        if step % {SAVED_EVERY} == 0:
            with trial.checkpoint() as folder:
                (folder / "step").write_text(str(step))
        trial.report(step, {{"score": trial.params["x"] * step, "node": int(os.environ["SLURM_NODEID"])}})
"""


class Nights:
    """The sweep, as its ledger tells it, and its jobs."""

    def __init__(self, slurm: slurm_server.Slurm, folder: Path) -> None:
        self.slurm, self.folder = slurm, folder
        self.home = folder / "home"
        self.place = Place.of(home=self.home)
        (folder / "sweep.yaml").write_text(SWEEP)
        (folder / "train.py").write_text(TRAIN.replace("HURRY", str(folder / "hurry")))
        make_empty_runs(self.home / "mlflow.db")

    def submit(self, nodes: int) -> str:
        """Writes the file for so many nodes, and submits it; the job's number."""
        asked = ["--nodes", str(nodes), "--cpus-per-node", "1", "--time", "30", "--signal-s", "600"]
        files = ["sweep.yaml", "--home", "home", "--out", f"on-{nodes}.sbatch"]
        self.slurm.run(sys.executable, "-m", "podium", "cluster", "slurm", *asked, *files, cwd=self.folder)
        return self.slurm.run("sbatch", "--parsable", f"on-{nodes}.sbatch", cwd=self.folder)

    def said(self, job: str) -> str:
        return (self.folder / f"nights-{job}.log").read_text()

    def events(self) -> list[Event]:
        if not (self.home / "ledger.db").exists():
            return []
        book = self.place.book()
        try:
            return [row.event for row in book.rows("nights")]
        finally:
            book.close()

    def until_it_trains(self, job: str, times: int) -> None:
        """Waits until the sweep was resumed so many times, and trains."""

        def trains() -> bool:
            assert self.slurm.state(job) in ("PENDING", "CONFIGURING", "RUNNING"), self.said(job)
            events = self.events()
            resumed = [number for number, event in enumerate(events) if isinstance(event, Resumed)]
            told = [number for number, event in enumerate(events) if isinstance(event, Progress)]
            return len(resumed) == times and sum(number > max(resumed, default=0) for number in told) > 3

        until(trains, "the job trains")

    def until_state(self, job: str, wanted: str) -> None:
        """Waits until a job is in a state; none but this one may be its last."""

        def is_there() -> bool:
            state = self.slurm.state(job)
            assert state == wanted or state not in ENDED, f"{state}: {self.said(job)}"
            return state == wanted

        until(is_there, f"job {job} is {wanted}")

    def until_clean(self) -> None:
        """Waits until nothing of a job is left on the nodes, and these take it again."""
        until(lambda: not self.slurm.processes() and self.slurm.is_idle(), "the nodes are free")
        time.sleep(FORGOTTEN_S)
        assert list(self.slurm.scratch.iterdir()) == []
        assert list(self.home.glob("slurm-*")) == []


@pytest.fixture(scope="module")
def slurm() -> Iterator[slurm_server.Slurm]:
    reason = slurm_server.why_not()
    if reason is not None:
        pytest.skip(reason)
    with slurm_server.running() as running:
        yield running


@pytest.mark.timeout(
    1800
)  # four times Ray is started, which a busy machine does slowly, and a clock of Slurm's awaited
def test_a_sweep_over_many_jobs_loses_nothing(slurm: slurm_server.Slurm, tmp_path: Path) -> None:
    nights = Nights(slurm, tmp_path)
    job = nights.submit(nodes=1)
    nights.until_it_trains(job, times=0)
    assert_token_is_kept(nights, job)

    # its time is nearly up: it is told so, and queues itself again
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    nights.until_state(job, "PENDING")
    nights.until_clean()
    assert "interrupted" in nights.said(job)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=30", "StartTime=now")
    nights.until_it_trains(job, times=1)

    # somebody else needs the node
    slurm.run("scontrol", "requeue", job)
    nights.until_state(job, "PENDING")
    nights.until_clean()
    slurm.run("scontrol", "update", f"JobId={job}", "StartTime=now")
    nights.until_it_trains(job, times=2)

    # its user cancels it, and it stays so
    slurm.run("scancel", job)
    nights.until_state(job, "CANCELLED")
    nights.until_clean()

    # and submits it again, on two nodes
    job = nights.submit(nodes=2)
    nights.until_it_trains(job, times=3)
    (tmp_path / "hurry").touch()
    nights.until_state(job, "COMPLETED")
    nights.until_clean()
    assert_nothing_lost(nights.place, "nights")
    events = nights.events()
    assert sum(isinstance(event, Resumed) for event in events) == 3
    told = [lane.metrics["node"] for event in events if isinstance(event, Progress) for lane in event.lanes]
    assert set(told) == {0, 1}, "both nodes have trained"


def assert_token_is_kept(nights: Nights, job: str) -> None:
    """Checks that the token is in a file for its owner alone, and nowhere else."""
    folder = nights.home / f"slurm-{job}-0"
    token = (folder / "token").read_text()
    assert len(token) == 64
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "token")] == [0o700, 0o600]
    assert token not in nights.said(job)
    assert token not in nights.slurm.run("scontrol", "show", "job", "--details", job)
    lines = [line for _, line in nights.slurm.processes()]
    assert not [line for line in lines if token in line]
    (raylet,) = [number for number, line in nights.slurm.processes() if line.split()[0].endswith("/raylet")]
    assert token.encode() not in Path(f"/proc/{raylet}/environ").read_bytes()

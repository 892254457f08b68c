"""A Slurm of the tests' own: munge, a controller and two nodes on this machine, in a process namespace that they share.

It lives as long as a process that reads its standard input, so that neither Slurm nor its jobs outlive the tests,
however these end.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

NODES = ("n1", "n2")
CPUS = 2
HANG_S = 300

OWN = ("munged", "slurmctld", ": slurmscriptd", "slurmd", "bash -c", "cat")
"""How the command lines of Slurm's own processes begin."""

# The first job has a number of this Slurm alone: the port of a job's Ray is made of it.
CONFIGURATION = """
ClusterName=tests
FirstJobId={controller_port}
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={first_port} CPUs={cpus}
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={second_port} CPUs={cpus}
PartitionName=all Nodes=ALL Default=YES State=UP
"""
BEGIN = """
set -e
munged --foreground --socket=munge.socket --key-file=munge.key --pid-file=munge.pid --seed-file=munge.seed \
    --log-file=munge.log --force &
until [ -S munge.socket ]; do sleep 0.1; done
slurmctld -D -i &
slurmd -D -N n1 &
slurmd -D -N n2 &
echo ready
cat
true
"""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm.

    Attributes:
        environment: With which its commands find it.
        scratch: The temporary folder of its jobs.
        anchor: The process whose end ends it.
    """

    environment: dict[str, str]
    scratch: Path
    anchor: "subprocess.Popen[str]"

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Runs one of its commands; gives what that prints."""
        done = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, check=False, timeout=HANG_S
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"
        return done.stdout.strip()

    def state(self, job: str) -> str:
        """The state of a job."""
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")

    def is_idle(self) -> bool:
        """Whether all its nodes are there, and none has a job."""
        asked = ["sinfo", "--noheader", "--format=%T %D"]
        done = subprocess.run(asked, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout.strip() == f"idle {len(NODES)}"

    def processes(self) -> list[tuple[int, str]]:
        """Number and command line of all processes on the nodes, Slurm's own left out."""
        child = Path(f"/proc/{self.anchor.pid}/task/{self.anchor.pid}/children").read_text().split()[0]
        ours = os.readlink(f"/proc/{child}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns" / "pid") == ours:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    if line and not line.startswith(OWN):
                        found.append((int(entry.name), line))
            except OSError:
                continue
        return found


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition, without asking often: Slurm answers by a process for each question.

    Raises:
        AssertionError: if it did not come true in time.
    """
    deadline = time.monotonic() + HANG_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {HANG_S} s: {what}"
        time.sleep(0.5)


def why_not() -> str | None:
    """Why no Slurm can be started here; None if it can."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "unshare") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed; tests/services.sh installs Slurm on Debian, as root"
    spaces = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    tried = subprocess.run(spaces, capture_output=True, text=True, check=False)
    return f"no process namespace can be made here: {tried.stderr.strip()}" if tried.returncode else None


@contextmanager
def running() -> Iterator[Slurm]:
    """A Slurm for as long as the block lasts."""
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp", ignore_cleanup_errors=True))
        folder = Path(made)
        folder.chmod(0o755)
        for name in ("state", "scratch"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        names = ("controller_port", "first_port", "second_port")
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder, cpus=CPUS, **ports))
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_", "PODIUM_"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "TMPDIR": str(folder / "scratch"),
        }
        anchor = stack.enter_context(_anchored(folder, environment))
        slurm = Slurm(environment, folder / "scratch", anchor)
        until(slurm.is_idle, "both nodes are there")
        yield slurm


@contextmanager
def _anchored(folder: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c", BEGIN]
    pipe = subprocess.PIPE
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=said, text=True
        ) as anchor,
    ):
        try:
            assert anchor.stdout is not None
            assert anchor.stdout.readline() == "ready\n", (folder / "said").read_text()
            yield anchor
        finally:
            anchor.kill()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

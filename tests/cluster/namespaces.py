"""Two hosts on one machine: Linux namespaces, joined by a switch, that share no disk, no process and no port.

Each host has a network, a mount, a process and a host name of its own. It may write to one folder alone, which every
host finds under the same path and which is another one on each; the rest of the file system is read-only. Each lives
as long as a process that reads its standard input, so that nothing of them outlives the tests, however these end.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAD, WORKER, SWITCH = "10.77.0.1", "10.77.0.2", "10.77.0.254"
S3 = f"http://{SWITCH}:5000"
BUCKET = "podium"

BECOME_HOST = """
set -e
mount --bind "$DISK" "$HOME"
mount -o remount,bind,ro /
mount -t tmpfs tmpfs /dev/shm
hostname "$NAME"
ip link set lo up
echo ready
cat
true
"""
BECOME_SWITCH = """
set -e
ip link set lo up
ip link add switch type bridge
ip address add "$ADDRESS/24" dev switch
ip link set switch up
echo ready
cat
true
"""

TRY = """
ip link add switch type bridge
ip link add one type veth peer name other
mount -o remount,bind,ro /
hostname tried
"""


@dataclass(frozen=True)
class Host:
    """A machine of its own, as far as the processes in it can tell.

    Attributes:
        name: Its host name.
        address: Its address on the switch.
        disk: Where the tests find the folder that it can write to.
        home: That folder's path on the host itself.
        environment: Of every process started on it.
        started: Those, the last one at the end.
    """

    name: str
    address: str
    disk: Path
    home: Path
    environment: Mapping[str, str]
    anchor: "subprocess.Popen[str]"
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def start(self, command: list[str], log: str) -> "subprocess.Popen[str]":
        """Starts a command in the host's home; what it says goes to the file `log` there."""
        with (self.disk / log).open("a") as file:
            process = subprocess.Popen(
                self._inside(command), env=self.environment, stdout=file, stderr=subprocess.STDOUT, text=True
            )
        self.started.append(process)
        return process

    def run(self, command: list[str], timeout_s: float = 60) -> "subprocess.CompletedProcess[str]":
        """Runs a command in the host's home and waits for its end."""
        return subprocess.run(
            self._inside(command),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def processes(self, *words: str) -> list[int]:
        """The host's processes whose command line has all the words, by the numbers they have out here."""
        ours = os.readlink(f"/proc/{_child(self.anchor)}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns" / "pid") == ours:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if line and all(word in line for word in words):
                        found.append(int(entry.name))
            except OSError:
                continue
        return found

    def kill(self, *words: str) -> list[int]:
        """Kills such processes at once, as a machine that loses its power does."""
        found = self.processes(*words)
        for process in found:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return found

    def _inside(self, command: list[str]) -> list[str]:
        return [*_enter(self.anchor, "--all"), "env", "--chdir", str(self.home), *command]


@dataclass(frozen=True)
class Hosts:
    """The two hosts, and the switch between them, on which an S3 server runs."""

    head: Host
    worker: Host
    switch: "subprocess.Popen[str]"

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """The cable of the second host is pulled while the block runs."""
        cable = [*_enter(self.switch, "--net"), "ip", "link", "set", self.worker.name]
        subprocess.run([*cable, "down"], check=True)
        yield
        subprocess.run([*cable, "up"], check=True)

    @contextmanager
    def guest(self, disk: Path, name: str, address: str) -> Iterator[Host]:
        """One more host on the switch, as long as the block lasts; it has nothing of the environment of the others."""
        with _host(self.switch, disk, name, address, self.head.home) as host:
            bare = {key: value for key, value in host.environment.items() if not key.startswith("AWS_")}
            yield replace(host, environment=bare)

    def on_switch(self) -> tuple[str, ...]:
        """What a command line begins with, to run in the network between the hosts."""
        return tuple(_enter(self.switch, "--net"))

    @contextmanager
    def parted(self) -> Iterator[None]:
        """The second host cannot reach the first while the block runs; both reach the S3 server."""
        route = ["blackhole", self.head.address]
        subprocess.run([*_enter(self.worker.anchor, "--net"), "ip", "route", "add", *route], check=True)
        yield
        subprocess.run([*_enter(self.worker.anchor, "--net"), "ip", "route", "delete", *route], check=True)


HANG_S = 300
"""Who waits for longer waits in vain."""


def until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Waits for a condition; returns the seconds it took.

    Raises:
        AssertionError: if it did not come true in time.
    """
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def two_hosts(folder: Path) -> Iterator[Hosts]:
    """Two hosts with their disks in `folder`, for as long as the block lasts; skips where they cannot be made."""
    _require_tools()
    with ExitStack() as stack:
        # the path is short, since Ray makes sockets below it
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="host-", dir="/tmp")))
        switch = stack.enter_context(_anchored(["--net", "--pid"], BECOME_SWITCH, {"ADDRESS": SWITCH}))
        head, worker = (
            stack.enter_context(_host(switch, folder / name, name, address, home))
            for name, address in (("head", HEAD), ("worker", WORKER))
        )
        stack.enter_context(_s3_server(switch, folder))
        made = head.run([sys.executable, "-c", f"import s3fs; s3fs.S3FileSystem().mkdir('{BUCKET}')"])
        assert made.returncode == 0, made.stderr
        yield Hosts(head, worker, switch)


def _require_tools() -> None:
    missing = [tool for tool in ("ip", "unshare", "nsenter") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"no hosts of our own can be made without {', '.join(missing)} (iproute2, util-linux)")
    spaces = ["--net", "--mount", "--pid", "--uts", "--fork"]
    tried = subprocess.run(["unshare", *spaces, "sh", "-ec", TRY], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no hosts of our own can be made here: {tried.stderr.strip()}")


@contextmanager
def _anchored(spaces: list[str], script: str, variables: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """New namespaces that last until the block ends, or this process does."""
    with subprocess.Popen(
        ["unshare", *spaces, "--fork", "--kill-child", "bash", "-c", script],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as anchor:
        try:
            assert anchor.stdout is not None
            assert anchor.stdout.readline() == "ready\n", "the namespaces could not be set up"
            yield anchor
        finally:
            anchor.kill()


@contextmanager
def _host(switch: "subprocess.Popen[str]", disk: Path, name: str, address: str, home: Path) -> Iterator[Host]:
    (disk / "tmp").mkdir(parents=True)
    variables = {"DISK": str(disk), "HOME": str(home), "NAME": name}
    spaces = ["--net", "--mount", "--pid", "--uts", "--mount-proc"]
    with _anchored(spaces, BECOME_HOST, variables) as anchor:
        cable = ["ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(_child(anchor))]
        for command in (cable, ["ip", "link", "set", name, "master", "switch", "up"]):
            subprocess.run([*_enter(switch, "--net"), *command], check=True)
        for command in (["address", "add", f"{address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            subprocess.run([*_enter(anchor, "--net"), "ip", *command], check=True)
        host = Host(name, address, disk, home, _environment(home), anchor)
        yield host
        for process in host.started:
            process.kill()
            process.wait()


def _environment(home: Path) -> dict[str, str]:
    paths = {"HOME": home, "TMPDIR": home / "tmp", "RAY_TMPDIR": home, "PYTHONPATH": ROOT / "platform"}
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "AWS_", "PODIUM_"))},
        **{key: str(path) for key, path in paths.items()},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "AWS_ENDPOINT_URL": S3,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def _s3_server(switch: "subprocess.Popen[str]", folder: Path) -> Iterator[None]:
    command = [*_enter(switch, "--net", "--pid"), sys.executable, "-m", "moto.server", "-H", SWITCH, "-p", "5000"]
    with (folder / "s3.log").open("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            until(lambda: "Running on" in Path(log.name).read_text(), HANG_S, "the S3 server answers")
            yield
        finally:
            server.kill()


def _child(anchor: "subprocess.Popen[str]") -> int:
    """The process inside the namespaces: `unshare` itself stays outside of the process namespace."""
    return int(Path(f"/proc/{anchor.pid}/task/{anchor.pid}/children").read_text().split()[0])


def _enter(anchor: "subprocess.Popen[str]", *spaces: str) -> list[str]:
    return ["nsenter", "--target", str(_child(anchor)), *spaces]

"""Podium's command line in processes forked from one that has imported all it needs: a new one takes seconds for that.

They are processes like any other: with a folder, an environment and an output of their own, to be waited for and
killed. Where it matters how Podium starts, or by which words a process is found, a test starts a new one instead.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

NEEDED = (
    "podium.cli",
    "podium.wiring.launch",
    "podium.wiring.preflight",
    "podium.execution.inline",
    "podium.registry.models",
    "podium.search.importance",
    "podium.search.proposer",
    "podium.tracking.diagnosis",
    "podium.tracking.projector",
    "podium.training.task_trainer",
    "podium.training.tasks",
    "mlflow.pyfunc.model",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "torch.export._trace",
)
"""What drivers and trackers import."""


class Process:
    """Such a process; as much of `subprocess.Popen` as Podium and its tests use.

    Args:
        command: `[python, "-m", "podium", ...]`.
        cwd: Its folder; by default the current one.
        env: Its environment; by default that of this process.
        stdout: An open file; by default it is kept for `communicate`.
        stderr: The like, or `subprocess.STDOUT`.
        start_new_session: Whether it leaves the process group.
        stdin: Nothing, always.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | int | None = None,
        start_new_session: bool = False,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        assert list(command[1:3]) == ["-m", "podium"], command
        assert stdin == subprocess.DEVNULL
        self.returncode: int | None = None
        output = tempfile.TemporaryFile() if stdout is None else stdout  # noqa: SIM115
        problems = tempfile.TemporaryFile() if stderr is None else output if isinstance(stderr, int) else stderr  # noqa: SIM115
        self._kept = [file for file, given in ((output, stdout), (problems, stderr)) if given is None]
        request = {
            "arguments": command[3:],
            "folder": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
            "is_session": start_new_session,
        }
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_address())
        socket.send_fds(self._connection, [b" "], [output.fileno(), problems.fileno()])
        self._connection.sendall(json.dumps(request).encode())
        self._connection.shutdown(socket.SHUT_WR)
        self.pid = self._receive()
        for file in [self._connection, *self._kept]:
            weakref.finalize(self, file.close)

    def poll(self) -> int | None:
        """Its exit code, if it has ended; minus the signal that killed it."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("podium", timeout or 0)
            self.returncode = self._receive()
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, ...]:
        """What it has written to standard output and to standard error, in the end."""
        self.wait(timeout)
        for file in self._kept:
            file.seek(0)
        return tuple(file.read().decode(errors="replace") for file in self._kept)

    def send_signal(self, number: int) -> None:
        """Sends it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to leave."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it."""
        self.send_signal(signal.SIGKILL)

    def _receive(self) -> int:
        number: int
        (number,) = struct.unpack("i", self._connection.recv(4))
        return number


@functools.cache
def _address() -> str:
    """Starts the process that is forked, which ends with this one; returns its socket."""
    folder = tempfile.TemporaryDirectory(prefix="forked-")
    atexit.register(folder.cleanup)
    address = f"{folder.name}/socket"
    source = subprocess.Popen(
        [sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder.name
    )
    assert source.stdin is not None
    assert source.stdout is not None
    atexit.register(source.wait)
    atexit.register(source.stdin.close)
    assert source.stdout.readline() == b"ready\n", "what Podium needs could not be imported"
    source.stdout.close()
    return address


def main() -> None:
    """Waits for requests until standard input is closed; a fork of this process goes on as the command line."""
    from podium.tracking.client import connect
    from podium.wiring import follower

    global _address
    (address,) = sys.argv[1:]
    follower.Popen, _address = Process, lambda: address
    connect("http://127.0.0.1:9")
    for name in NEEDED:
        importlib.import_module(name)
    gc.freeze()  # or each fork would copy what the collector looks through
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if os.fork() == 0:
                break
            connection.close()
            _forget_ended()
        else:
            return
    _answer(connection)
    from podium.cli import main as podium

    podium()


def _forget_ended() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket) -> None:
    """Forks once more; the new process returns, and this one tells of its end."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("rb") as stream:
        request = json.load(stream)
    process = os.fork()
    if process:
        _tell_end(connection, process)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate([nothing, *descriptors]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["is_session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["podium", *request["arguments"]]
    sys.path[0] = request["folder"]
    tempfile.tempdir = None


def _tell_end(connection: socket.socket, process: int) -> NoReturn:
    with suppress(BrokenPipeError):
        connection.sendall(struct.pack("i", process))
    _, status = os.waitpid(process, 0)
    with suppress(BrokenPipeError):
        connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
    os._exit(0)


if __name__ == "__main__":
    main()

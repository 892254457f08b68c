"""What faults are tried on: one Ray and one MLflow server of our own, for many sweeps."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

TESTS = Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS))  # where pytest has put it already

from tracking_server import Server  # noqa: E402

START_S = 300.0


class Services:
    """A running Ray and a running MLflow server.

    Args:
        ray: The address of the Ray.
        head: The process that started it.
        server: The MLflow server.
        environment: What a process needs in order to join them.
    """

    def __init__(self, ray: str, head: psutil.Process, server: Server, environment: Mapping[str, str]) -> None:
        self.ray, self.environment, self.tracking_uri = ray, environment, server.address
        self._head, self._server = head, server
        self._pool = ThreadPoolExecutor(1)
        self._starting: Future[None] | None = None

    def workers(self) -> list[psutil.Process]:
        """The ranks on this Ray."""
        return [process for process in self._head.children(recursive=True) if has_words(process, "ray::Rank")]

    def restart_server(self) -> None:
        """Kills the MLflow server, and starts it again meanwhile."""
        self.wait_for_server()
        self._server.kill()
        self._starting = self._pool.submit(self._server.start)

    def wait_for_server(self) -> None:
        """Waits until a server that was killed answers again."""
        if self._starting is not None:
            self._starting.result()

    def close(self) -> None:
        """Ends the MLflow server."""
        self.wait_for_server()
        self._pool.shutdown()
        self._server.kill()


@contextmanager
def running_services(folder: Path) -> Iterator[Services]:
    """A Ray with two CPUs and an MLflow server, with their files in `folder`; both end with the block."""
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": os.urandom(32).hex(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS.parent / "platform"), os.environ.get("PYTHONPATH")])),
    }
    server = Server(folder / "mlflow")
    with running_ray(folder / "ray.log", environment) as (address, head):
        server.start()
        services = Services(address, head, server, environment)
        try:
            yield services
        finally:
            services.close()


@contextmanager
def running_ray(log: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """The head of a Ray: its address and its process."""
    port = _free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}"]
    command += ["--num-cpus=2", "--object-store-memory=100000000", "--disable-usage-stats", "--include-dashboard=false"]
    command += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
    command += ["--metrics-export-port=0", "--log-color=false"]
    with (
        tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short,
        log.open("wb") as output,
    ):
        command += [f"--temp-dir={short}"]
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            deadline = time.monotonic() + START_S
            while "Ray runtime started" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            _, _, rest = log.read_text().partition("Local node IP: ")
            yield f"{rest.split()[0]}:{port}", psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(START_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def has_words(process: psutil.Process, *parts: str) -> bool:
    """Whether each part stands in a word of a process's command line."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return all(any(part in word for word in words) for part in parts)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port

"""A real S3 server in a process of its own, for tests."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """Where it listens."""

    host: str
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it, and nothing else of the kind."""
        return {
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.port}",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "a secret of the tests",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def make_bucket(self, name: str) -> None:
        """Makes a bucket."""
        request = urllib.request.Request(f"http://{self.host}:{self.port}/{name}", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()


@dataclass(frozen=True)
class Store:
    """A store in a bucket of its own.

    Attributes:
        address: What `--store` takes.
        environment: What a process that uses it needs.
    """

    address: str
    environment: dict[str, str] = field(repr=False)


@contextmanager
def running(host: str = "127.0.0.1", port: int = 0, before: tuple[str, ...] = ()) -> Iterator[Server]:
    """Starts a server, and ends it with the block.

    Args:
        host: The address to listen on.
        port: Where to listen; 0 takes a free port.
        before: What its command line begins with, to start it somewhere else.
    """
    server = Server(host, port or _free_port())
    command = [*before, sys.executable, "-m", "moto.server", "--host", host, "--port", str(server.port)]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"MOTO_S3_CUSTOM_ENDPOINTS": ""})
        try:
            deadline = time.monotonic() + 300
            while "Running on" not in Path(log.name).read_text():
                assert process.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline, Path(log.name).read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port

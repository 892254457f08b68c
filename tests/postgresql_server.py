"""A PostgreSQL of the tests' own."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "podium"
PASSWORD = secrets.token_hex(8)


class Server:
    """A server on a free port, with databases that are made when asked for.

    Args:
        binaries: The folder with PostgreSQL's programs.
        folder: An empty folder, which it may be given to the server's user.
        host: The address to listen on.
        before: What its command line begins with, to start it somewhere else.
    """

    def __init__(self, binaries: Path, folder: Path, host: str = "127.0.0.1", before: tuple[str, ...] = ()) -> None:
        self._binaries, self._data = binaries, folder / "data"
        self._host, self._before = host, before
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._databases = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            for path in (folder, secret):
                shutil.chown(path, "postgres")
        command = ["initdb", "-D", self._data, "-U", USER, "--pwfile", secret, "--auth=scram-sha-256"]
        subprocess.run(self._as_user(*command), check=True, capture_output=True, cwd=folder)
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {host}/24 scram-sha-256\n")

    def start(self) -> None:
        """Starts it and waits until it answers."""
        where = ["-D", self._data, "-h", self._host, "-p", str(self.port), "-k", self._data]
        command = [*self._before, *self._as_user("postgres", *where)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._data.parent)
        deadline = time.monotonic() + 300
        ready = [self._binaries / "pg_isready", "-h", self._data, "-p", str(self.port)]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, self._log.read_text()
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.1)

    def stop(self, number: int = signal.SIGINT) -> None:
        """Ends it by a signal to its main process."""
        assert self._process is not None
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), number)
        self._process.wait(30)

    def new_database(self) -> str:
        """The address of an empty database."""
        import psycopg

        self._databases += 1
        name = f"test{self._databases}"
        with psycopg.connect(self.address_here("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self.address(name)

    def address(self, database: str) -> str:
        """The address of a database, password and all."""
        return f"postgresql://{USER}:{PASSWORD}@{self._host}:{self.port}/{database}"

    def address_here(self, database: str) -> str:
        """The like for the processes of this machine, whatever network they are in: over a file."""
        return f"postgresql://{USER}:{PASSWORD}@/{database}?host={self._data}&port={self.port}"

    def _as_user(self, program: str, *arguments: object) -> list[str]:
        command = [str(self._binaries / program), *map(str, arguments)]
        return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


def find_binaries() -> Path | None:
    """The folder of the newest PostgreSQL installed; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if found:
        return found[-1]
    program = shutil.which("postgres")
    return None if program is None else Path(program).parent


@contextmanager
def running(binaries: Path, host: str = "127.0.0.1", before: tuple[str, ...] = ()) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="podium-postgresql-") as folder:
        Path(folder).chmod(0o755)
        server = Server(binaries, Path(folder), host, before)
        server.start()
        try:
            yield server
        finally:
            server.stop()

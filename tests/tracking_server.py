"""A real MLflow server that tests may kill, and a proxy before it that behaves as badly as a network can."""

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal

from empty_runs import make_empty_runs

Mode = Literal["pass", "slow", "error", "hang", "lose", "flaky", "refuse", "deny"]

HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class Server:
    """MLflow over SQLite on a free port of loopback, with one worker."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._runs = make_empty_runs(folder / "mlflow.db")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it where it was, and waits until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", self._runs]
        command += ["--artifacts-destination", str(self.folder / "files")]
        settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        log = self.folder / "log"
        with log.open("a") as file:
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=file, stderr=file, start_new_session=True, env=os.environ | settings
            )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            assert self._process.poll() is None, log.read_text()
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(log.read_text())

    def kill(self) -> None:
        """Kills it with its workers, at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None


class Proxy:
    """Passes calls on to a server, or what `mode` says instead.

    pass: as they come; slow: `slow_s` seconds later; error: answers 500; hang: does not answer while the mode lasts;
    lose: carries the call out and answers 500; flaky: loses or refuses to carry out one call of ten; refuse: does not
    listen; deny: answers 401.
    """

    def __init__(self, target: str) -> None:
        self._target, self._port = target.removeprefix("http://"), _free_port()
        self.address = f"http://127.0.0.1:{self._port}"
        self.calls, self.slow_s = 0, 2.0
        self._mode: Mode = "refuse"
        self._changed = threading.Event()
        self._listener: ThreadingHTTPServer | None = None
        self._chance = random.Random(0)

    @property
    def mode(self) -> Mode:
        """How it behaves; it can be set."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        was_listening, self._mode = self._listener is not None, mode
        self._changed.set()
        self._changed = threading.Event()
        if mode == "refuse":
            self.close()
        elif not was_listening:
            self._listen()

    def close(self) -> None:
        """Stops listening."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener = None

    def _listen(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                proxy._handle(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Calls are no news."""

        class Listener(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hung up is no news."""

        self._listener = Listener(("127.0.0.1", self._port), Handler)
        threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True).start()

    def _handle(self, call: BaseHTTPRequestHandler) -> None:
        self.calls += 1
        mode, changed = self._mode, self._changed
        body = call.rfile.read(int(call.headers.get("Content-Length") or 0))
        if mode == "flaky":
            (mode,) = self._chance.choices(["pass", "lose", "error"], [18, 1, 1])
        if mode == "refuse":
            call.close_connection = True
            return
        if mode == "slow":
            changed.wait(self.slow_s)
        if mode == "hang":
            changed.wait()
            call.close_connection = True
            return
        if mode in ("error", "deny"):
            status, headers, content = (500 if mode == "error" else 401), [], b"no"
        else:
            status, headers, content = self._pass_on(call, body)
            if mode == "lose":
                status, content = 500, b"lost"
        call.send_response(status)
        for name, value in headers:
            if name.lower() not in HOP:
                call.send_header(name, value)
        call.send_header("Content-Length", str(len(content)))
        call.end_headers()
        call.wfile.write(content)

    def _pass_on(self, call: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._target, timeout=300)
        try:
            headers = {name: value for name, value in call.headers.items() if name.lower() not in HOP}
            connection.request(call.command, call.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except OSError:
            return 502, [], b"no server"
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port

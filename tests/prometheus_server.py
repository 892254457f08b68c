"""Debian's Prometheus with the configuration of dashboards/prometheus, and questions to it."""

import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "dashboards" / "prometheus"

BINARIES = ("prometheus", "promtool")


def missing() -> str:
    """Which of the programs are not installed."""
    return ", ".join(name for name in BINARIES if shutil.which(name) is None)


def configure(folder: Path, port: int, targets: str, ray: str) -> Path:
    """The configuration as it is shipped, but for addresses and paths, and with a second between questions."""
    tree = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    tree["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    tree["rule_files"] = [str(FOLDER / name) for name in tree["rule_files"]]
    jobs = {job["job_name"]: job for job in tree["scrape_configs"]}
    jobs["podium"]["file_sd_configs"] = [{"files": [targets], "refresh_interval": "1s"}]
    del jobs["ray"]["http_sd_configs"]
    jobs["ray"]["static_configs"] = [{"targets": [ray]}]
    jobs["prometheus"]["static_configs"] = [{"targets": [f"127.0.0.1:{port}"]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(tree))
    return path


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """What its HTTP interface answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        """The series that an expression gives now, with their values."""
        found = self.ask("query", query=expression)
        assert found["resultType"] == "vector"
        return [(each["metric"], float(each["value"][1])) for each in found["result"]]

    def is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"{self._address}/-/ready", timeout=5).close()
        except OSError:
            return False
        return True


@contextmanager
def running(folder: Path, targets: str, ray: str) -> Iterator[Prometheus]:
    """A Prometheus for as long as the block lasts.

    Args:
        folder: For its data and its log.
        targets: The files that name drivers.
        ray: Where a Ray tells its metrics, `ADDRESS:PORT`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = configure(folder, port, targets, ray)
    subprocess.run(["promtool", "check", "config", configuration], check=True, capture_output=True)
    command = [
        "prometheus",
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        server, deadline = Prometheus(port), time.monotonic() + 60
        try:
            while not server.is_ready():
                is_late = process.poll() is not None or time.monotonic() > deadline
                assert not is_late, (folder / "log").read_text()
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()

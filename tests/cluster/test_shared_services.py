"""`podium up`, for real: a sweep whose ledger, runs and store are with shared services, and where no secret is left."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import s3_server
from test_hosts import free_block
from wiring_cases import TRAIN

from podium.wiring.clusters.http import ask, basic
from podium.wiring.clusters.postgresql import find_binaries

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HANG_S = 300
USER, PASSWORD, WRONG = "anna", "annas own word for it", "not-annas-own-word"
PATIENT = {"RAY_health_check_timeout_ms": "60000", "RAY_raylet_liveness_self_check_interval_ms": "60000"}
"""A Ray of one host that a busy machine keeps waiting is not given up."""

SWEEP = """
sweep: NAME
task: train.py:train
search:
  objective: {metric: score, direction: maximize}
  space: {x: {float: [0, 1]}}
budget: {trials: 2, policy: none, epochs: {min: 1, max: 3}}
tracking: {plots: false}
"""


@dataclass(frozen=True)
class Server:
    """What `podium up` started, and all that anybody has printed since."""

    folder: Path
    addresses: dict[str, Any]
    store: str
    environment: dict[str, str] = field(repr=False)
    process: "subprocess.Popen[str]"
    said: list[str] = field(default_factory=list)

    @property
    def mlflow(self) -> str:
        return str(self.addresses["mlflow"]["url"])

    def secret(self, name: str) -> str:
        return (self.folder / "server" / "secrets" / name).read_text()

    def on_a_host(self) -> dict[str, str]:
        """The environment of a host that has read the hosts' file."""
        command = ["bash", "-c", f". {self.addresses['hosts_file']} && env -0"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return dict(line.split("=", 1) for line in done.stdout.split("\0") if line)

    def podium(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """Runs a command as on a host; returns its code, its JSON and what it said."""
        where = ["--home", "home", "--store", self.store]
        return self.run([*arguments, *where], self.on_a_host() | environment)

    def on_a_laptop(self, *arguments: str, **environment: str) -> tuple[int, dict[str, Any], str]:
        """The like on a machine that has nothing but the token."""
        return self.run(list(arguments), {**self.environment, "XDG_CONFIG_HOME": str(self.folder), **environment})

    def run(self, arguments: list[str], environment: dict[str, str]) -> tuple[int, dict[str, Any], str]:
        """Runs a command and keeps what it prints."""
        command = [sys.executable, "-m", "podium", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        self.said.extend([done.stdout, done.stderr])
        return done.returncode, json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}, done.stderr

    def write(self, name: str) -> str:
        (self.folder / f"{name}.yaml").write_text(SWEEP.replace("NAME", name))
        (self.folder / "train.py").write_text(TRAIN)
        return f"{name}.yaml"

    def rows(self, database: str, role: str) -> list[str]:
        """Every row of every table of a database, as text."""
        host, port = self.addresses["ledger"].rpartition("@")[2].partition("/")[0].split(":")
        login = {"host": host, "port": port, "user": role, "password": self.secret(f"database-{role}")}
        with psycopg.connect(**login, dbname=database) as connection:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            tables = [name for (name,) in connection.execute(query).fetchall()]
            return [
                row for table in tables for (row,) in connection.execute(f'SELECT t::text FROM "{table}" t').fetchall()
            ]


@pytest.fixture(scope="module")
def server(s3: s3_server.Server, root: Path) -> Iterator[Server]:
    """The services of a cluster on this machine; everything is ended by their one process."""
    try:
        find_binaries()
    except Exception as missing:
        pytest.skip(str(missing))
    s3.make_bucket("shared")
    # PostgreSQL runs as another user, to whom pytest's folders are closed; Ray's sockets need a short path
    with tempfile.TemporaryDirectory(prefix="up-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with running(Path(name), root, s3) as server:
            yield server


@contextmanager
def running(folder: Path, root: Path, s3: s3_server.Server) -> Iterator[Server]:
    """`podium up` in a folder, with a user of MLflow's."""
    first = free_block(260, 23000)
    ports = dict(zip(("database", "mlflow", "ray", "dashboard", "nodes", "workers"), (*range(5), 45), strict=True))
    at = {name: first + offset for name, offset in ports.items()}
    (folder / "settings.yaml").write_text(
        f"""
name: lab
address: 127.0.0.1
folder: server
store: s3://shared/store
database: {{port: {at["database"]}}}
mlflow: {{port: {at["mlflow"]}, workers: 1, artifacts: "s3://shared/mlflow"}}
ray:
  script: {root / "cluster" / "hosts" / "head.sh"}
  port: {at["ray"]}
  dashboard_port: {at["dashboard"]}
  node_ports: {at["nodes"]}
  worker_ports: {at["workers"]}
  options: [--num-cpus=1, --object-store-memory=100000000, "--temp-dir={folder / "ray"}"]
"""
    )
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PODIUM_"))}
    token = str(folder / "token")
    ray = {"RAY_AUTH_TOKEN_PATH": token, "RAY_AUTH_MODE": "token", **PATIENT}
    environment = {**inherited, **s3.environment, **ray}
    command = [sys.executable, "-m", "podium", "up", "settings.yaml", "--json"]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err, text=True)
    try:
        deadline = time.monotonic() + 2 * HANG_S
        while not (folder / "out").read_text():
            assert process.poll() is None, (folder / "err").read_text()
            assert time.monotonic() < deadline, (folder / "err").read_text()
            time.sleep(0.2)
        addresses = json.loads((folder / "out").read_text())
        server = Server(folder, addresses, "s3://shared/store", environment, process)
        admin = basic("admin", server.secret("mlflow-admin"))
        body = {"username": USER, "password": PASSWORD}
        assert ask(f"{server.mlflow}/api/2.0/mlflow/users/create", admin, body).status == 200
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(HANG_S)


def runs(server: Server, sweep: str) -> list[dict[str, Any]]:
    """A sweep's runs, as the admin sees them."""
    admin = basic("admin", server.secret("mlflow-admin"))
    api = f"{server.mlflow}/api/2.0/mlflow"
    answer = ask(f"{api}/experiments/get-by-name?experiment_name={sweep}", admin)
    assert answer.status == 200, answer
    experiment = json.loads(answer.content)["experiment"]["experiment_id"]
    found = json.loads(ask(f"{api}/runs/search", admin, {"experiment_ids": [experiment]}).content)
    return list(found.get("runs", []))


def test_a_sweep_keeps_everything_with_the_shared_services(server: Server) -> None:
    login = {"MLFLOW_TRACKING_USERNAME": USER, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    code, summary, said = server.podium("launch", server.write("shared"), "--cluster", "inline", **login)
    assert code == 0, said
    assert (summary["state"], summary["trials"]["total"]) == ("finished", 2)
    assert not list(server.folder.rglob("ledger.db"))
    assert not list(server.folder.rglob("mlflow.db"))
    assert any("shared" in row for row in server.rows("podium", "podium"))
    shown = runs(server, "shared")
    assert len(shown) == 3
    assert {run["info"]["status"] for run in shown} == {"FINISHED"}
    assert all(run["info"]["artifact_uri"].startswith("mlflow-artifacts:") for run in shown)
    s3 = objects(server)
    assert any("store/logs/shared" in name for name in s3)
    assert any(name.startswith("shared/mlflow/") for name in s3)


def test_a_wrong_password_stops_no_sweep_and_is_told(server: Server) -> None:
    address = server.mlflow.replace("://", f"://{USER}:{WRONG}@")
    nobody = {"MLFLOW_TRACKING_USERNAME": "", "MLFLOW_TRACKING_PASSWORD": "", "MLFLOW_TRACKING_URI": address}
    code, summary, said = server.podium("launch", server.write("unseen"), "--cluster", "inline", **nobody)
    assert code == 0, said
    assert summary["state"] == "finished"
    assert "refuses what it is told" in said
    code, _, said = server.podium("sync", "unseen", **nobody)
    assert code == 2
    assert "lets nobody in" in said
    assert "***@127.0.0.1" in said
    code, shown, _ = server.podium("ui", **nobody)
    assert code == 0
    assert shown["url"].startswith("http://***@127.0.0.1")
    code, _, said = server.podium("sync", "unseen")
    assert code == 0, said
    assert len(runs(server, "unseen")) == 3


def test_the_doctor_finds_all_well_from_a_laptop(server: Server) -> None:
    code, _, said = server.on_a_laptop("cluster", "add", "lab", server.addresses["ray"]["dashboard"])
    assert code == 0, said
    code, report, said = server.on_a_laptop("doctor", "--cluster", "lab")
    assert code == 0, (said, report)
    told = {finding["what"]: finding["found"] for finding in report["findings"]}
    assert told["token"] == "accepted"
    assert told["podium here"].endswith("as there")
    assert told["ray here"].endswith("as there")
    assert "clock here" in told
    assert told["store"].startswith(server.store)
    assert told["ledger"] == f"{server.addresses['ledger']}, from every host"
    assert told["MLflow"] == f"{server.mlflow}, from every host"
    assert "Asking 1 hosts" in said, "the cluster's progress is shown here"


@pytest.mark.parametrize(("token", "found"), [("0" * 64, "refused"), ("", "there is none here")])
def test_the_doctor_tells_what_is_wrong_with_the_token(server: Server, token: str, found: str) -> None:
    given = {"RAY_AUTH_TOKEN": token, "RAY_AUTH_TOKEN_PATH": str(server.folder / "nowhere")}
    code, report, said = server.on_a_laptop("doctor", "--cluster", server.addresses["ray"]["dashboard"], **given)
    assert code == 1, said
    (complaint,) = [finding for finding in report["findings"] if not finding["is_well"]]
    assert complaint["what"] == "token"
    assert found in complaint["found"]
    assert "auth_token" in complaint["fix"]


def test_strangers_are_kept_out(server: Server) -> None:
    users, jobs = f"{server.mlflow}/api/2.0/mlflow/users/list", f"{server.addresses['ray']['dashboard']}/api/jobs/"
    for url, wrong in ((users, basic(USER, WRONG)), (jobs, "Bearer " + "0" * 64)):
        assert ask(url).status in (401, 403), url
        assert ask(url, wrong).status in (401, 403), url
    create, body = users.replace("list", "create"), {"username": "eve", "password": "eves own word for it"}
    assert ask(create, basic(USER, PASSWORD), body).status == 403, "who is no admin makes no users"
    assert ask(jobs, f"Bearer {(server.folder / 'token').read_text()}").status == 200
    request = urllib.request.Request(users, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=HANG_S)
    refused.value.close()
    assert refused.value.code == 403


def test_a_service_that_dies_comes_back(server: Server) -> None:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    database = next(int(pid) for pid in children if "postgres" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(database, signal.SIGKILL)
    deadline = time.monotonic() + HANG_S
    while time.monotonic() < deadline:
        try:
            assert any(USER in row for row in server.rows("mlflow_auth", "mlflow"))
            break
        except psycopg.OperationalError:
            time.sleep(0.2)
    assert "PostgreSQL has ended" in (server.folder / "err").read_text()
    code, _, said = server.podium("list")
    assert code == 0, said


def test_no_secret_is_left_anywhere(server: Server) -> None:
    """In no row of ledger and runs, no object of the store and of runs, no log, no output and no command line."""
    names = ("postgresql", "database-podium", "database-mlflow", "mlflow-admin", "mlflow-cluster", "mlflow-sessions")
    secrets = [server.secret(name) for name in names]
    token = (server.folder / "token").read_text().strip()
    secrets += [token, PASSWORD, WRONG, server.environment["AWS_SECRET_ACCESS_KEY"]]
    places = {
        "ledger": "\n".join(server.rows("podium", "podium")),
        "runs": "\n".join(server.rows("mlflow", "mlflow")),
        "users": "\n".join(server.rows("mlflow_auth", "mlflow")),
        "output": "\n".join(server.said),
        **{f"object {name}": content for name, content in objects(server).items()},
        **{f"process {pid}": line for pid, line in command_lines(server.process.pid)},
    }
    own = {server.folder / "server" / "secrets", server.folder / "server" / "database", server.folder / "token"}
    for path in server.folder.rglob("*"):
        if path.is_file() and not own & {path, *path.parents}:
            places[str(path)] = path.read_bytes().decode(errors="replace")
    assert len(places) > 20
    assert any("process" in place for place in places)
    found = [place for place, text in places.items() if any(secret in text for secret in secrets)]
    assert not found


def test_everything_ends_with_the_one_process(server: Server) -> None:
    started = [pid for pid, _ in command_lines(server.process.pid)]
    assert len(started) > 8
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(HANG_S) == 0
    left = [Path(f"/proc/{pid}/stat") for pid in started if Path(f"/proc/{pid}").exists()]
    assert not [path for path in left if path.read_text().split()[2] != "Z"]


def objects(server: Server) -> dict[str, str]:
    """All that lies in the bucket."""
    endpoint = server.environment["AWS_ENDPOINT_URL"]
    from s3fs import S3FileSystem

    system = S3FileSystem(
        endpoint_url=endpoint,
        key=server.environment["AWS_ACCESS_KEY_ID"],
        secret=server.environment["AWS_SECRET_ACCESS_KEY"],
        skip_instance_cache=True,
    )
    return {name: system.cat_file(name).decode(errors="replace") for name in system.find("shared")}


def command_lines(parent: int) -> list[tuple[int, str]]:
    """The processes below one, with their command lines."""
    below = []
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        try:
            below.append((int(pid), Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")))
            below += command_lines(int(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return below

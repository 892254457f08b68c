"""What `podium up` refuses before it starts anything, and how services are kept, without the heavy ones."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer

import pytest
import sqlalchemy as sa
from postgresql_server import PASSWORD, USER, Server
from wiring_cases import podium_here

from podium.errors import SpecError, UserError
from podium.spec.files import read_settings
from podium.spec.server import ServerSettings
from podium.wiring.clusters import postgresql as databases
from podium.wiring.clusters.http import status_of
from podium.wiring.clusters.postgresql import Own
from podium.wiring.clusters.processes import Service, Services
from podium.wiring.clusters.server import Server as ServerOf
from podium.wiring.clusters.vault import Vault

SETTINGS = """
name: lab
address: 127.0.0.1
folder: server
ray: {script: head.sh}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "head.sh").write_text("exit 1")
    (folder / "head.sh").chmod(0o755)
    path = folder / "settings.yaml"
    path.write_text(text)
    return path


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: lab\naddress: 0.0.0.0\nfolder: f\nray: {script: s}", "2: address: 0.0.0.0 is every address"),
        ("name: lab\naddress: lab\nfolder: f\nray: {script: s}", "2: address: must be an IPv4 address"),
        ("name: lab\naddress: fd00::1\nfolder: f\nray: {script: s}", "2: address: must be an IPv4 address"),
        ("name: lab\naddress: '::ffff:0.0.0.0'\nfolder: f\nray: {script: s}", "2: address: must be an IPv4 address"),
        (SETTINGS + "mlflow:\n  prt: 1", "7: mlflow.prt: unknown key; did you mean 'port'?"),
        (SETTINGS + "mlflow: {port: 0}", "6: mlflow.port: must be at least 1, and is 0"),
        (SETTINGS + "database: {address: 'postgresql://me:secret@db'}", "6: database.address: must be postgresql://"),
        (SETTINGS + "database: {address: 'postgresql://me@db:port'}", "6: database.address: must be postgresql://"),
        (SETTINGS + "database: {address: 'postgresql://me@db:1,b:2'}", "6: database.address: must be postgresql://"),
        (SETTINGS + "database: {address: 'postgresql://me@db?password=secret'}", "and has 'password'"),
        (SETTINGS + "database: {address: 'postgresql://me@db/x?connect_timeout=5'}", "and has 'connect_timeout'"),
        (SETTINGS + "database: {password_file: x}", "password_file is for a database at an address"),
        (SETTINGS + "database: {address: 'postgresql://me@db', port: 1}", "port is for our own database"),
        ("- a", "must be a mapping of keys (`name`, `address`, `folder`, `ray`)"),
    ],
)
def test_settings_are_refused_with_file_and_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        read_settings(write(tmp_path, text), ServerSettings)
    assert said in str(refused.value)
    assert "settings.yaml" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_example_is_read(root: Path) -> None:
    file = read_settings(root / "cluster" / "server" / "settings.yaml", ServerSettings)
    assert (file.path.parent / file.settings.ray.script).resolve() == root / "cluster" / "hosts" / "head.sh"


def with_ports(**ports: object) -> str:
    """Settings with ports that nobody has, but for those given: lines below `database`, `mlflow` and `ray`."""
    free = {name: f"port: {free_port()}" for name in ("database", "mlflow", "ray")} | ports
    lines = SETTINGS.replace("ray: {script: head.sh}", "")
    lines += f"ray: {{script: head.sh, {free.pop('ray')}, dashboard_port: {free_port()}}}\n"
    return lines + "\n".join(f"{name}: {{{text}}}" for name, text in free.items())


def test_what_is_in_the_way_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, same = taken.getsockname()[1], free_port()
        cases = {
            with_ports(mlflow=f"port: {port}"): f"mlflow.port: somebody listens at 127.0.0.1:{port}",
            with_ports(database=f"port: {same}", mlflow=f"port: {same}"): f"mlflow.port: {same} is database.port, too",
            with_ports(mlflow=f"port: {free_port()}, artifacts: 's3://nowhere/x'"): "mlflow.artifacts: .probe-",
        }
        for text, said in cases.items():
            outcome = podium_here(tmp_path, "up", str(write(tmp_path, text)))
            assert outcome.code == 2, outcome
            assert said in outcome.problems
            assert "Traceback" not in outcome.problems
            assert not (tmp_path / "server" / "database").exists()
    (tmp_path / "head.sh").chmod(0o644)
    outcome = podium_here(tmp_path, "up", "settings.yaml")
    assert (outcome.code, "chmod +x" in outcome.problems) == (2, True), outcome
    (tmp_path / "head.sh").unlink()
    outcome = podium_here(tmp_path, "up", "settings.yaml")
    assert "ray.script: there is no script" in outcome.problems


def test_a_database_that_is_there_lets_nobody_in(
    postgresql: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, with_ports(database=f"address: 'postgresql://{USER}@127.0.0.1:{postgresql.port}'"))
    for password, said in {
        "": "database.address: set PODIUM_DATABASE_PASSWORD",
        "a wrong word": "password authentication failed",
        PASSWORD: "If the role podium has another password, write it into",
    }.items():
        monkeypatch.setenv("PODIUM_DATABASE_PASSWORD", password)
        outcome = podium_here(tmp_path, "up", "settings.yaml")
        assert outcome.code == 2, outcome
        assert said in outcome.problems
        assert "a wrong word" not in outcome.problems
        assert PASSWORD not in outcome.problems


def test_a_server_is_asked_past_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        assert status_of(f"http://127.0.0.1:{server.server_port}/", "Bearer a-token") == 501


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "secrets")
    made = vault.secret("word")
    assert len(made) == 64
    assert vault.secret("word") == made
    assert vault.path("word").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    vault.path("word").chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        vault.secret("word")


def script(name: str, text: str, answers: Path | None = None) -> Service:
    command = [sys.executable, "-c", text]
    return Service(name, command, {"PATH": os.environ["PATH"]}, lambda: answers is None or answers.exists())


def children() -> set[int]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return {int(process) for process in path.read_text().split()}


def test_a_service_that_does_not_start_ends_those_before_it(tmp_path: Path) -> None:
    before, said = children(), list[str]()
    services = Services(tmp_path, said.append, lambda text: text.replace("word", "***"))
    with pytest.raises(UserError) as refused, services.kept():  # noqa: PT012
        services.start(script("first", "import time; time.sleep(600)"))
        assert len(children() - before) == 1
        services.start(script("second", "exit('no such word')", tmp_path / "never"))
    assert "second ended instead of starting" in str(refused.value)
    assert "no such ***" in str(refused.value)
    assert children() <= before
    assert said == ["Starting first", "Starting second"]


def test_a_service_that_dies_is_started_again_after_pauses_that_grow(tmp_path: Path) -> None:
    before, said, lives = children(), list[str](), tmp_path / "lives"
    lives.touch()

    def hear(text: str) -> None:
        said.append(text)
        if "in 2 s" in text:
            Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()

    text = f"file = open({str(lives)!r}, 'a'); file.write('x'); file.flush(); import time; time.sleep(600)"
    service = script("short", f"{text} if file.tell() == 1 else exit()")
    with Services(tmp_path, hear, str).kept() as services:
        services.start(replace(service, answers=lambda: lives.read_text() == "x"))
        (first,) = children() - before
        os.kill(first, signal.SIGKILL)
        services.watch()
    assert lives.read_text() == "xx"
    assert [line.rpartition("in ")[2] for line in said if "ended" in line] == ["1 s", "2 s"]


def test_a_service_may_have_several_tries_to_start(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    tried.touch()
    text = f"file = open({str(tried)!r}, 'a'); file.write('x'); file.flush(); import time; time.sleep(600)"
    text = f"{text} if file.tell() == 3 else exit('not yet')"
    service = replace(script("late", text), answers=lambda: tried.read_text() == "xxx", tries=3)
    with Services(tmp_path, lambda text: None, str).kept() as services:
        services.start(service)
    assert tried.read_text() == "xxx"
    tried.write_text("xxxx")
    with pytest.raises(UserError, match="late ended instead of starting"), Services(tmp_path, str, str).kept() as them:
        them.start(replace(service, answers=lambda: False, tries=1))


def test_what_a_dead_service_leaves_behind_is_ended_too(tmp_path: Path) -> None:
    left = tmp_path / "left"
    text = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '600']);"
        f"open({str(left)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    with Services(tmp_path, lambda text: None, str).kept() as services:
        services.start(script("parent", text, left))
    deadline = time.monotonic() + 300
    while Path(f"/proc/{left.read_text()}/cmdline").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{left.read_text()}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        assert time.monotonic() < deadline


@pytest.fixture
def own() -> Iterator[sa.URL]:
    """A PostgreSQL of our own; its superuser's address."""
    try:
        binaries = databases.find_binaries()
    except UserError as missing:
        pytest.skip(str(missing))
    with tempfile.TemporaryDirectory(prefix="podium-own-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user, to whom pytest's folders are closed
        server = Own(Path(folder, "database"), "127.0.0.1", free_port(), binaries)
        server.make("a word")
        url = sa.URL.create("postgresql", databases.SUPERUSER, "a word", "127.0.0.1", server.port, "postgres")
        with Services(Path(folder), lambda text: None, str).kept() as services:
            services.start(server.service(lambda: databases.answers(url)))
            yield url


def test_each_role_has_its_databases_alone(own: sa.URL, tmp_path: Path) -> None:
    import psycopg

    address = own.translate_connect_args(username="user", database="dbname")
    with psycopg.connect(**address, autocommit=True) as connection:
        connection.execute("CREATE ROLE maker LOGIN CREATEROLE CREATEDB PASSWORD 'made'")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    maker = own.set(username="maker", password="made")
    with psycopg.connect(**maker.translate_connect_args(username="user", database="dbname"), autocommit=True) as half:
        half.execute("CREATE ROLE mlflow LOGIN PASSWORD 'theirs'")  # as a start leaves it that is killed here
        half.execute("GRANT mlflow TO CURRENT_USER")
        half.execute("CREATE DATABASE mlflow_auth OWNER mlflow")
        half.execute("REVOKE mlflow FROM CURRENT_USER")
    files = {role: tmp_path / role for role in ("podium", "mlflow")}
    for _ in range(2):
        databases.prepare(maker, {"podium": "ours", "mlflow": "theirs"}, files)
    for role, password, database in (("mlflow", "theirs", "podium"), ("podium", "ours", "mlflow_auth")):
        with pytest.raises(UserError, match="permission denied for database"):
            databases.answers(own.set(username=role, password=password, database=database))
    with pytest.raises(UserError, match="a role with CREATEROLE"):
        databases.prepare(own.set(username="guest", password="guest"), {"other": "word"}, files)
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{own.port}"], capture_output=True, text=True, check=True)
    assert [line.split()[3] for line in listening.stdout.splitlines()] == [f"127.0.0.1:{own.port}"]


def test_the_password_of_a_database_is_for_this_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training functions can read the environment of the Ray, and everybody a command line."""
    monkeypatch.setenv("PODIUM_DATABASE_PASSWORD", "a word")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "token")
    monkeypatch.chdir(tmp_path)
    text = (
        SETTINGS + "database: {address: 'postgresql://me@db.lab:5433/postgres?sslmode=require&sslrootcert=/etc/ca.pem'}"
    )
    server = ServerOf(read_settings(write(tmp_path, text), ServerSettings))
    for service in (server.mlflow(), server.ray()):
        assert "a word" not in service.environment.values()
        for secret in (server.vault.secret("mlflow-admin"), *server.passwords.values()):
            assert not [word for word in service.command if secret in word]
    query = "sslmode=require&sslrootcert=%2Fetc%2Fca.pem"
    ledger = f"postgresql://podium:{server.passwords['podium']}@db.lab:5433/podium?{query}"
    assert server.ray().environment["PODIUM_LEDGER"] == ledger
    assert server.ray().environment["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert f"PODIUM_LEDGER='{ledger}'" in server.vault.path("hosts.env").read_text()
    assert server.masked(f"no {ledger}") == f"no postgresql://podium:***@db.lab:5433/podium?{query}"
    assert "***" in server.addresses()["ledger"]

"""PostgreSQL for a server: one of our own in a folder, and the roles and databases in any."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import sqlalchemy as sa

from podium.errors import UserError
from podium.ledger.database import ANSWER_S, shown
from podium.wiring.clusters.processes import Service, as_user

if TYPE_CHECKING:
    from psycopg import Connection

SUPERUSER = "postgres"
"""The role that may do all in a database of our own, and on Debian the user who runs it where root starts it."""

OWNERS = {"podium": "podium", "mlflow": "mlflow", "mlflow_auth": "mlflow"}
"""By database the role that owns it, and that alone may connect to it."""

MOST_CONNECTIONS = 300
"""PostgreSQL's own 100 are fewer than four workers of MLflow take."""


@dataclass(frozen=True)
class Own:
    """A PostgreSQL of our own.

    Attributes:
        folder: Where it keeps its data, in `data` below.
        address: Where it listens, on one address alone.
        port: At which port.
        binaries: Where its programs are.
    """

    folder: Path
    address: str
    port: int
    binaries: Path

    def make(self, password: str) -> None:
        """Makes its data, once; whoever connects needs a password, the superuser the one given.

        Raises:
            UserError: if that fails.
        """
        data, draft = self.folder / "data", self.folder / "draft"
        if data.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self.folder) as secret:
            secret.write(password)
            secret.flush()
            for path in (draft, secret.name):
                self._give(path)
            command = [self.binaries / "initdb", "-D", draft, "-U", SUPERUSER, "--pwfile", secret.name]
            command += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
            done = subprocess.run(  # type: ignore[call-overload]  # noqa: S603
                command, cwd=self.folder, capture_output=True, text=True, check=False, **as_user(self._user)
            )
        if done.returncode:
            raise UserError(f"no database could be made in {self.folder}: {' '.join(done.stderr.split())}")
        (draft / "pg_hba.conf").write_text("host all all all scram-sha-256\n")
        draft.rename(data)

    def service(self, answers: Callable[[], bool]) -> Service:
        """The server as a process."""
        settings = {"unix_socket_directories": "", "max_connections": MOST_CONNECTIONS, "logging_collector": "off"}
        command = [str(self.binaries / "postgres"), "-D", str(self.folder / "data")]
        command += ["-h", self.address, "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return Service("PostgreSQL", command, environment, answers, self._user, signal.SIGINT)

    @property
    def _user(self) -> str:
        """PostgreSQL refuses to run as root."""
        return SUPERUSER if os.geteuid() == 0 else ""

    def _give(self, path: Path | str) -> None:
        if self._user:
            try:
                shutil.chown(path, self._user, self._user)
            except LookupError:
                raise UserError(
                    f"PostgreSQL does not run as root, and there is no user {self._user!r} here; start `podium up` as "
                    "another user"
                ) from None


def find_binaries() -> Path:
    """The folder of the newest PostgreSQL installed.

    Raises:
        UserError: if there is none.
    """
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    program = shutil.which("postgres")
    if not found and program is None:
        raise UserError(
            "PostgreSQL is not installed on this server: apt-get install postgresql, or give database.address"
        )
    return found[-1] if found else Path(program or "").parent


def answers(url: sa.URL) -> bool:
    """Whether the server lets somebody in.

    Raises:
        UserError: if it answers, and does not.
    """
    try:
        _connect(url).close()
    except UserError as error:
        if _is_away(error.__cause__):
            return False
        raise
    return True


def prepare(admin: sa.URL, passwords: Mapping[str, str], where: Mapping[str, Path]) -> None:
    """Makes the roles and the databases that are missing; only owners can connect to them.

    Args:
        admin: A role that may make roles and databases, with its password.
        passwords: By role.
        where: By role the file with its password, for messages.

    Raises:
        UserError: if the server does not let one of them in, or the admin may not do that.
    """
    import psycopg

    try:
        with _connect(admin) as connection:
            for role, password in passwords.items():
                _make_role(connection, role, password)
            for database, owner in OWNERS.items():
                _make_database(connection, database, owner)
    except psycopg.Error as error:
        raise UserError(
            f"{shown(admin)} may not make the roles and databases of Podium: {_said(error)}. Give database.address a "
            "role with CREATEROLE and CREATEDB"
        ) from error
    for database, owner in OWNERS.items():
        url = admin.set(username=owner, password=passwords[owner], database=database)
        try:
            _connect(url).close()
        except UserError as error:
            raise UserError(
                f"{error}. If the role {owner} has another password, write it into {where[owner]}, or set this one by "
                f"ALTER ROLE"
            ) from error


def _make_role(connection: "Connection[Any]", role: str, password: str) -> None:
    from psycopg import sql

    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        # what the server may log is a verifier, never the password
        verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))
    if not _holds(connection, "pg_has_role(%s, 'USAGE')", role):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))


def _make_database(connection: "Connection[Any]", database: str, owner: str) -> None:
    from psycopg import sql

    names = sql.Identifier(database), sql.Identifier(owner)
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone():
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
    if _holds(connection, "has_database_privilege('public', %s, 'CONNECT')", database):
        connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(names[0]))


def _holds(connection: "Connection[Any]", what: LiteralString, name: str) -> bool:
    row = connection.execute(f"SELECT {what}", [name]).fetchone()
    return bool(row and row[0])


def _connect(url: sa.URL) -> "Connection[Any]":
    import psycopg

    try:
        address = url.translate_connect_args(username="user", database="dbname")
        return psycopg.connect(**address, **url.query, autocommit=True, connect_timeout=ANSWER_S)  # type: ignore[arg-type]
    except psycopg.Error as error:
        raise UserError(f"PostgreSQL at {shown(url)} lets nobody in: {_said(error)}") from error


def _is_away(error: BaseException | None) -> bool:
    """Whether nobody answers yet, or the server is still starting."""
    text = str(error)
    return "Connection refused" in text or "starting up" in text


def _said(error: Exception) -> str:
    return " ".join(str(error).split())

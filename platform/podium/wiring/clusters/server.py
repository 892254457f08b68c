"""The services of a cluster as its settings describe them: what each is told, and where it keeps its secrets."""

import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from podium.errors import UserError
from podium.ledger.database import shown
from podium.spec.files import SettingsFile
from podium.spec.server import ServerSettings
from podium.store import refuse_password, require_usable
from podium.wiring.clusters import postgresql
from podium.wiring.clusters.accounts import Account, is_let_in, make_account
from podium.wiring.clusters.http import ask, status_of
from podium.wiring.clusters.processes import Service, is_free
from podium.wiring.clusters.vault import Vault, read_secret

ADMIN, CLUSTER = "admin", "cluster"
"""MLflow's users that are made: who may make others, and in whose name the cluster writes its runs."""

PASSWORD = "PODIUM_DATABASE_PASSWORD"  # noqa: S105
"""The variable with the password of a database that is there."""

HOSTS_FILE = "hosts.env"

RAY_TRIES = 5
"""Ray 2.60 gives its own start up where its agent takes longer than 15 s, as it may on a server that is busy."""

PACKAGES = ("psycopg", "flask_wtf")
"""What the extra `server` adds."""


@dataclass(frozen=True)
class Server:
    """What follows from the settings.

    Attributes:
        file: They.
    """

    file: SettingsFile[ServerSettings]

    @property
    def settings(self) -> ServerSettings:
        """What the file says."""
        return self.file.settings

    @cached_property
    def folder(self) -> Path:
        """Where everything of this server is."""
        return self._path(self.settings.folder)

    @property
    def logs(self) -> Path:
        """Where each service writes what it says."""
        return self.folder / "logs"

    @cached_property
    def vault(self) -> Vault:
        """Its secrets."""
        return Vault(self.folder / "secrets")

    @cached_property
    def admin(self) -> sa.URL:
        """The role that makes the others."""
        database = self.settings.database
        if database.address is None:
            return sa.URL.create(
                "postgresql",
                postgresql.SUPERUSER,
                self.vault.secret("postgresql"),
                self.settings.address,
                database.port,
                "postgres",
            )
        url = sa.make_url(database.address).set(password=self._given_password())
        return url if url.database else url.set(database="postgres")

    @cached_property
    def passwords(self) -> dict[str, str]:
        """By role of the database."""
        return {role: self.vault.secret(f"database-{role}") for role in sorted(set(postgresql.OWNERS.values()))}

    @property
    def password_files(self) -> dict[str, Path]:
        """By role of the database the file with its password."""
        return {role: self.vault.path(f"database-{role}") for role in self.passwords}

    @property
    def tracking_uri(self) -> str:
        """The address of MLflow."""
        return f"http://{self.settings.address}:{self.settings.mlflow.port}"

    @property
    def dashboard(self) -> str:
        """The address at which the Ray takes jobs."""
        return f"http://{self.settings.address}:{self.settings.ray.dashboard_port}"

    @cached_property
    def token_file(self) -> Path:
        """Ray's token, where `head.sh` has it; services run in another folder than this process."""
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser().absolute()

    @cached_property
    def store(self) -> str:
        """What all hosts can read and write."""
        return self._address(self.settings.store or str(self.folder / "store"))

    @cached_property
    def artifacts(self) -> str:
        """Where MLflow keeps files."""
        return self._address(self.settings.mlflow.artifacts or str(self.folder / "artifacts"))

    def check(self) -> None:
        """Finds what would keep a service from starting, and makes the folders.

        Raises:
            UserError: for the first thing found.
        """
        if not all(map(find_spec, PACKAGES)):
            raise UserError(f"`podium up` needs the packages {', '.join(PACKAGES)}: pip install 'podium[server]'")
        if not self._script.is_file():
            raise self.file.problem("ray.script", f"there is no script {self._script}")
        if not os.access(self._script, os.X_OK):
            raise self.file.problem("ray.script", f"{self._script} cannot be executed: chmod +x {self._script}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self.file.problem("folder", f"{self.folder} cannot be used: {error.strerror}") from error
        self._check_ports()
        for key, address in (("store", self.store), ("mlflow.artifacts", self.artifacts)):
            self._check_writable(key, address)

    def masked(self, text: str) -> str:
        """A text without the secrets of this server."""
        for secret in filter(None, (*self.passwords.values(), self.admin.password, *self._account_secrets)):
            text = text.replace(str(secret), "***")
        return text

    def mlflow(self) -> Service:
        """The MLflow server."""
        settings, address = self.settings.mlflow, self.settings.address
        names = dict.fromkeys((address, "localhost", "127.0.0.1", *settings.hosts))
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth"]
        command += ["--host", address, "--port", str(settings.port), "--workers", str(settings.workers)]
        command += ["--artifacts-destination", self.artifacts]
        command += ["--allowed-hosts", ",".join(pattern for name in names for pattern in (name, f"{name}:*"))]
        command += ["--cors-allowed-origins", ",".join(f"http*://{name}:*" for name in names)]
        environment = {
            "MLFLOW_BACKEND_STORE_URI": self._database("mlflow"),
            "MLFLOW_AUTH_CONFIG_PATH": str(self._keep_rules()),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self._account(ADMIN).password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.vault.secret("mlflow-sessions"),
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        health = f"{self.tracking_uri}/health"
        return Service("MLflow", command, {**_inherited(), **environment}, lambda: status_of(health) == 200)

    def make_cluster_account(self) -> None:
        """Makes the user in whose name the cluster writes its runs, if there is none.

        Raises:
            UserError: if MLflow lets neither the cluster nor the admin in.
        """
        cluster, admin = self._account(CLUSTER), self._account(ADMIN)
        if is_let_in(self.tracking_uri, cluster):
            return
        if not is_let_in(self.tracking_uri, admin):
            file = self.vault.path(f"mlflow-{ADMIN}")
            raise UserError(f"MLflow's user {ADMIN} has another password by now; write it into {file}")
        make_account(self.tracking_uri, admin, cluster)

    def ray(self) -> Service:
        """The head of the Ray, which knows where everything is."""
        settings, address = self.settings.ray, self.settings.address
        command = [str(self._script), address, "--include-dashboard=true", f"--dashboard-host={address}"]
        command += [f"--dashboard-port={settings.dashboard_port}", *settings.options]
        variables = self._keep_hosts_file()
        ports = {
            "HEAD_PORT": settings.port,
            "NODE_PORTS": settings.node_ports,
            "WORKER_PORTS": settings.worker_ports,
        }
        environment = {
            **_inherited(),
            **variables,
            **{name: str(port) for name, port in ports.items()},
            "PODIUM_HOME": str(self.folder / "home"),
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
        }
        return Service("Ray", command, environment, self._ray_answers, tries=RAY_TRIES)

    def addresses(self) -> dict[str, Any]:
        """Where everything is, and which files hold secrets."""
        settings = self.settings
        return {
            "cluster": settings.name,
            "ledger": shown(sa.make_url(self._database("podium")).set(drivername="postgresql")),
            "store": self.store,
            "mlflow": {
                "url": self.tracking_uri,
                "admin": ADMIN,
                "password_file": str(self.vault.path(f"mlflow-{ADMIN}")),
            },
            "ray": {
                "address": f"{settings.address}:{settings.ray.port}",
                "dashboard": self.dashboard,
                "token_file": str(self.token_file),
            },
            "hosts_file": str(self.vault.path(HOSTS_FILE)),
            "logs": str(self.logs),
        }

    @property
    def _script(self) -> Path:
        return self._path(self.settings.ray.script)

    @property
    def _account_secrets(self) -> Iterator[str]:
        yield self._account(ADMIN).password
        yield self._account(CLUSTER).password

    def _path(self, text: str) -> Path:
        """A path of the settings, which is relative to their file."""
        return (self.file.path.parent / Path(text).expanduser()).resolve()

    def _address(self, text: str) -> str:
        return text if "://" in text else str(self._path(text))

    def _account(self, name: str) -> Account:
        return Account(name, self.vault.secret(f"mlflow-{name}"))

    def _database(self, name: str) -> str:
        """The address of a database, with its owner's password."""
        owner = postgresql.OWNERS[name]
        url = self.admin.set(
            drivername="postgresql+psycopg", username=owner, password=self.passwords[owner], database=name
        )
        return url.render_as_string(hide_password=False)

    def _given_password(self) -> str:
        file, key = self.settings.database.password_file, "database.password_file"
        if file is not None:
            try:
                return read_secret(self._path(file))
            except UserError as error:
                raise self.file.problem(key, str(error)) from error
        password = os.environ.get(PASSWORD)
        if not password:
            raise self.file.problem("database.address", f"set {PASSWORD}, or give {key}, for the password of its role")
        return password

    def _check_ports(self) -> None:
        settings, seen = self.settings, dict[int, str]()
        ports = {
            "database.port": settings.database.port,
            "mlflow.port": settings.mlflow.port,
            "ray.port": settings.ray.port,
            "ray.dashboard_port": settings.ray.dashboard_port,
        }
        if settings.database.address is not None:
            del ports["database.port"]
        for key, port in ports.items():
            if port in seen:
                raise self.file.problem(key, f"{port} is {seen[port]}, too; give each service a port of its own")
            if not is_free(settings.address, port):
                raise self.file.problem(
                    key, f"somebody listens at {settings.address}:{port}, or it is no address of this server"
                )
            seen[port] = key

    def _check_writable(self, key: str, address: str) -> None:
        try:
            refuse_password(address)
            if "://" in address:
                require_usable(address)
            else:
                Path(address).mkdir(parents=True, exist_ok=True)
        except (UserError, OSError) as error:
            raise self.file.problem(key, str(error.__cause__ or error)) from error

    def _keep_rules(self) -> Path:
        """MLflow's rules about its users; the address of their database is among them."""
        rules = {
            "default_permission": self.settings.mlflow.permission,
            "database_uri": self._database("mlflow_auth").replace("%", "%%"),
            "admin_username": ADMIN,
            "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
            "auth_cache_ttl_seconds": 60,
        }
        self.vault.keep("mlflow.ini", "\n".join(["[mlflow]", *(f"{key} = {value}" for key, value in rules.items())]))
        return self.vault.path("mlflow.ini")

    def _keep_hosts_file(self) -> Mapping[str, str]:
        """Writes what every host of the cluster has to know, as a shell reads it; also returns it."""
        variables = {
            "PODIUM_LEDGER": self._database("podium").replace("+psycopg", ""),
            "PODIUM_STORE": self.store,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_TRACKING_USERNAME": CLUSTER,
            "MLFLOW_TRACKING_PASSWORD": self._account(CLUSTER).password,
        }
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
        self.vault.keep(HOSTS_FILE, "".join(lines))
        return variables

    def _ray_answers(self) -> bool:
        """Whether the dashboard takes our token, and knows of a host: it answers before the head itself has joined."""
        if not self.token_file.exists():
            return False
        try:
            answer = ask(f"{self.dashboard}/nodes?view=hostNameList", f"Bearer {read_secret(self.token_file)}")
            return answer.status == 200 and bool(json.loads(answer.content)["data"]["hostNameList"])
        except (OSError, ValueError, KeyError):
            return False


def _inherited() -> dict[str, str]:
    """The environment of this process, without what is for it alone: training functions can read that of the Ray."""
    return {
        name: value
        for name, value in os.environ.items()
        if name != PASSWORD and not name.startswith(("MLFLOW_TRACKING_", "PGPASS"))
    }

"""Settings of a server: the services that the hosts of a cluster share, and where they listen. Pure."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator, model_validator

from podium.spec.settings import Settings

Port = Annotated[int, Field(ge=1, le=65535)]

_POSTGRESQL = re.compile(
    r"postgresql://[^:/?@\s]+@([^\[\]:/?@,\s]+|\[[0-9A-Fa-f:]+\])(:\d{1,5})?(/[^/?@\s]*)?(\?(?P<query>\S+))?"
)
_FOR_ALL = re.compile(r"(ssl(?!password)|gss|channel_binding|require_auth|keepalives|tcp_user_timeout)\w*=[^&=]+")
"""What a query may hold: who connects, to what and for how long is said elsewhere."""


class DatabaseSettings(Settings):
    """The PostgreSQL that holds the ledger, MLflow's runs and MLflow's users.

    Attributes:
        address: One that runs already, `postgresql://ROLE@HOST:PORT`, without its password. Default: one of our own.
        password_file: The file with the role's password. Default: PODIUM_DATABASE_PASSWORD in the environment.
        port: Where our own listens.
    """

    address: str | None = None
    password_file: str | None = None
    port: Port = 5432

    @field_validator("address")
    @classmethod
    def _has_no_password(cls, address: str | None) -> str | None:
        if address is None:
            return None
        found = _POSTGRESQL.fullmatch(address)
        if not found:
            raise ValueError(
                "must be postgresql://ROLE@HOST:PORT, without a password: that stands in password_file, or in "
                "PODIUM_DATABASE_PASSWORD in the environment"
            )
        for setting in found["query"].split("&") if found["query"] else ():
            if not _FOR_ALL.fullmatch(setting):
                raise ValueError(
                    f"the query may say how all connections are made, such as sslmode=verify-full, and has "
                    f"{setting.partition('=')[0]!r}; a password stands in password_file, or in "
                    "PODIUM_DATABASE_PASSWORD in the environment"
                )
        return address

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "DatabaseSettings":
        given = {"port"} if self.address else {"password_file"}
        for name in given & self.model_fields_set:
            whose = "our own database; the address has its own" if self.address else "a database at an address"
            raise ValueError(f"{name} is for {whose}")
        return self


class MlflowSettings(Settings):
    """The MLflow server.

    Attributes:
        port: Where it listens.
        workers: Its processes.
        artifacts: Where it keeps files of runs and models: a folder of the server or s3://BUCKET/PREFIX. Default:
            `artifacts` in the server's folder.
        hosts: Further names by which browsers and clients call it, say `mlflow.lab`.
        permission: What users may do with the experiments and models of others, unless they are told otherwise.
    """

    port: Port = 5000
    workers: int = Field(default=2, ge=1)
    artifacts: str | None = None
    hosts: Annotated[tuple[str, ...], Strict(False)] = ()
    permission: Literal["NO_PERMISSIONS", "READ", "EDIT", "MANAGE"] = "READ"


class RaySettings(Settings):
    """The head of the Ray cluster.

    Attributes:
        script: What starts it: the path of `cluster/hosts/head.sh`.
        port: Where other hosts join it.
        dashboard_port: Where its jobs are submitted.
        node_ports: The first of thirty-six ports of its own.
        worker_ports: The first of two hundred ports of its workers.
        options: Further options of `ray start`, say `--num-cpus=0` for a head that trains nothing.
    """

    script: str
    port: Port = 6379
    dashboard_port: Port = 8265
    node_ports: Port = 6380
    worker_ports: Port = 10100
    options: Annotated[tuple[str, ...], Strict(False)] = ()


class ServerSettings(Settings):
    """What `podium up` starts.

    Attributes:
        name: How people call the cluster.
        address: The IPv4 address of this server by which the other hosts reach it.
        folder: Where its secrets, its database, its logs and its home are.
        store: Where all hosts find checkpoints, shards and code. Default: `store` in the folder.
        database: The PostgreSQL.
        mlflow: The MLflow server.
        ray: The head of the Ray cluster.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")
    address: str
    folder: str
    store: str | None = None
    database: DatabaseSettings = DatabaseSettings()
    mlflow: MlflowSettings = MlflowSettings()
    ray: RaySettings

    @field_validator("address")
    @classmethod
    def _is_one_address(cls, address: str) -> str:
        try:
            is_all = ipaddress.IPv4Address(address).is_unspecified
        except ValueError:
            raise ValueError(f"must be an IPv4 address of this server, and is {address!r}") from None
        if is_all:
            raise ValueError(f"{address} is every address of this server; give the one by which other hosts reach it")
        return address

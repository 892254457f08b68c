"""The shared services of a cluster on one server: PostgreSQL, MLflow with users, and the head of a Ray."""

from collections.abc import Callable
from typing import Any

from podium.ledger.database import shown
from podium.spec.files import SettingsFile
from podium.spec.server import ServerSettings
from podium.wiring.clusters import postgresql
from podium.wiring.clusters.processes import Left, Services
from podium.wiring.clusters.server import Server


def up(file: SettingsFile[ServerSettings], say: Callable[[str], None], ready: Callable[[dict[str, Any]], None]) -> None:
    """Starts all services, tells where they are, and keeps them running until SIGINT or SIGTERM.

    Args:
        file: The settings.
        say: Told what happens.
        ready: Told once where everything is, and which files hold the secrets; no secret is among it.

    Raises:
        UserError: for what keeps a service from starting; nothing is left running.
    """
    server = Server(file)
    server.check()
    with Services(server.logs, say, server.masked).kept() as services:
        try:
            say("Looking for the database")
            _start_database(server, services)
            say("Making what is missing in the database")
            postgresql.prepare(server.admin, server.passwords, server.password_files)
            services.start(server.mlflow())
            server.make_cluster_account()
            services.start(server.ray())
            ready(server.addresses())
            services.watch()
        except Left:
            return


def _start_database(server: Server, services: Services) -> None:
    settings = server.settings.database
    if settings.address is not None:
        if not postgresql.answers(server.admin):
            raise server.file.problem("database.address", f"nobody answers at {shown(server.admin)}")
        return
    own = postgresql.Own(server.folder / "database", server.settings.address, settings.port, postgresql.find_binaries())
    own.make(server.vault.secret("postgresql"))
    services.heed()
    services.start(own.service(lambda: postgresql.answers(server.admin)))

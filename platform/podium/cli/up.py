"""The command that starts what a cluster shares."""

import sys
from pathlib import Path
from typing import Any

import click

from podium.cli.options import with_json
from podium.cli.output import print_json


@click.command(epilog="Exit codes: 0 ended by Ctrl-C or SIGTERM, 2 something has to change first.")
@click.argument("settings", type=click.Path(path_type=Path))
@with_json
def up(settings: Path, as_json: bool) -> None:
    """Start the services of a cluster on this server, in the foreground, from one SETTINGS file.

    A PostgreSQL with the ledger (or one that is there), MLflow with a user per person, and the head of a Ray. The first
    time, the secrets are made: files that you alone can read. A service that dies is started again; Ctrl-C or SIGTERM
    ends all of them, and nothing else. PostgreSQL, MLflow and Ray's dashboard listen on one address alone.

    The settings to begin with, with every key, are cluster/server/settings.yaml:

    podium up cluster/server/settings.yaml
    """
    from podium.console import Terminal
    from podium.spec.files import read_settings
    from podium.spec.server import ServerSettings
    from podium.wiring.clusters import services

    file = read_settings(settings, ServerSettings)

    def ready(addresses: dict[str, Any]) -> None:
        if as_json:
            print_json(addresses)
        else:
            _print_addresses(addresses)
        sys.stdout.flush()

    services.up(file, Terminal().stage, ready)


def _print_addresses(addresses: dict[str, Any]) -> None:
    mlflow, ray, hosts = addresses["mlflow"], addresses["ray"], addresses["hosts_file"]
    lines = [
        ("ledger", addresses["ledger"]),
        ("store", addresses["store"]),
        ("MLflow", f"{mlflow['url']} (user {mlflow['admin']}, password in {mlflow['password_file']})"),
        ("Ray", f"{ray['address']}, jobs at {ray['dashboard']} (token in {ray['token_file']})"),
        ("logs", addresses["logs"]),
    ]
    for key, value in lines:
        click.echo(f"{key:>8}  {value}")
    head = ray["address"].rpartition(":")[0]
    click.echo(
        f"\nOn every other host, with copies of the token and of {hosts}, both mode 600:\n"
        f"  . {Path(hosts).name} && cluster/hosts/worker.sh ITS_ADDRESS {ray['address']}\n"
        f"  (without {Path(hosts).name} where nobody submits sweeps: training functions can read what is in it)\n"
        f"On a laptop, with a copy of the token:\n"
        f"  podium cluster add {addresses['cluster']} {ray['dashboard']}\n"
        f"  podium doctor --cluster {addresses['cluster']}\n"
        f"A user of MLflow for each person: {mlflow['url']}/signup, as {mlflow['admin']}\n"
        f"Ctrl-C ends everything on {head}"
    )


COMMANDS = (up,)

"""The command that waits for the hosts of a Ray."""

import click

from podium.cli.options import with_json
from podium.cli.output import print_json, table


@click.command(epilog="Exit codes: 0 they are there, 2 they are not.")
@click.argument("address")
@click.option("--hosts", type=click.IntRange(min=1), default=1, show_default=True, help="So many, the head included.")
@click.option("--within-s", type=click.IntRange(min=1), default=300, show_default=True, help="Seconds to wait.")
@with_json
def wait(address: str, hosts: int, within_s: int, as_json: bool) -> None:
    """Wait until hosts have joined the Ray at ADDRESS (HOST:PORT), and list them.

    podium cluster wait 10.77.0.1:6379 --hosts 4 && podium launch sweep.yaml --cluster 10.77.0.1:6379
    """
    from podium.wiring.clusters.joining import wait_for_hosts

    there = wait_for_hosts(address, hosts, within_s, lambda text: click.echo(f"podium: {text}", err=True))
    if as_json:
        print_json({"hosts": [{"name": node.name, "cpus": node.cpus, "gpus": node.gpus} for node in there]})
    else:
        table(("host", "CPUs", "GPUs"), [(node.name, f"{node.cpus:g}", f"{node.gpus:g}") for node in there])


COMMANDS = (wait,)

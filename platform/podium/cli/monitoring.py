"""The command that tells Prometheus whom to ask."""

import time
from pathlib import Path

import click

from podium.cli.elsewhere import Travels, travels
from podium.cli.options import placed, with_json
from podium.cli.output import print_json, table
from podium.wiring.place import Place


@click.command()
@click.option(
    "--write", type=click.Path(dir_okay=False, path_type=Path), help="Put them into FILE, for file_sd_configs."
)
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="Write it anew so often, until Ctrl-C.")
@placed
@travels(Travels(stays="Prometheus asks drivers by their addresses on the cluster, so tell it from a host there"))
@with_json
def targets(write: Path | None, every: float | None, place: Place, as_json: bool) -> None:
    """List the drivers that tell metrics: those launched or resumed with --metrics.

    podium targets --write /etc/prometheus/targets/podium.json --every 15
    """
    from podium.errors import StorageFault, UserError
    from podium.wiring import endpoint

    if every is not None and write is None:
        raise UserError("--every is about a file, and none is given: add --write FILE")
    book = place.book()
    found = endpoint.targets(book)
    if write is not None:
        endpoint.write(write, found)
    if as_json:
        print_json({"targets": found})
    elif write is not None:
        click.echo(f"{write} names {len(found)} driver{'s' * (len(found) != 1)}")
    elif found:
        table(("sweep", "address"), [(each["labels"]["sweep"], each["targets"][0]) for each in found])
    else:
        click.echo("no driver tells metrics now; launch or resume with --metrics 9464")
    while every is not None and write is not None:
        time.sleep(every)
        try:
            found = endpoint.targets(book)
        except StorageFault as fault:
            click.echo(f"podium: {fault}", err=True)
        else:
            endpoint.write(write, found)


COMMANDS = (targets,)

"""The command for plain hosts."""

import sys
from pathlib import Path

import click

from podium.cli.options import with_json
from podium.cli.output import print_json, table


@click.command(epilog="Exit codes: 0 done, 1 status: Ray does not live on all hosts, 2 user error.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("action", type=click.Choice(["up", "down", "status"]))
@with_json
def hosts(file: Path, action: str, as_json: bool) -> None:
    r"""Start a Ray on the hosts of FILE over ssh, end it, or show how it is.

    FILE has one host a line, as ssh calls it; the first is the head:

    \b
    anna@10.77.0.1
    10.77.0.2 cpus=16 gpus=2   # offers these; by default all that it has

    ssh has to reach them by keys, without a question. up and down may be repeated: what is up, or down, stays so.
    """
    from podium.wiring.clusters import hosts as cluster
    from podium.wiring.clusters.hosts_file import read_hosts, require_ssh

    named = read_hosts(file)
    require_ssh()
    if action == "up":
        done = cluster.up(named, lambda text: click.echo(f"podium: {text}", err=True))
        print_json(done) if as_json else click.echo(f"Ray runs: podium launch … --cluster {done['address']}")
    elif action == "down":
        cluster.down(named)
        print_json({"hosts": [host.name for host in named]}) if as_json else click.echo("Ray has ended on all hosts")
    else:
        stands = cluster.status(named)
        print_json({"hosts": stands}) if as_json else _print(stands)
        sys.exit(any(stand["ray"] != "up" for stand in stands))


def _print(stands: list[dict[str, object]]) -> None:
    rows = [
        (stand["host"], stand["ray"], "", "", "", stand["why"])
        if "why" in stand
        else (
            stand["host"],
            stand["ray"],
            stand["cpus"],
            stand["gpus"],
            stand["load"],
            f"{int(str(stand['free_bytes'])) / 1e9:.0f} GB",
        )
        for stand in stands
    ]
    table(("host", "Ray", "CPUs", "GPUs", "load", "free disk"), rows)


COMMANDS = (hosts,)

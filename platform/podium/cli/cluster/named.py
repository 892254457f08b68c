"""Commands that name clusters."""

import click

from podium.cli.options import with_json
from podium.cli.output import print_done, print_json, table
from podium.wiring.clusters import named


@click.command()
@click.argument("name")
@click.argument("address")
@click.option("--token", metavar="FILE", help="The file with its token. Default: RAY_AUTH_TOKEN or ~/.ray/auth_token")
@with_json
def add(name: str, address: str, token: str | None, as_json: bool) -> None:
    """Call the cluster at ADDRESS, http://HEAD:8265, NAME from now on.

    `--cluster NAME` then means it, in every command. A NAME that is known gets the new address and token. Names are
    kept in ~/.config/podium/clusters.toml, which holds no secret: of the token it says where it lies.

    podium cluster add lab http://lab.example.org:8265 --token ~/.ray/lab.token
    """
    cluster = named.add(name, address, token)
    message = f"{name} is the cluster at {cluster.address}; `podium doctor --cluster {name}` looks whether all is well"
    print_done({"name": name, "address": cluster.address, "message": message}, as_json)


@click.command("list")
@with_json
def list_(as_json: bool) -> None:
    """List the named clusters."""
    known = [
        {"name": each.name, "address": each.address, "token": None if each.token_file is None else str(each.token_file)}
        for each in named.clusters().values()
    ]
    if as_json:
        print_json({"clusters": known})
    else:
        table(
            ("cluster", "address", "token"), [(each["name"], each["address"], each["token"] or "–") for each in known]
        )


@click.command()
@click.argument("name")
@with_json
def remove(name: str, as_json: bool) -> None:
    """Forget the name of a cluster; the cluster is left as it is."""
    named.remove(name)
    print_done({"name": name, "message": f"no cluster is called {name} any more"}, as_json)


COMMANDS = (add, list_, remove)

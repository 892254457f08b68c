"""Commands about clusters: what names them, what starts them, what writes files that start them."""

from types import ModuleType

import click

from podium.cli.cluster import named

_MODULES: tuple[ModuleType, ...] = (named,)


@click.group()
def cluster() -> None:
    """Name clusters, start them, and write the files that start them."""


for _module in _MODULES:
    for _command in _module.COMMANDS:
        cluster.add_command(_command)

COMMANDS = (cluster,)

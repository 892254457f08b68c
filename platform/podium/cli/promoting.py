"""Commands that move the champion."""

import click

from podium.cli.options import EXIT_CODES, placed, with_json
from podium.cli.output import print_done
from podium.wiring.place import Place


@click.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def promote(name: str, place: Place, as_json: bool) -> None:
    """Set the alias `champion` on the registered model of the sweep NAME."""
    from podium.wiring import champions

    print_done(champions.promote(place, name), as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def rollback(name: str, place: Place, as_json: bool) -> None:
    """Give the alias `champion` of the model NAME back to the version that had it before."""
    from podium.wiring import champions

    print_done(champions.rollback(place, name), as_json)


COMMANDS = (promote, rollback)

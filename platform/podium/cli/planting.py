"""The command that a cluster is given when a sweep is submitted to it."""

import sys

import click

from podium.cli.options import placed
from podium.execution.frames import Frame
from podium.wiring.place import Place


@click.command(hidden=True)
@click.argument("sweep")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--content", default="")
@click.option("--detach", is_flag=True)
@click.option("--restarts", type=click.IntRange(min=0))
@placed
def plant(sweep: str, words: tuple[str, ...], content: str, detach: bool, restarts: int | None, place: Place) -> None:
    """Have this cluster keep the driver of SWEEP running, whose command is WORDS over CONTENT, and follow it."""
    from podium.wiring.clusters import planting

    def hear(kind: str, text: str) -> None:
        click.echo(text, nl=False, err=kind == "err")

    asked = planting.Asked(sweep, words, content, planting.RESTARTS if restarts is None else restarts)
    planting.plant(place, asked, hear)
    print(Frame("planted", "").line(), end="", flush=True, file=sys.__stdout__)
    if not detach:
        sys.exit(planting.follow(place, sweep, hear))


COMMANDS = (plant,)

"""Commands that ask something of a sweep that is there."""

import os
import sys

import click

from podium.cli.options import placed, with_json
from podium.cli.output import print_done, print_json
from podium.wiring.place import Place


@click.command()
@click.argument("name")
@click.option("--trial", type=int, help="Stop this trial only.")
@placed
@with_json
def stop(name: str, trial: int | None, place: Place, as_json: bool) -> None:
    """Stop the sweep NAME, or one of its trials, for good."""
    from podium.tracking.provenance import user
    from podium.wiring import requests

    print_done(requests.stop(place, name, trial, user()), as_json)


@click.command()
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@placed
@with_json
def enqueue(name: str, values: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Try a point of your own next in the sweep NAME; keys left out are drawn.

    podium enqueue digits optimizer.learning_rate=3e-3 network.kind=mlp
    """
    from podium.tracking.provenance import user
    from podium.wiring import requests

    print_done(requests.enqueue(place, name, requests.parse(values), user()), as_json)


@click.command()
@click.argument("name")
@click.argument("limits", nargs=-1, required=True)
@placed
@with_json
def extend(name: str, limits: tuple[str, ...], place: Place, as_json: bool) -> None:
    r"""Raise the budget of the sweep NAME while it runs; one that is over goes on with it when it is resumed.

    \b
    podium extend digits budget.trials=64
    podium extend digits budget.gpu_hours=10 budget.cost=25    where the sweep has these limits
    """
    from podium.tracking.provenance import user
    from podium.wiring import requests

    print_done(requests.extend(place, name, requests.parse(limits), user()), as_json)


@click.command()
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on until the sweep has ended.")
@click.option("--beyond", default=-1, hidden=True, help="With --follow: an end up to this event is not the last.")
@placed
@with_json
def sync(name: str, follow: bool, beyond: int, place: Place, as_json: bool) -> None:
    """Show the sweep NAME in MLflow, from its ledger."""
    from podium.masking import without_logins
    from podium.wiring import tracker

    tracker.project(place.book(), name, place, follow=follow, beyond=beyond)
    if as_json:
        print_json({"sweep": name, "tracking_uri": without_logins(place.tracking_uri)})
    if follow:  # the driver waits for this process, whose interpreter would spend a second on tidying up
        sys.stdout.flush()
        os._exit(0)


COMMANDS = (stop, enqueue, extend, sync)

"""Commands that run a sweep, or show what it would be."""

import sys
from typing import Any, NoReturn

import click

from podium.cli.options import EXIT_CODES, placed, with_json, with_restarts
from podium.cli.output import print_json, print_summary
from podium.errors import Interrupted
from podium.wiring.place import Place

STATE_CODES = {"failed": 1, "interrupted": Interrupted.exit_code}


@click.command(epilog=EXIT_CODES)
@click.argument("file")
@click.argument("overrides", nargs=-1)
@placed
@with_restarts
@with_json
def launch(file: str, overrides: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Launch the sweep of FILE, or go on with the one of its name.

    OVERRIDES change settings by their dotted keys:  podium launch sweep.yaml budget.trials=64 fuse=off
    """
    from podium.console import Terminal
    from podium.spec.files import read_sweep
    from podium.wiring import launch as launches

    sweep_file = read_sweep(file, overrides)
    with Terminal().opened() as terminal, sweep_file.locating():
        summary = launches.launch(sweep_file, place, terminal)
    _end(summary, as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_restarts
@with_json
def resume(name: str, place: Place, as_json: bool) -> None:
    """Go on with the sweep NAME where its last driver left it."""
    from podium.console import Terminal
    from podium.wiring import launch as launches

    with Terminal().opened() as terminal:
        summary = launches.resume(name, place, terminal)
    _end(summary, as_json)


@click.command(epilog="Exit codes: 0 it can be launched, 2 it cannot.")
@click.argument("file")
@click.argument("overrides", nargs=-1)
@placed
@with_json
def check(file: str, overrides: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Try out the sweep FILE without launching it: task, data, every structure, time and memory."""
    from podium.console import Terminal
    from podium.spec.files import read_sweep
    from podium.wiring import preflight

    sweep_file = read_sweep(file, overrides)
    with Terminal().opened() as terminal, sweep_file.locating():
        report = preflight.check(sweep_file, place, terminal)
    print_json(report) if as_json else click.echo(preflight.to_text(report))


def _end(summary: dict[str, Any], as_json: bool) -> NoReturn:
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        if summary["state"] == "interrupted":
            click.echo(f"Go on with:  podium resume {summary['sweep']}")
    sys.exit(STATE_CODES.get(summary["state"], 0))


COMMANDS = (launch, resume, check)

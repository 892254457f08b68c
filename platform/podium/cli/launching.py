"""Commands that run a sweep, or show what it would be."""

import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from podium.cli.elsewhere import Travels, travels
from podium.cli.options import EXIT_CODES, placed, with_detach, with_json, with_restarts
from podium.cli.output import print_json, print_summary
from podium.errors import Interrupted, Refused
from podium.wiring.place import Place

STATE_CODES = {"failed": 1, "interrupted": Interrupted.exit_code}


@click.command(epilog=EXIT_CODES)
@click.argument("file")
@click.argument("overrides", nargs=-1)
@placed
@travels(Travels(brings=("file",), plants=True))
@with_detach
@with_restarts
@with_json
def launch(file: str, overrides: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Launch the sweep of FILE, or go on with the one of its name.

    OVERRIDES change settings by their dotted keys:  podium launch sweep.yaml budget.trials=64 fuse=off

    preset=NAME changes those that the file's `presets` have under NAME:  podium launch sweep.yaml preset=full

    On a cluster elsewhere the folder of FILE travels there; the sweep goes on without this terminal, which follows it:

    podium launch sweep.yaml --cluster http://head:8265 --detach
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
@travels(Travels(plants=True))
@with_detach
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
@travels(Travels(brings=("file",)))
@with_json
def check(file: str, overrides: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Try out the sweep FILE without launching it: task, data, every structure, time and memory.

    OVERRIDES as for launch; preset=NAME, too.
    """
    from podium.console import Terminal
    from podium.spec.files import read_sweep
    from podium.wiring import preflight

    sweep_file = read_sweep(file, overrides)
    with Terminal().opened() as terminal, sweep_file.locating():
        report = preflight.check(sweep_file, place, terminal)
    print_json(report) if as_json else click.echo(preflight.to_text(report))


@click.command(epilog="Exit codes: 0 there is a suggestion, 3 there is none, 2 the sweep cannot be trained.")
@click.argument("file")
@click.argument("overrides", nargs=-1)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curve to this file, say lr.png.")
@click.option("--from", "lowest", default=1e-6, show_default=True, help="The first learning rate.")
@click.option("--to", "highest", default=10.0, show_default=True, help="The last one, if the loss lasts so long.")
@click.option("--steps", type=click.IntRange(min=40), default=100, show_default=True)
@placed
@travels(Travels(brings=("file",), gives=("out",)))
@with_json
def lr(file: str, overrides: tuple[str, ...], out: Path | None, place: Place, as_json: bool, **options: Any) -> None:
    """Find a learning rate for the sweep FILE: train its first point for some steps as the rate rises (Smith, 2015).

    The first point is what the file and OVERRIDES say, and else the lower ends of the domains:

    podium lr sweep.yaml network.kind=convnet optimizer.kind=sgd --out lr.png
    """
    from podium.console import Terminal
    from podium.spec.files import read_sweep
    from podium.wiring import range_tests

    sweep_file = read_sweep(file, overrides)
    with Terminal().opened() as terminal, sweep_file.locating():
        found = range_tests.make(sweep_file, place, terminal, **options)
    if out is not None:
        range_tests.draw(found, out)
        found["picture"] = str(out)
    print_json(found) if as_json else click.echo(range_tests.to_text(found))
    sys.exit(Refused.exit_code if found["suggestion"] is None else 0)


def _end(summary: dict[str, Any], as_json: bool) -> NoReturn:
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        if summary["state"] == "interrupted":
            click.echo(f"Go on with:  podium resume {summary['sweep']}")
    sys.exit(STATE_CODES.get(summary["state"], 0))


COMMANDS = (launch, resume, check, lr)

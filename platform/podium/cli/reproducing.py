"""Commands that have runs again."""

import sys
from typing import Any

import click

from podium.cli.options import placed, with_json
from podium.cli.output import print_done, table
from podium.errors import UserError
from podium.wiring.place import Place

CODES = "Exit codes: 0 identical or within tolerance, 1 different, 2 it cannot be trained again, 75 left."
MOST_TRIALS = 20


@click.command(epilog=CODES)
@click.argument("run", required=False)
@click.option("--from-sweep", metavar="SWEEP", help="Launch this whole sweep again as SWEEP-again, and compare all.")
@click.option("--env", is_flag=True, help="Do it in a fresh virtual environment with the packages of then.")
@placed
@with_json
def reproduce(run: str | None, from_sweep: str | None, env: bool, place: Place, as_json: bool) -> None:
    """Train RUN again and compare it epoch by epoch.

    RUN is a trial's MLflow run, SWEEP/NUMBER, or the number of a trial of the newest sweep.

    The trial is trained from its first step in stacks as wide, in the same lane, and by as many ranks as then, however
    often it was paused, killed or resized; what Podium keeps of it is not touched. It is identical if every metric of
    every epoch is the same bit for bit (times left out), and within tolerance if no metric is anywhere further off than
    in a twin whose initial weights are moved by one unit in the last place: ten times so far where that is little (a
    tenth of the metric at most), and a millionth in any case. Else it is different, and what has changed in data, code,
    packages and hardware is told.
    """
    from podium.console import Terminal
    from podium.wiring import environments, reproductions

    if (run is None) == (from_sweep is None):
        raise UserError("give either RUN or --from-sweep SWEEP: what is to be trained again")
    with Terminal().opened() as terminal:
        if env:
            sys.exit(environments.reproduce_within(place, run, from_sweep, as_json, terminal))
        done: dict[str, Any]
        if from_sweep is not None:
            done = reproductions.reproduce_sweep(place, from_sweep, terminal)
        else:
            assert run is not None
            done = reproductions.reproduce(place, run, terminal)
    print_done(done, as_json)
    if from_sweep is not None and not as_json:
        _print_trials(done["trials"])
    sys.exit(1 if done["verdict"] == "different" else 0)


def _print_trials(rows: list[dict[str, Any]]) -> None:
    """Prints a table of the trials that did not come out the same."""
    found = [row for row in rows if row["verdict"] != "identical"]
    cells = []
    for row in found[:MOST_TRIALS]:
        name, (then, now) = next(iter(row["metrics"].items()), ("", (None, None)))
        values = (_digits(then), _digits(now), _digits(row["distance"], 3), _digits(row["spread"], 3))
        endings = " / ".join(dict.fromkeys(row["endings"]))
        cells.append((row["trial"], row["verdict"], row["first_epoch"] or "–", name or "–", *values, endings))
    if cells:
        table(("trial", "verdict", "first epoch", "metric", "then", "now", "distance", "of a twin", "ended"), cells)
    if len(found) > MOST_TRIALS:
        click.echo(f"and {len(found) - MOST_TRIALS} more: --json tells them all")


def _digits(value: float | None, most: int = 9) -> str:
    """A number; by default with as many digits as tell two of float32 apart."""
    return "–" if value is None else f"{value:.{most}g}"


COMMANDS = (reproduce,)

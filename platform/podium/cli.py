"""The command line: thin. Every command prints for people, or with --json one JSON object as its last line."""

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

import click

from podium.errors import Interrupted, PodiumError, UserError
from podium.wiring.place import Place

EXIT_CODES = "Exit codes: 0 finished, 1 failed, 2 user error, 3 refused or undecided, 75 interrupted but resumable."
WIDTH = 200
"""Columns of a table that goes to a file or a pipe."""

STATE_CODES = {"failed": 1, "interrupted": Interrupted.exit_code}


def main() -> None:
    """Runs the command line; a mistake of the user's is one message, never a traceback."""
    try:
        podium(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(UserError.exit_code)
    except PodiumError as error:
        click.echo(f"podium: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("podium: left at once; `podium resume NAME` goes on", err=True)
        sys.exit(Interrupted.exit_code)


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where a sweep lives, and hands the command a `place`."""

    @wraps(command)
    def with_place(*args: Any, home: str, store: str, tracking_uri: str, cluster: str, **options: Any) -> Any:
        return command(*args, place=Place.of(home, store, tracking_uri, cluster), **options)

    for option in (
        click.option("--home", help="This machine's state. Default: PODIUM_HOME or .podium"),
        click.option("--store", help="Where all hosts find checkpoints, shards and code. Default: the home"),
        click.option("--tracking-uri", help="MLflow server. Default: MLFLOW_TRACKING_URI or SQLite in the home"),
        click.option("--cluster", help="inline, local (a Ray of our own) or a Ray's address. Default: local"),
    ):
        with_place = option(with_place)
    return with_place


def with_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of output.")(command)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="podium")
def podium() -> None:
    """Launch sweeps of deep-learning trials, keep every result, promote the best model.

    A first sweep:  podium launch experiments/digits/sweep.yaml
    """


@podium.command(epilog=EXIT_CODES)
@click.argument("file")
@click.argument("overrides", nargs=-1)
@placed
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
    _end(summary, place, as_json)


@podium.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def resume(name: str, place: Place, as_json: bool) -> None:
    """Go on with the sweep NAME where its last driver left it."""
    from podium.console import Terminal
    from podium.wiring import launch as launches

    with Terminal().opened() as terminal:
        summary = launches.resume(name, place, terminal)
    _end(summary, place, as_json)


@podium.command("list")
@placed
@with_json
def list_(place: Place, as_json: bool) -> None:
    """List all sweeps of this home."""
    from podium.wiring import summaries

    sweeps = summaries.overview(place.book())
    if as_json:
        _print_json({"sweeps": sweeps})
        return
    rows = [
        (row["sweep"], row["state"], f"{row['trials']['total']}/{row['trials']['budget']}", _best(row))
        for row in sweeps
    ]
    _table(("sweep", "state", "trials", "best"), rows)


@podium.command()
@click.argument("name")
@placed
@with_json
def status(name: str, place: Place, as_json: bool) -> None:
    """Show how the sweep NAME stands."""
    from podium.wiring import summaries

    summary = summaries.summarize(place.book(), name)
    _print_json(summary) if as_json else _print_summary(summary)


@podium.command()
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@placed
@with_json
def logs(trial: str, follow: bool, place: Place, as_json: bool) -> None:
    """Print the log of TRIAL: a number in the newest sweep, or NAME/NUMBER."""
    from podium.wiring import summaries

    name, number = summaries.find_trial(place, trial)
    if as_json:
        path = summaries.log_of(place, name, number)
        text = path.read_text(errors="replace") if path.exists() else ""
        _print_json({"sweep": name, "trial": number, "log": text})
        return
    for text in summaries.read_log(place, name, number, follow=follow):
        click.echo(text, nl=False)


@podium.command()
@click.argument("name")
@click.option("--trial", type=int, help="Stop this trial only.")
@placed
@with_json
def stop(name: str, trial: int | None, place: Place, as_json: bool) -> None:
    """Stop the sweep NAME, or one of its trials, for good."""
    from podium.wiring import requests

    _print_done(requests.stop(place, name, trial), as_json)


@podium.command()
@click.argument("name")
@click.argument("values", nargs=-1, required=True)
@placed
@with_json
def enqueue(name: str, values: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Try a point of your own next in the sweep NAME; keys left out are drawn.

    podium enqueue digits optimizer.learning_rate=3e-3 network.kind=mlp
    """
    from podium.wiring import requests

    _print_done(requests.enqueue(place, name, values), as_json)


@podium.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--top", default=5, show_default=True, help="Trials of each sweep.")
@placed
@with_json
def compare(names: tuple[str, ...], top: int, place: Place, as_json: bool) -> None:
    """Compare the best trials of one or more sweeps by the parameters that differ."""
    from podium.console import short
    from podium.wiring import summaries

    comparison = summaries.compare(place.book(), names, top)
    if as_json:
        _print_json(comparison)
        return
    trials = comparison["trials"]
    rows: list[tuple[Any, ...]] = [
        ("value", *(_values(trial["value"]) for trial in trials)),
        ("epoch", *(trial["epoch"] for trial in trials)),
        ("rung", *(trial["rung"] for trial in trials)),
    ]
    rows += [(key, *(short(trial["params"].get(key, "")) for trial in trials)) for key in comparison["varying"]]
    _table(("", *(f"{trial['sweep']}/{trial['trial']}" for trial in trials)), rows)
    if comparison["url"]:
        click.echo(f"\nThe same runs in MLflow (start it with `podium ui`):\n{comparison['url']}")


@podium.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def promote(name: str, place: Place, as_json: bool) -> None:
    """Set the alias `champion` on the registered model of the sweep NAME."""
    from podium.wiring import champions

    _print_done(champions.promote(place, name), as_json)


@podium.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def rollback(name: str, place: Place, as_json: bool) -> None:
    """Give the alias `champion` of the model NAME back to the version that had it before."""
    from podium.wiring import champions

    _print_done(champions.rollback(place, name), as_json)


@podium.command()
@click.argument("file")
@click.argument("overrides", nargs=-1)
@click.option("--verify", "is_verified", is_flag=True, help="Compare every shard with its checksum.")
@placed
@with_json
def data(file: str, overrides: tuple[str, ...], is_verified: bool, place: Place, as_json: bool) -> None:
    """Prepare the data of the sweep FILE, if it is not, and describe it."""
    from podium.console import Terminal
    from podium.data.manifest import describe, verify
    from podium.spec.files import read_sweep
    from podium.wiring import launch as launches

    sweep_file = read_sweep(file, overrides)
    place.require_writable()
    with Terminal().opened() as terminal:
        folder = launches.prepare_data(sweep_file.spec, sweep_file.folder, place, terminal)
    if folder is not None and is_verified:
        verify(folder)
    description = {} if folder is None else {"folder": str(folder), **describe(folder)}
    if as_json:
        _print_json(description)
        return
    for key, value in description.items() or [("data", "this sweep has none")]:
        click.echo(f"{key:>14}  {value}")


@podium.command(epilog="Exit codes: 0 it can be launched, 2 it cannot.")
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
    _print_json(report) if as_json else click.echo(preflight.to_text(report))


@podium.command()
@click.option("--port", default=5000, show_default=True)
@placed
@with_json
def ui(port: int, place: Place, as_json: bool) -> None:
    """Show the runs: the MLflow server, on this machine only."""
    from podium.wiring import champions
    from podium.wiring.summaries import TRAINING_VIEW

    url = f"http://127.0.0.1:{port}/#/experiments?{TRAINING_VIEW}"
    if as_json:
        _print_json({"url": url})
    click.echo(f"MLflow on {url} (Ctrl-C ends it)", err=True)
    sys.stdout.flush()
    champions.serve_ui(place, port)


@podium.command(epilog="Exit codes: 0 all is well, 1 something is not.")
@placed
@with_json
def doctor(place: Place, as_json: bool) -> None:
    """Check this machine: versions, disk, ledger, MLflow, Ray, devices."""
    from podium.wiring import doctor as doctors

    findings = doctors.examine(place)
    if as_json:
        _print_json({"findings": [finding._asdict() for finding in findings]})
    else:
        _table(("", "what", "found"), [("ok" if f.is_well else "!!", f.what, f.found) for f in findings])
    sys.exit(0 if all(finding.is_well for finding in findings) else 1)


@podium.command()
@with_json
def schema(as_json: bool) -> None:
    """Print the JSON Schema of sweep files, for editors that complete and check YAML."""
    from podium.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=None if as_json else 2))


@podium.command()
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on until the sweep has ended.")
@click.option("--beyond", default=-1, hidden=True, help="With --follow: an end up to this event is not the last.")
@placed
@with_json
def sync(name: str, follow: bool, beyond: int, place: Place, as_json: bool) -> None:
    """Show the sweep NAME in MLflow, from its ledger."""
    from podium.wiring import tracker

    tracker.project(place.book(), name, place, follow=follow, beyond=beyond)
    if as_json:
        _print_json({"sweep": name, "tracking_uri": place.tracking_uri})
    if follow:  # the driver waits for this process, whose interpreter would spend a second on tidying up
        sys.stdout.flush()
        os._exit(0)


def _end(summary: dict[str, Any], place: Place, as_json: bool) -> NoReturn:
    if as_json:
        _print_json(summary)
    else:
        _print_summary(summary)
        if summary["failures"]:
            _print_failure(summary, place)
        if summary["state"] == "interrupted":
            click.echo(f"Go on with:  podium resume {summary['sweep']}")
    sys.exit(STATE_CODES.get(summary["state"], 0))


def _print_summary(summary: dict[str, Any]) -> None:
    from podium.console import duration, short

    trials = summary["trials"]
    counts = ", ".join(f"{n} {state}" for state, n in trials.items() if state not in ("total", "budget"))
    reason = f" ({summary['reason']})" if summary["reason"] else ""
    lines = [
        ("sweep", f"{summary['sweep']}: {summary['state']}{reason}"),
        ("trials", f"{trials['total']} of {trials['budget']}" + (f": {counts}" if counts else "")),
        ("best", _best(summary)),
    ]
    if summary["best"]:
        width = max(map(len, summary["best"]["params"]), default=0)
        lines += [("", f"{key:<{width}}  {short(value)}") for key, value in summary["best"]["params"].items()]
    if summary["wall_s"] is not None:
        lines.append(("time", f"{duration(summary['wall_s'])}, after {duration(summary['startup_s'])} to start"))
    if summary["model"]:
        model = f"{summary['model']['name']} version {summary['model']['version']}"
        lines.append(("model", f"{model} (`podium promote {summary['sweep']}` makes it the champion)"))
    if summary["driver"]:
        lines.append(("driver", summary["driver"]))
    if summary["tracking_uri"]:
        lines.append(("runs", f"{summary['tracking_uri']} (`podium ui` shows them)"))
    for key, value in lines:
        click.echo(f"{key:>8}  {value}")


def _best(summary: dict[str, Any]) -> str:
    best = summary["best"]
    if best is None:
        return "none yet"
    metric = ", ".join(summary["objectives"])
    return f"{metric} {_values(best['value'])} (trial {best['trial']}, epoch {best['epoch']}, rung {best['rung']})"


def _print_failure(summary: dict[str, Any], place: Place) -> None:
    from podium.execution.logs import tail
    from podium.wiring.summaries import log_of

    last = summary["failures"][-1]["trial"]
    click.echo(f"\nThe end of the log of trial {last} (`podium logs {summary['sweep']}/{last}`):", err=True)
    click.echo(tail(log_of(place, summary["sweep"], last)), err=True)


def _values(value: float | list[float] | None) -> str:
    """One objective's value, or those of several."""
    from podium.console import number

    return ", ".join(map(number, value)) if isinstance(value, list) else number(value)


def _print_json(content: dict[str, Any]) -> None:
    click.echo(json.dumps(content))


def _print_done(done: dict[str, Any], as_json: bool) -> None:
    _print_json(done) if as_json else click.echo(done["message"])


def _table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    table = Table(*headings, box=None, pad_edge=False)
    table.columns[0].min_width = max(len(str(row[0])) for row in [headings, *rows])
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)

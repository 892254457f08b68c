"""Commands that show what there is."""

import json
import signal
import sys
import time
from pathlib import Path

import click

from podium.cli.comparison import print_comparison
from podium.cli.elsewhere import Travels, travels
from podium.cli.options import EXIT_CODES, placed, with_json
from podium.cli.output import best_of, print_done, print_ending, print_findings, print_json, print_summary, table
from podium.wiring.place import Place


@click.command("list")
@placed
@with_json
def list_(place: Place, as_json: bool) -> None:
    """List all sweeps of this home."""
    from podium.wiring import summaries

    sweeps = summaries.overview(place.book())
    if as_json:
        print_json({"sweeps": sweeps})
        return
    counts = [f"{row['trials']['total']}/{row['trials']['budget']}" for row in sweeps]
    rows = [
        (row["sweep"], row["user"], row["state"], count, best_of(row))
        for row, count in zip(sweeps, counts, strict=True)
    ]
    table(("sweep", "user", "state", "trials", "best"), rows)


@click.command()
@click.argument("name")
@placed
@with_json
def status(name: str, place: Place, as_json: bool) -> None:
    """Show how the sweep NAME stands."""
    from podium.wiring import summaries

    summary = summaries.summarize(place.book(), name)
    print_json(summary) if as_json else print_summary(summary)


@click.command(epilog=EXIT_CODES)
@click.argument("name", required=False)
@placed
@travels(Travels(looks_on=True))
@with_json
def watch(name: str | None, place: Place, as_json: bool) -> None:
    """Watch the sweep NAME, which somebody else drives, until it ends. Default: the newest that is running.

    Shows what its launch shows. Ctrl-C leaves the sweep alone. With --json the summary at the end, as status gives it,
    or as it stands when you leave.
    """
    from podium.console.terminal import Screen
    from podium.console.watching import Watching
    from podium.wiring import summaries
    from podium.wiring.watching import newest_driven

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    screen = Screen()
    try:
        name = name or newest_driven(place.book())
        summary = Watching(place, name, screen).run()
    except KeyboardInterrupt:
        screen.close()
        click.echo(f"podium: left; {name or 'the sweep'} goes on as it was", err=True)
        if as_json:
            print_json(summaries.summarize(place.book(), name or newest_driven(place.book())))
        sys.exit(0)
    finally:
        screen.close()
    print_ending(summary, as_json)


@click.command()
@click.argument("trial")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@placed
@with_json
def logs(trial: str, follow: bool, place: Place, as_json: bool) -> None:
    """Print the log of TRIAL: a number in the newest sweep, or NAME/NUMBER.

    NAME/driver is what the driver says of a sweep that was submitted to a cluster from elsewhere.
    """
    from podium.wiring import summaries

    if trial.endswith("/driver"):
        _print_driver_log(trial.removesuffix("/driver"), place, follow, as_json)
        return
    name, number = summaries.find_trial(place, trial)
    leads = summaries.leads(place, name, number)
    if as_json:
        text = "".join(summaries.read_log(place, name, number, follow=False))
        print_json({"sweep": name, "trial": number, "log": text, "see": leads})
        return
    if leads:
        shown = ", ".join(f"{name}/{lead}" for lead in leads)
        click.echo(f"what trial {number} printed among mates is in the log of the first of them: {shown}", err=True)
    for text in summaries.read_log(place, name, number, follow=follow):
        click.echo(text, nl=False)


def _print_driver_log(name: str, place: Place, follow: bool, as_json: bool) -> None:
    from podium.wiring.clusters import planting

    said = planting.driver_log(place, name, follow=follow and not as_json)
    if as_json:
        print_json({"sweep": name, "log": "".join(said)})
        return
    for text in said:
        click.echo(text, nl=False)


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--top", default=5, show_default=True, type=click.IntRange(min=1), help="Trials of each sweep.")
@click.option("--html", type=click.Path(path_type=Path), help="Write a page with charts to this file.")
@placed
@travels(Travels(gives=("html",)))
@with_json
def compare(names: tuple[str, ...], top: int, html: Path | None, place: Place, as_json: bool) -> None:
    """Compare sweeps: their values, what they differ in, and their best trials.

    With a page of charts:  podium compare digits digits-deeper --html report.html

    Each sweep is compared with the first. Where points were tried with several trial seeds, as a promotion does, values
    come with intervals; else with the spread of the best trials. Differences in the objective, data, code, packages,
    hardware, the search space and other settings are told in sentences.

    The page has learning curves, parallel coordinates of the parameters that vary, their importance, and the value
    against each of the most important ones. It is one file that loads nothing, for thousands of trials as well.
    """
    from podium.console import Terminal
    from podium.wiring import comparing

    with Terminal().opened() as terminal:
        comparison = comparing.compare(place.book(), names, top, html, terminal.stage)
    print_json(comparison) if as_json else print_comparison(comparison)


@click.command()
@click.argument("name")
@click.option("--trial", type=int, help="Its number. Default: the best trial")
@click.option("--out", help="The folder to write to. Default: inside/NAME-TRIAL")
@placed
@travels(Travels(gives=("out",), writes=("inside",)))
@with_json
def inside(name: str, trial: int | None, out: str | None, place: Place, as_json: bool) -> None:
    """Look into a network of the sweep NAME: filters, what excites it, what it looks at, where it errs.

    Writes pictures and a page with all of them, made of the network of one trial and of validation data.
    """
    from podium.wiring import insides
    from podium.wiring.networks import load_network

    network = load_network(place, name, trial)
    folder = Path(out or f"inside/{name}-{network.trial:04d}")
    names = insides.write(network, folder)
    done = {"sweep": name, "trial": network.trial, "folder": str(folder), "pictures": names}
    print_done({**done, "message": f"{folder / 'index.html'} shows {len(names)} pictures"}, as_json)


@click.command()
@click.option("--port", default=5000, show_default=True)
@placed
@travels(Travels(stays="open the address of its MLflow server in a browser, which `podium status NAME` shows as runs"))
@with_json
def ui(port: int, place: Place, as_json: bool) -> None:
    """Show the runs: the MLflow server, on this machine only; where there is one already, tell its address."""
    from podium.masking import without_logins
    from podium.tracking.pages import TRAINING_VIEW
    from podium.wiring import champions

    is_there = place.tracking_uri.startswith("http")
    server = without_logins(place.tracking_uri).rstrip("/") if is_there else f"http://127.0.0.1:{port}"
    url = f"{server}/#/experiments?{TRAINING_VIEW}"
    if as_json:
        print_json({"url": url})
    if is_there:
        click.echo(f"an MLflow server shows them: {url}", err=True)
        return
    click.echo(f"MLflow on {url} (Ctrl-C ends it)", err=True)
    sys.stdout.flush()
    champions.serve_ui(place, port)


@click.command(epilog="Exit codes: 0 all is well, 1 something is not.")
@placed
@travels(Travels(is_its_own=True))
@with_json
def doctor(place: Place, as_json: bool) -> None:
    """Check what a launch needs, and say what to mend: this machine's versions, disk, ledger, MLflow, Ray, devices.

    With the address or the name of a cluster, the way to it and each of its hosts too: token, clocks, versions, the
    store, ledger and MLflow from there, GPUs and drivers, disks, and whether neighbours can train together.

    podium doctor --cluster lab
    """
    import importlib.metadata

    from podium.console import Terminal
    from podium.wiring import doctor as doctors

    findings = doctors.examine(place, Terminal().stage)
    if as_json:
        version = importlib.metadata.version("podium")
        print_json({"podium": version, "findings": [finding._asdict() for finding in findings]})
    else:
        print_findings(findings)
    sys.exit(0 if all(finding.is_well for finding in findings) else 1)


@click.command()
@with_json
def schema(as_json: bool) -> None:
    """Print the JSON Schema of sweep files, for editors that complete and check YAML."""
    from podium.spec.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=None if as_json else 2))


@click.group()
def ledger() -> None:
    """Read what was written down: the story of a sweep, and whether it can be believed."""


@ledger.command()
@click.argument("name")
@click.option("--trial", type=int, help="Tell of this trial only.")
@placed
@with_json
def show(name: str, trial: int | None, place: Place, as_json: bool) -> None:
    """Tell the story of the sweep NAME: what happened, and what was decided on it."""
    from podium.wiring.stories import story

    entries = story(place.book(), name, trial)
    if as_json:
        print_json({"sweep": name, "trial": trial, "entries": [entry._asdict() for entry in entries]})
        return
    for entry in entries:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.at))
        about = "" if entry.trial is None else f"trial {entry.trial} "
        click.echo(f"{at}  {entry.sequence:>6}  {about}{entry.text}")


@ledger.command(epilog="Exit codes: 0 the ledger is whole, 1 it is not.")
@click.argument("name")
@placed
@with_json
def verify(name: str, place: Place, as_json: bool) -> None:
    """Check the ledger of the sweep NAME: its chain of hashes, its replay, and what must hold after every event.

    Events cut off from the end do not show: nothing after them tells that they were there.
    """
    from podium.wiring import verification

    problems = verification.verify(place.book(), name)
    if as_json:
        print_json({"sweep": name, "problems": problems})
    else:
        for problem in problems or [f"the ledger of {name} is whole"]:
            click.echo(problem)
    sys.exit(1 if problems else 0)


COMMANDS = (ledger, list_, status, watch, logs, compare, inside, ui, doctor, schema)

"""Commands that write sweeps down for others: a study for Optuna Dashboard, a report to read."""

from pathlib import Path
from typing import Any

import click

from podium.cli.elsewhere import Travels, travels
from podium.cli.options import placed, with_json
from podium.cli.output import print_done
from podium.errors import UserError
from podium.wiring.place import Place

SQLITE = "sqlite:///"

REPORTS = ("{name}-report.html", "{name}-report.pdf")


def _database(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An SQLite file by its path, however it was given; other databases by their address."""
    database = value.removeprefix(SQLITE)
    if database in ("", "sqlite://", ":memory:"):
        raise UserError(f"--optuna {value!r} names no file or database; write --optuna sqlite:///study.db")
    return database


@click.command()
@click.argument("name")
@click.option(
    "--optuna", required=True, callback=_database, help="The storage to write to: sqlite:///study.db or a file's path."
)
@placed
@travels(Travels(gives=("optuna",), is_new=True))
@with_json
def export(name: str, optuna: str, place: Place, as_json: bool) -> None:
    """Write the sweep NAME as a study that Optuna Dashboard opens.

    podium export digits --optuna sqlite:///study.db  &&  optuna-dashboard sqlite:///study.db

    The study has the sweep's name, and its trials have the same numbers. They are complete, pruned (stopped, paused or
    diverged), failed (or cancelled), running or waiting, and have a value for each epoch; what Optuna has no word for
    is in their attributes. The same command again brings the study up to date; other studies in the database are left
    alone.
    """
    from podium.console import Terminal
    from podium.wiring import exporting

    with Terminal().opened() as terminal:
        done: dict[str, Any] = exporting.export(place.book(), name, optuna, terminal.stage)
    print_done(done, as_json)


@click.command()
@click.argument("name")
@click.option("--html", type=click.Path(path_type=Path), help="Write the page to this file.")
@click.option("--pdf", type=click.Path(path_type=Path), help="Write the PDF to this file.")
@placed
@travels(Travels(gives=("html", "pdf"), writes=REPORTS))
@with_json
def report(name: str, html: Path | None, pdf: Path | None, place: Place, as_json: bool) -> None:
    """Write a report of the sweep NAME for readers who were not there: a page, a PDF, or without options both.

    podium report digits  writes digits-report.html and digits-report.pdf

    It tells the question, the space, the best trial and how sure that is, what mattered, how it went, what failed and
    why, what it cost, and how to reproduce it. The page is one file that loads nothing. A sweep that still runs has a
    report, too: of what there is.
    """
    from podium.console import Terminal
    from podium.wiring import reporting

    if html is None and pdf is None:
        html, pdf = (Path(each.format(name=name)) for each in REPORTS)
    with Terminal().opened() as terminal:
        done = reporting.report(place, name, html, pdf, terminal.stage)
    print_done(done, as_json)


COMMANDS = (export, report)

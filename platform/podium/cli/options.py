"""What the commands of the command line have in common: options and exit codes."""

import sys
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import click

from podium.cli.elsewhere import Travels, command_line, hand_on
from podium.errors import UserError
from podium.wiring.clusters import named
from podium.wiring.place import Place

EXIT_CODES = "Exit codes: 0 finished, 1 failed, 2 user error, 3 refused or undecided, 75 interrupted but resumable."

ADDRESSES = ("home", "store", "tracking_uri", "cluster", "ledger")


def placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where a sweep lives, and hands the command a `place`.

    A command that is meant for a cluster elsewhere is handed on to it instead; see `podium.cli.elsewhere`.
    """

    @wraps(command)
    def with_place(*args: Any, **options: Any) -> Any:
        place = Place.of(**{name: options.pop(name) for name in ADDRESSES})
        how = getattr(command, "travels", Travels())
        cluster = None if how.is_its_own else named.find(place.cluster)
        if cluster is not None:
            hand_on(cluster, how)
        return command(*args, place=place, **options)

    for option in (
        click.option("--home", help="This machine's state. Default: PODIUM_HOME or .podium"),
        click.option(
            "--store", help="Where all hosts find checkpoints, shards, code. Default: PODIUM_STORE or the home"
        ),
        click.option("--tracking-uri", help="MLflow server. Default: MLFLOW_TRACKING_URI or SQLite in the home"),
        click.option(
            "--cluster",
            help="inline, local, HEAD:6379 (a Ray to join), or elsewhere: http://HEAD:8265 or a name. Default: local",
        ),
        click.option("--ledger", help="Its database, postgresql://…. Default: PODIUM_LEDGER or SQLite in the home"),
    ):
        with_place = option(with_place)
    return with_place


def with_restarts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --restarts: with it, the same command without it runs in a process that is started again when it dies."""

    @wraps(command)
    def supervised(restarts: int, **options: Any) -> Any:
        if not restarts:
            return command(**options)
        from podium.execution.supervisor import supervise

        context = click.get_current_context()
        driver, environment = options["place"].command(*command_line(context, context.params))
        sys.exit(supervise(driver, environment, restarts, lambda text: click.echo(f"podium: {text}", err=True)))

    help_text = "Start the driver again this often if it is killed, or its disk or database fails for a while."
    return click.option("--restarts", type=click.IntRange(min=0), default=0, help=help_text)(supervised)


def with_detach(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --detach, which is for clusters elsewhere."""

    @wraps(command)
    def attached(detach: bool, **options: Any) -> Any:
        if detach:
            raise UserError(
                "--detach is for a cluster elsewhere, which goes on by itself: --cluster http://HEAD:8265, or a name"
            )
        return command(**options)

    help_text = "Submit to a cluster elsewhere, and do not wait for the end."
    return click.option("--detach", is_flag=True, help=help_text)(attached)


def with_metrics(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --metrics: where the driver tells Prometheus how its sweep goes."""

    @wraps(command)
    def told(metrics: str | None, place: Place, **options: Any) -> Any:
        from podium.wiring.endpoint import parse

        metrics = metrics or place.metrics
        if metrics:
            parse(metrics)
        return command(place=replace(place, metrics=metrics), **options)

    help_text = (
        "Tell Prometheus how the sweep goes: at a PORT of this machine, 0 for a free one; ADDRESS:PORT or cluster:0 "
        "open it to others. Default: PODIUM_METRICS or nowhere"
    )
    return click.option("--metrics", metavar="[ADDRESS:]PORT", help=help_text)(told)


def with_json(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --json."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object as the last line of output.")(command)

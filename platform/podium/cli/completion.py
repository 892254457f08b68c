"""What a shell completes: commands and options by click; here the names of what there is. Quick: no heavy imports."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from podium.cli.options import with_json
from podium.cli.output import print_json
from podium.errors import PodiumError
from podium.wiring.clusters import named
from podium.wiring.place import Place

VARIABLE = "_PODIUM_COMPLETE"

SWEEPS = "SELECT sweep FROM events WHERE sequence = 0 AND sweep NOT LIKE '%/%' ORDER BY at DESC"
TRIALS = "SELECT count(*) FROM events WHERE sweep = ? AND kind = 'proposed'"
"""Asked of the ledger's file without its library, which takes longer to load than a shell should be kept waiting."""


class SweepName(click.types.StringParamType):
    """A sweep of the home."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The sweeps, newest first."""
        return [CompletionItem(name) for name in _sweeps(ctx) if name.startswith(incomplete)]


class TrialName(click.types.StringParamType):
    """A trial: its number in the newest sweep, or NAME/NUMBER."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The numbers in a sweep that is named; else the sweeps to choose from, and the newest one's numbers."""
        name, slash, _ = incomplete.rpartition("/")
        sweeps = _sweeps(ctx)
        numbers = [f"{name}{slash}{number}" for number in range(_count(ctx, name or next(iter(sweeps), "")))]
        names = [] if slash else [f"{sweep}/" for sweep in sweeps]
        return [CompletionItem(each) for each in [*names, *numbers] if each.startswith(incomplete)]


class TrialNumber(click.types.IntParamType):
    """The number of a trial in the sweep that was named before."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """All numbers."""
        name = ctx.params.get("name") or next(iter(ctx.args), "")  # which click has not sorted out before it is asked
        numbers = map(str, range(_count(ctx, name)))
        return [CompletionItem(number) for number in numbers if number.startswith(incomplete)]


class ClusterName(click.types.StringParamType):
    """A cluster by its name, or what `--cluster` means by itself."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The named ones first."""
        names: list[str] = []
        with suppress(PodiumError):
            names += named.clusters()
        names += ["inline", "local"] if isinstance(param, click.Option) else []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def teach(group: click.Group) -> None:
    """Lets the arguments and options of all commands complete what their names mean."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            teach(command)
        for parameter in command.params:
            kind = _kind(group.name or "", command.name or "", parameter)
            if kind is not None and type(parameter.type) in (click.types.StringParamType, click.types.IntParamType):
                parameter.type = kind


def _kind(group: str, command: str, parameter: click.Parameter) -> click.ParamType[Any] | None:
    if group == "cluster":
        return ClusterName() if (command, parameter.name) == ("remove", "name") else None
    match parameter.name:
        case "name" | "names" if command not in ("rollback", "history"):
            return SweepName()
        case "trial":
            return TrialNumber() if isinstance(parameter, click.Option) else TrialName()
        case "cluster":
            return ClusterName()
        case "file":
            return click.Path()
    return None


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@with_json
def completion(shell: str, as_json: bool) -> None:
    """Print what lets SHELL complete commands, options, sweeps, trials and clusters.

    bash, in ~/.bashrc:  eval "$(podium completion bash)"

    zsh, in ~/.zshrc:  eval "$(podium completion zsh)"

    fish:  podium completion fish > ~/.config/fish/completions/podium.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "podium", VARIABLE).source()
    print_json({"shell": shell, "script": script}) if as_json else click.echo(script)


def _sweeps(context: click.Context) -> list[str]:
    return [row[0] for row in _ask(context, SWEEPS)]


def _count(context: click.Context, sweep: str) -> int:
    return next((int(row[0]) for row in _ask(context, TRIALS, sweep)), 0)


def _ask(context: click.Context, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Rows of the ledger, where it is a file; nothing where there is none that can be read at once."""
    with suppress(PodiumError, sqlite3.Error, OSError):
        place = Place.of(home=context.params.get("home"), ledger=context.params.get("ledger"))
        path = Path(place.ledger.removeprefix("sqlite:///"))
        if path.is_file():
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0.1)) as database:
                return list(database.execute(query, values))
    return []


COMMANDS = (completion,)

"""How commands are handed to a cluster elsewhere: what travels with them, and what comes back."""

import json
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NoReturn, TypeVar

import click

from podium.errors import Interrupted, UserError
from podium.wiring.clusters.named import Cluster

Command = TypeVar("Command", bound=Callable[..., Any])

PLACE = ("home", "store", "tracking_uri", "ledger")
"""The options of a place that are handed on."""

STAYING = ("cluster", "detach", "restarts")
"""Options that are not the command's own there."""


@dataclass(frozen=True)
class Travels:
    """How a command goes to a cluster.

    Attributes:
        brings: Its arguments that may be files here; the folder they lie in comes along.
        gives: Its options that name files or folders to write here.
        writes: Where it writes without any of them, by its arguments.
        is_new: Whether that must not be there yet, since more may be in it than what comes back.
        plants: Whether it is a driver, which the cluster keeps running.
        stays: Why it cannot go, and what to do instead; it is not handed on then.
        looks_on: Whether leaving it at any time is no failure, since it changes nothing.
        is_its_own: Whether it deals with clusters elsewhere itself.
    """

    brings: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    is_new: bool = False
    plants: bool = False
    stays: str = ""
    looks_on: bool = False
    is_its_own: bool = False


def travels(how: Travels) -> Callable[[Command], Command]:
    """Notes at a command, below `placed`, how it goes to a cluster elsewhere; without it, as it is."""

    def mark(command: Command) -> Command:
        command.travels = how  # type: ignore[attr-defined]
        return command

    return mark


def hand_on(cluster: Cluster, how: Travels) -> NoReturn:
    """Has a cluster carry out the current command, prints what it prints, and ends as it does.

    Raises:
        UserError: if the command cannot be carried out there, or what it is given cannot travel.
    """
    from podium.wiring.clusters.elsewhere import carry_out

    context = click.get_current_context()
    if how.stays:
        raise UserError(
            f"`podium {' '.join(_name(context))}` is for this machine and not for {cluster.name}: {how.stays}"
        )
    options = dict(context.params)
    where = _where(context)
    sweep = _check(options)
    folder = _bring(options, how.brings)
    targets = _take(options, how)
    words = [*command_line(context, options), *where]
    parcel, held = _pack(folder)
    if how.plants:
        mine = [*held, *_words(context, options, only=("detach", "restarts")), *where]
        words = ["plant", sweep, *mine, "--", *words]
    _say(f"{'Submitting to' if how.plants else 'Asking'} {cluster.name} …")
    heard: set[str] = set()

    def hear(kind: str, text: str) -> None:
        heard.add(kind)
        _write(kind, text)

    try:
        answer = carry_out(cluster, words, hear, parcel=parcel, gives=list(targets))
    except KeyboardInterrupt:
        if not (how.looks_on and sweep and options["as_json"]):
            _leave(how, sweep, cluster, is_planted="planted" in heard)
        _say(f"podium: left; asking how {sweep} stands …")
        answer = carry_out(cluster, ["status", sweep, "--json", *where], _write)
    for name, content in answer.files.items():
        _keep(name, content, targets)
    for name, target in targets.items():
        if answer.files and target != Path(name):
            _say(f"podium: what {cluster.name} calls {name} is here {target}")
    if options.get("detach") and answer.code == 0:
        done = {"sweep": sweep, "cluster": cluster.name, "message": _goes_on(sweep, cluster)}
        click.echo(json.dumps(done) if options["as_json"] else done["message"])
    sys.exit(answer.code)


def _leave(how: Travels, sweep: str, cluster: Cluster, *, is_planted: bool) -> NoReturn:
    """Ends at Ctrl-C; what runs on the cluster goes on."""
    if how.looks_on:
        _say(f"podium: left; {sweep or 'the sweep'} goes on as it was")
        sys.exit(0)
    if not how.plants:
        raise KeyboardInterrupt
    not_yet = f"{cluster.name} has not said that it took {sweep}; give the command again, or {sweep} may not run"
    _say(f"podium: left; {_goes_on(sweep, cluster) if is_planted else not_yet}")
    sys.exit(Interrupted.exit_code)


def _where(context: click.Context) -> list[str]:
    """The options of the place that were given on the command line; the environment here says nothing of elsewhere."""
    from podium.masking import without_passwords
    from podium.tracking.provenance import masked

    words = []
    for name in PLACE:
        value = context.params[name]
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        option = f"--{name.replace('_', '-')}"
        if without_passwords(value) != value:
            raise UserError(
                f"{option} {masked([value])[0]} has a password in it, which everybody on the cluster could read; set "
                "it in the environment of the cluster's hosts before Ray is started there, and leave the option out"
            )
        if "://" not in value and not Path(value).is_absolute():
            raise UserError(f"{option} {value} means a folder of the cluster's hosts, so give an absolute path")
        words += [option, value]
    return words


def _check(options: Mapping[str, Any]) -> str:
    """Reads the sweep file that a command is given, so that its mistakes show at once; returns the sweep's name."""
    from podium.spec.files import read_sweep

    if "file" in options:
        return read_sweep(options["file"], options["overrides"]).spec.sweep
    return str(options.get("name") or "")


def _bring(options: dict[str, Any], names: tuple[str, ...]) -> Path | None:
    """The folder that files among the arguments lie in; names them in `options` as they are called there."""
    paths = {name: Path(options[name]) for name in names if Path(options[name]).is_file()}
    folders = {path.resolve().parent for path in paths.values()}
    if len(folders) > 1:
        raise UserError(f"{' and '.join(map(str, paths.values()))} lie in several folders, and one alone can travel")
    options.update({name: path.name for name, path in paths.items()})
    return next(iter(folders), None)


def _pack(folder: Path | None) -> tuple[bytes | None, list[str]]:
    """A folder as it travels, and the option that says what it holds, wherever it lay."""
    from podium.execution.parcel import digest, pack
    from podium.tracking.provenance import ORIGIN, origin

    if folder is None:
        return None, []
    parcel = pack(folder, {ORIGIN: json.dumps({**origin(folder), "host": socket.gethostname()})})
    return parcel, ["--content", digest(parcel, {ORIGIN})]


def _take(options: dict[str, Any], how: Travels) -> dict[str, Path]:
    """Where here to put what the command writes, by its name there; `options` have these names."""
    given = {option: str(options[option]) for option in how.gives if options[option]}
    targets: dict[str, Path] = {}
    for option, where in given.items():
        if "://" in where:
            raise UserError(f"--{option} {where} is an address, and a cluster elsewhere sends back files; give a file")
        options[option] = _aim(targets, f"--{option} {where}", where)
    if not given:
        for where in how.writes:
            _aim(targets, where, where.format(**options))
    taken = [target for target in targets.values() if how.is_new and target.exists()]
    if taken:
        raise UserError(f"{taken[0]} is there already, and what the cluster sends would replace it; give a new file")
    return targets


def _aim(targets: dict[str, Path], said: str, where: str) -> str:
    """Notes where something is written here; returns what it is called there."""
    target = Path(where)
    if target.name in ("", ".."):
        raise UserError(f"{said} has no name of its own; give a file or folder by its name")
    if target.name in targets:
        raise UserError(f"{said} has the name of another file to write; give each a name of its own")
    targets[target.name] = target
    return target.name


def command_line(context: click.Context, options: Mapping[str, Any]) -> list[str]:
    """A command with options and arguments that were given, but for those that say where and how it is run."""
    return [*_name(context), *_words(context, options)]


def _name(context: click.Context) -> list[str]:
    """The names of a command and its groups, without the program's."""
    return [*_name(context.parent), context.info_name or ""] if context.parent else []


def _words(context: click.Context, options: Mapping[str, Any], only: tuple[str, ...] = ()) -> list[str]:
    """Those of a command's options and arguments that were given on the command line, as they are written there."""
    words: list[str] = []
    last: list[str] = []
    for parameter in context.command.params:
        name, value = parameter.name or "", options[parameter.name or ""]
        if (name not in only if only else name in (*PLACE, *STAYING)) or _is_left_out(value):
            continue
        if context.get_parameter_source(name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        values = value if isinstance(value, tuple) else (value,)
        if isinstance(parameter, click.Argument):
            last += map(str, values)
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words += [word for each in values for word in (parameter.opts[0], str(each))]
    return [*words, *last]


def _is_left_out(value: object) -> bool:
    """Whether an option has no value; zero is one."""
    return value is None or value is False or value in ((), "")


def _keep(name: str, content: bytes, targets: Mapping[str, Path]) -> None:
    """Writes a file that came back below one of the targets, and nowhere else."""
    parts = PurePath(name).parts
    if not parts or parts[0] not in targets or ".." in parts:
        raise UserError(f"the cluster sent a file {name!r} that nobody asked for; it was not written")
    path = targets[parts[0]].joinpath(*parts[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _goes_on(sweep: str, cluster: Cluster) -> str:
    there = f"--cluster {cluster.name}"
    return (
        f"{sweep} runs on {cluster.name} without this terminal; `podium status {sweep} {there}` shows it, `podium logs "
        f"-f {sweep}/driver {there}` follows it, `podium stop {sweep} {there}` ends it"
    )


def _write(kind: str, text: str) -> None:
    click.echo(text, nl=False, err=kind == "err")


def _say(text: str) -> None:
    click.echo(text, err=True)

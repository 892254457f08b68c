"""Commands that prepare data, and show, compare and remove what was prepared."""

import sys
import time
from pathlib import Path

import click

from podium.cli.describing import print_data, print_differences, source_of
from podium.cli.elsewhere import Travels, travels
from podium.cli.options import placed, with_json
from podium.cli.output import print_json, table
from podium.drawing.words import size
from podium.wiring.place import Place

CODES = "Exit codes: 0 fine, 2 user error."


@click.group()
def data() -> None:
    """Prepare data, and see what was prepared.

    Data are prepared once for equal source, steps and split, and kept in the store as a data set, which is named by a
    digest of all that it depends on. Launching a sweep prepares its data, too.
    """


@data.command(epilog=CODES)
@click.argument("file")
@click.argument("overrides", nargs=-1)
@placed
@travels(Travels(brings=("file",)))
@with_json
def prepare(file: str, overrides: tuple[str, ...], place: Place, as_json: bool) -> None:
    """Prepare the data of the sweep FILE, and show them.

    Data that are prepared already cost a glance.

    OVERRIDES change settings by their dotted keys:  podium data prepare sweep.yaml data.split.by=stratified

    preset=NAME changes those that the file's `presets` have under NAME.
    """
    from podium.console import Terminal
    from podium.spec.files import read_sweep
    from podium.wiring import shelf
    from podium.wiring.launch import prepare_data

    sweep_file = read_sweep(file, overrides)
    place.require_writable()
    with Terminal().opened() as terminal, sweep_file.locating():
        folder = prepare_data(sweep_file.spec, sweep_file.folder, place, terminal)
    if folder is None:
        print_json({}) if as_json else click.echo(f"the sweep of {file} has no data")
        return
    shown = shelf.show(place, folder.name)
    print_json(shown) if as_json else print_data(shown)


@data.command(epilog=CODES)
@click.argument("what")
@click.option("--sheet", metavar="FILE.png", help="Draw some samples into this file.")
@placed
@travels(Travels(brings=("what",), gives=("sheet",)))
@with_json
def show(what: str, sheet: str | None, place: Place, as_json: bool) -> None:
    """Show a data set, and prepare nothing.

    Shapes, counts, balance, statistics, steps, split and where it comes from.

    WHAT is a sweep file, the name of a sweep that was launched, or the name of a data set or how it begins. The sheet
    has samples of the train and validation splits; the test split is read by promotion alone.
    """
    from podium.wiring import shelf

    name = shelf.find(place, what)
    shown = shelf.show(place, name)
    if sheet is not None:
        from podium.data.sheet import write

        write(shelf.fetch(place, name), Path(sheet))
        shown["sheet"] = sheet
    print_json(shown) if as_json else print_data(shown)


@data.command("list", epilog=CODES)
@placed
@with_json
def list_(place: Place, as_json: bool) -> None:
    """List the data sets, and the sweeps that use them; the oldest comes first."""
    from podium.wiring import shelf

    found = shelf.overview(place)
    if as_json:
        print_json({"data": found})
        return
    rows = []
    for row in found:
        is_known = row["bytes"] is not None
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(row["made_at"])) if is_known else ""
        counts = (f"{row['samples']:,}", size(row["bytes"]), source_of(row["source"])) if is_known else ("", "", "")
        rows.append((row["name"], made, *counts, ", ".join(row["sweeps"]) or "–", row["problem"]))
    table(("data set", "made", "samples", "size", "source", "sweeps", "problem"), rows)


@data.command(epilog="Exit codes: 0 every shard is what it was, 1 some are damaged, 2 user error.")
@click.argument("what")
@placed
@travels(Travels(brings=("what",)))
@with_json
def verify(what: str, place: Place, as_json: bool) -> None:
    """Compare every shard with its checksum, reading all of them.

    WHAT is a sweep file, the name of a sweep that was launched, or the name of a data set or how it begins.
    """
    from podium.console import Terminal
    from podium.data.manifest import verify as verified
    from podium.wiring import shelf

    name = shelf.find(place, what)
    folder = shelf.where(place, name)
    with Terminal().opened() as terminal:
        terminal.stage(f"Reading {folder}")
        problems = verified(folder)
    if as_json:
        print_json({"name": name, "folder": folder, "problems": problems})
    else:
        for problem in problems or [f"{folder} is whole"]:
            click.echo(problem)
        if problems:
            click.echo(f"Delete {folder} and launch again, and it is prepared anew")
    sys.exit(1 if problems else 0)


@data.command(epilog=CODES)
@click.argument("a")
@click.argument("b")
@placed
@travels(Travels(brings=("a", "b")))
@with_json
def diff(a: str, b: str, place: Place, as_json: bool) -> None:
    """Compare the data sets A and B.

    Shows what differs, and how many samples they have in common.

    A and B are sweep files, names of sweeps that were launched, or names of data sets or how they begin. Samples are
    common if their stored inputs have the same bytes. Of the test splits only the checksums are compared.
    """
    from podium.console import Terminal
    from podium.wiring import shelf

    names = shelf.find(place, a), shelf.find(place, b)
    with Terminal().opened() as terminal:
        terminal.stage(f"Reading {' and '.join(names)}")
        found = shelf.compare(place, *names)
    print_json(found) if as_json else print_differences(found)


@data.command(epilog=CODES)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@placed
@with_json
def gc(dry_run: bool, place: Place, as_json: bool) -> None:
    """Remove the data sets that no sweep uses.

    Removed are those that no sweep of the ledger was launched with, and what is left of unfinished ones.
    What a process is making now stays; a launch that has its data and no workers yet does not show, and fails if they
    are removed. Nothing is lost for good: whatever is missing is prepared anew. Where several
    homes share a --store, this ledger does not know the sweeps of the others.
    """
    from podium.wiring import unused

    found = unused.collect(place, dry_run=dry_run)
    total = sum(each.bytes or 0 for each in found)
    if as_json:
        print_json({"dry_run": dry_run, "bytes": total, "removals": [each._asdict() for each in found]})
        return
    verb = "would remove" if dry_run else "removed"
    for each in found:
        if each.bytes is None:
            click.echo(f"stays, since it is being made now: {each.path}")
        else:
            click.echo(f"{verb} {each.path} ({each.what}, {size(each.bytes)})")
    click.echo(f"{verb} {size(total)} that no sweep uses" if found else "there is nothing to remove")


COMMANDS = (data,)

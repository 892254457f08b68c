"""How commands print: lines and tables for people, one JSON object for machines."""

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import click

from podium.errors import Interrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from podium.wiring.findings import Finding

WIDTH = 200
"""Columns of a table that goes to a file or a pipe."""

STATE_CODES = {"failed": 1, "interrupted": Interrupted.exit_code}
"""By a sweep's state the exit code, where it is not 0."""

MOST_FAILURES = MOST_AILING = 3


def print_json(content: dict[str, Any]) -> None:
    """Prints one JSON object as one line."""
    click.echo(json.dumps(content))


def print_done(done: dict[str, Any], as_json: bool) -> None:
    """Prints what was done: its message, or all of it."""
    print_json(done) if as_json else click.echo(done["message"])


def print_summary(summary: dict[str, Any]) -> None:
    """Prints how a sweep stands, with its last failures."""
    from podium.drawing.words import duration, short

    trials = summary["trials"]
    counts = ", ".join(f"{n} {state}" for state, n in trials.items() if state not in ("total", "budget"))
    reason = f" ({summary['reason']})" if summary["reason"] else ""
    lines = [
        ("sweep", f"{summary['sweep']}: {summary['state']}{reason}"),
        ("trials", f"{trials['total']} of {trials['budget']}" + (f": {counts}" if counts else "")),
        *([("screened", f"{summary['screened']} of {trials['total']}")] if summary["screened"] is not None else []),
        ("best", best_of(summary)),
    ]
    if summary["best"]:
        width = max(map(len, summary["best"]["params"]), default=0)
        lines += [("", f"{key:<{width}}  {short(value)}") for key, value in summary["best"]["params"].items()]
        lines += _stack_of(summary["best"])
    if summary["wall_s"] is not None:
        lines.append(("time", f"{duration(summary['wall_s'])}, after {duration(summary['startup_s'])} to start"))
    lines += [("spent", spent)] if (spent := spent_on(summary)) else []
    if summary["model"]:
        model = f"{summary['model']['name']} version {summary['model']['version']}"
        lines.append(("model", f"{model} (`podium promote {summary['sweep']}` asks whether it is the best)"))
    if summary["driver"]:
        lines.append(("driver", summary["driver"]))
    if summary["tracking_uri"]:
        lines.append(("runs", f"{summary['tracking_uri']} (`podium ui` shows them)"))
    for key, value in lines:
        _print_fact(key, value)
    _print_ailing(summary)
    _print_failures(summary)


def _print_fact(key: str, value: str) -> None:
    """A line; in a terminal as many as it takes, the words below each other."""
    line = f"{key:>8}  {value}"
    if sys.stdout.isatty() and len(line) > (width := shutil.get_terminal_size().columns):
        line = textwrap.fill(line, width, subsequent_indent=" " * 10, break_on_hyphens=False)
    click.echo(line)


def print_ending(summary: dict[str, Any], as_json: bool) -> NoReturn:
    """Prints how a sweep stands when nobody drives it any more, and ends with the exit code for that."""
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
        if summary["state"] == "interrupted":
            click.echo(f"Go on with:  podium resume {summary['sweep']}")
    sys.exit(STATE_CODES.get(summary["state"], 0))


def spent_on(summary: dict[str, Any]) -> str:
    """What training took of GPUs and money, and how much of that in vain; empty if neither is counted."""
    parts = [f"{summary['gpu_hours']:.4g} GPU hours"] if summary["gpu_hours"] else []
    parts += [f"{summary['cost']:.4g} by budget.prices"] if summary["cost"] else []
    if parts and summary["wasted_share"]:
        parts.append(f"{summary['wasted_share']:.0%} of it in vain")
    return ", ".join(parts)


def _stack_of(trial: dict[str, Any]) -> list[tuple[str, str]]:
    """With whom a trial was trained, and by how many; nothing if it had no mates, and one rank."""
    from podium.wiring.summaries import place_in

    lines = []
    if trial["lanes"] > 1:
        how = f"in a stack of {trial['width']}" if trial["width"] > 1 else "each by itself"
        lines.append(f"trained as {place_in(trial['cohort'], trial['lane'], trial['lanes'])}, {how}")
    if trial["ranks"] > 1:
        share = trial["metrics"].get("train/communication_share")
        cost = "" if share is None else f", which exchanged gradients for {share:.0%} of the time"
        lines.append(f"trained by {trial['ranks']} {trial['strategy']} ranks{cost}")
    if trial["scaling_efficiency"] is not None:
        lines.append(f"with a scaling efficiency of {trial['scaling_efficiency']:.0%}")
    lines += [f"rank {rank} used {_usage(used)}" for rank, used in enumerate(trial["usage"])]
    return [("", line) for line in lines]


def _usage(used: dict[str, float]) -> str:
    parts = [f"{used['cpu_utilization_percentage'] / 100:.2g} cores", f"{used['memory_usage_megabytes']:.0f} MB"]
    if "gpu_memory_usage_megabytes" in used:
        parts.append(f"{used['gpu_memory_usage_megabytes']:.0f} MB of its GPU")
    if "gpu_utilization_percentage" in used:
        parts.append(f"{used['gpu_utilization_percentage']:.0f}% of its GPU's time")
    return ", ".join(parts)


def best_of(summary: dict[str, Any]) -> str:
    """The best trial of a sweep in one line."""
    from podium.drawing.words import number

    best = summary["best"]
    if best is None:
        return "none yet"
    metric = ", ".join(summary["objectives"])
    return f"{metric} {number(best['value'])} (trial {best['trial']}, epoch {best['epoch']}, rung {best['rung']})"


def table(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Prints a table; in a terminal that is too narrow for it, a paragraph for each row. States have their colours."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else WIDTH, highlight=False)
    styles = _state_styles(console) if is_terminal else {}
    cells = [[Text(str(cell), styles.get(str(cell), "")) for cell in row] for row in rows]
    columns = zip(
        *([len(str(heading)) for heading in headings], *([cell.cell_len for cell in row] for row in cells)), strict=True
    )
    if is_terminal and sum(map(max, columns)) + len(headings) - 1 > console.width:
        _print_paragraphs(console, headings, cells)
        return
    grid = Table(*headings, box=None, pad_edge=False)
    grid.columns[0].min_width = max(len(str(row[0])) for row in [headings, *rows])
    for row in cells:
        grid.add_row(*row)
    console.print(grid)


def _print_paragraphs(console: "Console", headings: Sequence[str], rows: Sequence[Sequence["Text"]]) -> None:
    """Each row as lines of heading and cell, below its first cell."""
    from rich.text import Text

    width = max(map(len, headings[1:]), default=0)
    for row in rows:
        console.print(Text.assemble((row[0].plain or headings[0], "bold")), soft_wrap=True)
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            first = f"  {heading:<{width}}  "
            for line in cell.wrap(console, max(console.width - len(first), 8)):
                line.rstrip()
                console.print(Text.assemble(first, line), soft_wrap=True)
                first = " " * len(first)


def _state_styles(console: "Console") -> dict[str, str]:
    """By the name of a sweep's state its colour."""
    from podium.console.ink import SWEEPS, ink_of

    styles = ink_of(console).styles
    return {str(state): styles[like] for state, like in SWEEPS.items()}


def print_findings(findings: "Sequence[Finding]") -> None:
    """Prints a line for each thing looked at, and below what is not well what mends it."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        click.echo(f"{'ok' if finding.is_well else '!!'}  {finding.what:<{width}}  {finding.found}")
        if finding.fix:
            click.echo(f"    {'':<{width}}  → {finding.fix}")


def _print_ailing(summary: dict[str, Any]) -> None:
    ailing = summary["ailing"]
    for each in ailing[-MOST_AILING:]:
        click.echo(f"{'ailing':>8}  trial {each['trial']} ({each['state']}): {each['verdict']}")
    if len(ailing) > MOST_AILING:
        click.echo(f"{'':>8}  and {len(ailing) - MOST_AILING} more: `podium status {summary['sweep']} --json`")


def _print_failures(summary: dict[str, Any]) -> None:
    failures = summary["failures"]
    for failure in failures[-MOST_FAILURES:]:
        trial = failure["trial"]
        click.echo(f"{'failed':>8}  trial {trial}: {failure['reason']}")
        for line in failure["log_tail"].splitlines():
            click.echo(f"{'':>8}  │ {line}")
        click.echo(f"{'':>8}  all of it: `podium logs {summary['sweep']}/{trial}`")
    if len(failures) > MOST_FAILURES:
        click.echo(f"{'':>8}  and {len(failures) - MOST_FAILURES} more: `podium status {summary['sweep']} --json`")

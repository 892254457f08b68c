"""How a comparison of sweeps is printed for people."""

from typing import Any

import click

from podium.cli.output import best_of, table


def print_comparison(comparison: dict[str, Any]) -> None:
    """Prints how sweeps stand, what their values say, what they differ in, and their best trials."""
    _print_standings(comparison)
    click.echo()
    for text in comparison["values"]:
        click.echo(text)
    _print_differences(comparison)
    _print_trials(comparison)
    if comparison["url"]:
        click.echo(f"\nThe same runs in MLflow (start it with `podium ui`):\n{comparison['url']}")
    if comparison["html"]:
        click.echo(f"\n{comparison['html']} shows all that with charts")


def _print_standings(comparison: dict[str, Any]) -> None:
    from podium.drawing.words import duration

    rows = []
    for summary in comparison["summaries"]:
        trials, wall_s = summary["trials"], summary["wall_s"]
        count = f"{trials['total']}/{trials['budget']}"
        times = (duration(wall_s), duration(summary["device_s"]))
        rows.append((summary["sweep"], summary["state"], count, best_of(summary), summary["epochs"], *times))
    table(("sweep", "state", "trials", "best", "epochs", "time", "device time"), rows)


def _print_differences(comparison: dict[str, Any]) -> None:
    several, shown = len(comparison["sweeps"]) > 1, ""
    if several:
        click.echo("\nwhat differs" if comparison["differences"] else "\nnothing differs")
    for difference in comparison["differences"]:
        about = difference["about"]
        click.echo(f"{about if about != shown else '':>10}  {difference['text']}")
        shown = about
    if several and comparison["same"]:
        click.echo(f"{'the same':>10}  {', '.join(comparison['same'])}")


def _print_trials(comparison: dict[str, Any]) -> None:
    from podium.drawing.words import number, short

    trials = comparison["trials"]
    rows: list[tuple[Any, ...]] = [
        ("value", *(number(trial["value"]) for trial in trials)),
        ("epoch", *(trial["epoch"] for trial in trials)),
        ("rung", *(trial["rung"] for trial in trials)),
    ]
    rows += [(key, *(short(trial["params"].get(key, "")) for trial in trials)) for key in comparison["varying"]]
    click.echo()
    table(("", *(f"{trial['sweep']}/{trial['trial']}" for trial in trials)), rows)

"""How data sets are printed for people."""

from typing import Any

import click

from podium.cli.output import table
from podium.drawing.words import size

MOST_CLASSES = 20
MOST_SKIPPED = 5
MOST_NUMBERS = 6
"""So many classes, skipped records and numbers of a list are printed; --json has all."""


def print_data(shown: dict[str, Any]) -> None:
    """Prints what a manifest says of a data set, and a table of its classes."""
    for key, value in lines_of(shown):
        click.echo(f"{key:>12}  {value}")
    if shown["schema"]["classes"]:
        _print_balance(shown["schema"], shown["classes"])


def lines_of(shown: dict[str, Any]) -> list[tuple[str, str]]:
    """What a manifest says of a data set, in words; a line without a key goes on with the one before."""
    schema = shown["schema"]
    lines = [
        ("data set", shown["name"]),
        ("folder", shown["folder"]),
        ("source", source_of(shown["source"])),
        ("fingerprint", shown["fingerprint"]),
        ("licence", shown["licence"]),
        ("inputs", _inputs(shown)),
        ("targets", _targets(schema)),
        ("samples", ", ".join(f"{shown['rows'][split]:,} {split}" for split in shown["rows"])),
        ("records", _records(shown)),
        *[("", f"{name}: {reason}") for name, reason in shown["skipped"][:MOST_SKIPPED]],
        *[("steps" if not index else "", _settings(step)) for index, step in enumerate(shown["steps"])],
        ("split", _settings(shown["split"])),
        ("mean", _numbers(schema["mean"])),
        ("deviation", _numbers(schema["std"])),
        ("shards", f"{shown['shards']} files, {size(shown['bytes'])}"),
        ("versions", ", ".join(f"{package} {version}" for package, version in shown["versions"].items())),
        ("sweeps", ", ".join(shown["sweeps"]) or "none"),
        ("sheet", shown.get("sheet", "")),
    ]
    return [(key, value) for key, value in lines if value]


def print_differences(found: dict[str, Any]) -> None:
    """Prints what differs between two data sets, and what they have in common."""
    names = found["names"]
    if found["differences"]:
        rows = [(key, *map(_value, pair)) for key, pair in found["differences"].items()]
        table(("", *names), rows)
    else:
        click.echo(f"the manifests of {names[0]} and {names[1]} say the same")
    common = found["common"]
    click.echo("\nsamples in common")
    rows = [(f"{names[0]} {split}", *(f"{count:,}" for count in counts.values())) for split, counts in common.items()]
    table(("", *(f"{names[1]} {split}" for split in common)), rows)
    click.echo(f"\ntest splits: {'equal' if found['is_test_equal'] else 'different'}, by their checksums")


def source_of(source: dict[str, Any]) -> str:
    """A source in one line: its kind, and where it lies."""
    return " ".join(str(source[key]) for key in ("kind", "path") if key in source)


def _inputs(shown: dict[str, Any]) -> str:
    schema = shown["schema"]
    units = f" of {shown['units']}" if shown["units"] else ""
    how = "standardized when they are read" if schema["normalize"] else "read as they are"
    return f"{_shape(schema['inputs'])} {schema['input_dtype']}{units}, {how}"


def _targets(schema: dict[str, Any]) -> str:
    if schema["target_dtype"] == "int64":
        return f"{schema['classes']} classes"
    if schema["target_dtype"] == "uint8":
        return f"masks of {_shape(schema['targets'])}, {schema['classes']} classes"
    return f"{_shape(schema['targets'])} float32" if schema["targets"] else "a number, float32"


def _records(shown: dict[str, Any]) -> str:
    parts = [f"{shown['records']:,}"]
    if shown["left_out"]:
        parts.append(f"{shown['left_out']:,} of them left out, since another split has equal ones")
    if count := len(shown["skipped"]):
        shows = f", of which {MOST_SKIPPED} are shown (--json has all)" if count > MOST_SKIPPED else ""
        parts.append(f"{count:,} more skipped, since they cannot be read{shows}")
    return "; ".join(parts)


def _print_balance(schema: dict[str, Any], balance: dict[str, list[int]]) -> None:
    """Samples of each class, or pixels of masks, with their share of the split."""
    names = schema["class_names"] or [str(number) for number in range(schema["classes"])]
    unit = "pixels" if schema["target_dtype"] == "uint8" else "class"
    totals = {split: max(sum(counts), 1) for split, counts in balance.items()}
    click.echo()
    rows = [
        (name, *(f"{balance[split][number]:,} ({balance[split][number] / totals[split]:.1%})" for split in balance))
        for number, name in enumerate(names[:MOST_CLASSES])
    ]
    table((unit, *balance), rows)
    if len(names) > MOST_CLASSES:
        click.echo(f"and {len(names) - MOST_CLASSES} more: --json has all")


def _settings(settings: dict[str, Any]) -> str:
    kind = settings.get("kind")
    rest = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "kind" and value is not None)
    return f"{kind}: {rest}" if kind else rest


def _shape(sides: list[int]) -> str:
    return " x ".join(map(str, sides))


def _numbers(values: list[float]) -> str:
    shown = ", ".join(f"{value:.5g}" for value in values[:MOST_NUMBERS])
    return shown + (f", … ({len(values)} in all)" if len(values) > MOST_NUMBERS else "")


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and value and all(isinstance(each, int | float) for each in value):
        return _numbers(list(value))
    return "–" if value is None else str(value)

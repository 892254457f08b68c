"""Commands that hand registered models over: answers for files, and answers over HTTP."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from podium.cli.elsewhere import Travels, travels
from podium.cli.options import placed, with_json
from podium.cli.output import print_json, table
from podium.wiring.place import Place

HERE = Travels(
    stays="a model answers where its samples are; leave --cluster out, and give --tracking-uri the address of the "
    "cluster's MLflow server"
)

SHOWN = 20
"""Rows that are printed."""

QUICK = 256
"""So many samples are answered without a bar of progress."""


@click.command(epilog="Exit codes: 0 answered, 1 the model does not load, 2 user error.")
@click.argument("model")
@click.argument("given", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--array", metavar="NAME", help="The array of an .npz file. Default: x, inputs, or the only one")
@click.option("--columns", metavar="A,B", help="Columns of a table, in the order of training. Default: all")
@click.option("--probabilities", is_flag=True, help="Tell the probabilities of all classes or labels.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to FILE.npz, .csv or .json, or maps into a folder.")
@placed
@travels(HERE)
@with_json
def predict(
    model: str, given: Path, array: str | None, columns: str | None, out: Path | None, place: Place, **options: bool
) -> None:
    """Let a registered MODEL answer for the samples of INPUT.

    MODEL is NAME@ALIAS, say digits@champion; NAME/VERSION; or a sweep's name, for the model it registered.

    INPUT is an .npz or .npy file [samples, ...], an image, a folder with images, or a CSV or Parquet file with a column
    a feature. Samples are given raw, as the data's source has them: the model normalizes them, and resizes images if
    it was trained on images that were.

    podium predict digits@champion photos/ --out answers.csv
    """
    from podium.console import Terminal
    from podium.wiring import serving
    from podium.wiring.answer_files import keeping
    from podium.wiring.answers import Reading

    version = serving.find(place, model)
    Terminal().stage(f"Loading {version}")
    loaded = serving.load(place, version)
    count, answered = serving.ask(loaded, given, array, columns.split(",") if columns else ())
    reading = Reading(loaded.about, options["probabilities"])
    rows: list[dict[str, Any]] = []
    bar = click.progressbar(length=count, label="Answering", file=sys.stderr, hidden=count <= QUICK)
    with bar, keeping(out, reading) as keep:
        for samples, answers in answered:
            found = list(reading.rows(samples, answers))
            keep(samples, answers, found)
            rows += found
            bar.update(len(found))
    if options["as_json"]:
        print_json({"model": version.name, "version": version.number, "answers": rows, "out": out and str(out)})
        return
    _print_rows(rows)
    if out is not None:
        click.echo(f"\n{out} holds the answers of {version} to {count:,} sample{'s' * (count != 1)}")


@click.command(epilog="Exit codes: 0 ended by Ctrl-C or SIGTERM, 1 the model does not load, 2 user error.")
@click.argument("model")
@click.option("--port", default=5001, show_default=True, help="0 takes a free one.")
@placed
@travels(HERE)
@with_json
def serve(model: str, port: int, place: Place, as_json: bool) -> None:
    """Serve a registered MODEL over HTTP, on this machine only, by MLflow's scoring protocol.

    MODEL is NAME@ALIAS, say digits@champion; NAME/VERSION; or a sweep's name, for the model it registered. When the
    alias moves, the version that has it now is loaded, checked on its input example, and answers from then on; no
    request fails meanwhile. With --json one line with the address is printed once requests are answered.

    POST /invocations takes {"inputs": [samples, ...]} and gives {"predictions": [...]}; GET /health tells the version:

    curl -s http://127.0.0.1:5001/health
    """
    from podium.console import Terminal
    from podium.registry import serving as servers
    from podium.wiring import serving

    version = serving.find(place, model)
    with servers.listening(port) as listener, suppress(KeyboardInterrupt):
        Terminal().stage(f"Loading {version}")
        switch = serving.switch(place, version, lambda text: click.echo(f"podium: {text}", err=True))
        url = "http://{}:{}".format(*listener.getsockname())
        if as_json:
            print_json({"model": version.name, "version": version.number, "url": url})
            sys.stdout.flush()
        click.echo(f"{version} answers on {url}/invocations (Ctrl-C ends it)", err=True)
        servers.serve(switch, listener)


def _print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """The first rows as a table."""
    table(tuple(rows[0]), [tuple(map(_shown, row.values())) for row in rows[:SHOWN]])
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN:,} more; --out FILE.csv or --json has them all")


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


COMMANDS = (predict, serve)

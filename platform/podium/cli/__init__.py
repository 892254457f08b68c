"""The command line: thin. Every command prints for people, or with --json one JSON object as its last line."""

import atexit
import gc
import sys
import traceback

import click

from podium.cli import (
    cluster,
    data,
    exporting,
    launching,
    looking,
    planting,
    promoting,
    reproducing,
    serving,
    steering,
    up,
)
from podium.cli.options import EXIT_CODES
from podium.errors import DEFECT, Interrupted, PodiumError, UserError


def main() -> None:
    """Runs the command line; a mistake of the user's is one message, never a traceback."""
    atexit.register(gc.freeze)  # or the interpreter looks through all that torch and MLflow made before it ends
    try:
        podium(standalone_mode=False)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(UserError.exit_code)
    except PodiumError as error:
        click.echo(f"podium: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("podium: left at once; `podium resume NAME` goes on", err=True)
        sys.exit(Interrupted.exit_code)
    except Exception:
        traceback.print_exc()
        sys.exit(DEFECT)


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="podium")
def podium() -> None:
    """Launch sweeps of deep-learning trials, keep every result, promote the best model.

    A first sweep:  podium launch experiments/digits/sweep.yaml
    """


for _module in (launching, planting, data, steering, looking, exporting, promoting, reproducing, serving, up, cluster):
    for _command in _module.COMMANDS:
        podium.add_command(_command)

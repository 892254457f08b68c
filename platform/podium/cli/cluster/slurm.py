"""The command that writes a job for Slurm."""

from pathlib import Path
from typing import Any

import click

from podium.cli.options import with_json
from podium.cli.output import print_json
from podium.wiring.place import Place

WORDS = ("mem", "partition", "account", "qos", "constraint", "job_name")


@click.command(epilog="Exit codes: 0 written, 2 user error.")
@click.argument("file")
@click.argument("overrides", nargs=-1)
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--cpus-per-node", type=click.IntRange(min=1), help="Default: whole nodes, with all their CPUs")
@click.option("--gpus-per-node", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--time", required=True, help="How long the job may run, as Slurm writes it: 8:00:00, or 2-00:00:00.")
@click.option("--mem", help="Memory of each node, say 64G. Default: the cluster's")
@click.option("--partition", help="Default: the cluster's")
@click.option("--account", help="Default: yours")
@click.option("--qos", help="Default: yours")
@click.option("--constraint", help="What the nodes must have, say a100")
@click.option("--job-name", help="Default: the sweep's name")
@click.option(
    "--signal-s",
    type=click.IntRange(1, 65535),
    help="Leave so many seconds before the time is up. Default: the sweep's limits.grace_s, and 90",
)
@click.option("--home", help="A folder that all nodes share. Default: PODIUM_HOME or .podium")
@click.option("--store", help="A folder that all nodes share, or an address. Default: the home")
@click.option(
    "--environment", type=click.Path(path_type=Path), help="Where bin/podium is. Default: that of this command"
)
@click.option("--out", type=click.Path(path_type=Path, allow_dash=True), help="- prints it. Default: SWEEP.sbatch")
@with_json
def slurm(file: str, overrides: tuple[str, ...], out: Path | None, as_json: bool, **asked: Any) -> None:
    """Write a file for sbatch that runs the sweep FILE on nodes of Slurm.

    OVERRIDES change settings, as for launch. The job starts Ray on its nodes, launches the sweep there, and ends both.
    Before its time is up, trials write checkpoints; then it is queued again, and goes on. So does the next `sbatch` of
    the same file, after a job that was cancelled or has failed.

    podium cluster slurm --nodes 4 --gpus-per-node 8 --time 8:00:00 sweep.yaml
    """
    from podium.spec.files import read_sweep
    from podium.wiring.clusters import slurm as jobs

    place = Place.of(home=asked.pop("home"), store=asked.pop("store"))
    environment = jobs.environment(asked.pop("environment"))
    words = {name.replace("_", "-"): asked.pop(name) for name in WORDS}
    sweep_file = read_sweep(file, overrides)
    with sweep_file.locating():
        text = jobs.job(sweep_file, overrides, jobs.Allocation(words=words, **asked), place, environment)
    if str(out) == "-":
        print_json({"sweep": sweep_file.spec.sweep, "text": text}) if as_json else click.echo(text, nl=False)
        return
    out = out or Path(f"{sweep_file.spec.sweep}.sbatch")
    jobs.write(out, text)
    if as_json:
        print_json({"sweep": sweep_file.spec.sweep, "file": str(out)})
    else:
        click.echo(f"{out} is written; submit it:  sbatch {out}")


COMMANDS = (slurm,)

"""The command for a host that is about to go."""

import sys

import click

from podium.cli.options import with_json
from podium.cli.output import print_done


@click.command(epilog="Exit codes: 0 nothing is trained here any more, 1 the time was over first, 2 user error.")
@click.option("--cluster", "address", default="auto", show_default=True, help="The Ray's address: HEAD:PORT.")
@click.option("--within", "within_s", default=60.0, show_default=True, help="Seconds that the host may still be used.")
@with_json
def leave(address: str, within_s: float, as_json: bool) -> None:
    """Have what is trained on this host saved, and go on elsewhere, before the host goes.

    For a spot notice, systemd's ExecStop, or Kubernetes' preStop hook: Ray itself kills its workers at once when it is
    told to end, and what they had not saved is trained again.
    """
    from podium.execution.connection import connected
    from podium.execution.leaving import leave as leave_host

    with connected(address):
        left = leave_host(within_s)
    message = (
        f"{left.ranks} rank(s) are still here after {within_s:g} s"
        if left.ranks
        else "nothing is trained here any more"
    )
    if left.drivers:
        message += f"; {left.drivers} sweep(s) have their driver here, which goes on elsewhere once this host is gone"
    print_done({"left": left.ranks, "drivers": left.drivers, "message": message}, as_json)
    sys.exit(left.ranks > 0)


COMMANDS = (leave,)

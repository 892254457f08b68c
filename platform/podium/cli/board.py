"""The command that shows sweeps in a browser."""

import sys

import click

from podium.cli.elsewhere import Travels, travels
from podium.cli.options import placed, with_json
from podium.cli.output import print_json
from podium.wiring.place import Place

HERE = Travels(
    stays="it reads the ledger where that is; start it on the cluster's head, and look at it from here through "
    "`ssh -L 5002:127.0.0.1:5002 HOST`, at http://127.0.0.1:5002"
)


@click.command(epilog="Exit codes: 0 ended by Ctrl-C or SIGTERM, 2 user error.")
@click.option("--port", default=5002, show_default=True, help="0 takes a free one.")
@click.option(
    "--steer", is_flag=True, help="Let whoever has the address that is printed stop, try, extend and promote."
)
@placed
@travels(HERE)
@with_json
def board(port: int, steer: bool, place: Place, as_json: bool) -> None:
    """Show the sweeps of this home in a browser, live, on this machine only.

    Reads the ledger alone, and never writes to it: sweeps run no slower, whether they are looked at or not. With --json
    one line with the address is printed once it answers.

    With --steer the address has a token, which lets a browser in that is given it: what is asked there is left in the
    ledger as `podium stop`, `enqueue` and `extend` do, in the name of who asks. From another machine:

    ssh -L 5002:127.0.0.1:5002 HOST
    """
    from podium.registry.serving import listening
    from podium_board.access import TOKEN, make_token
    from podium_board.serving import serve

    with listening(port) as listener:
        token = make_token() if steer else ""
        url = "http://{}:{}/".format(*listener.getsockname())
        entry = url + (f"?{TOKEN}={token}" if token else "")
        if as_json:
            print_json({"url": entry})
            sys.stdout.flush()
        click.echo(f"podium: the board is at {url if as_json else entry} (Ctrl-C ends it)", err=True)
        serve(place, listener, token)


COMMANDS = (board,)

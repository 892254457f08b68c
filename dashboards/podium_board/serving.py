"""Serving the board on loopback."""

import signal
import socket
from contextlib import suppress

from podium.wiring.place import Place
from podium_board.access import Access
from podium_board.app import make
from podium_board.reading import Board

GRACE_S = 1
"""How long answers may take that are under way when the board ends; streams of news would never end."""


def serve(place: Place, listener: socket.socket, token: str = "") -> None:
    """Shows the sweeps of a place until the process is interrupted or terminated; whoever has the token may steer."""
    import uvicorn

    settings = uvicorn.Config(
        make(Board(place), Access(token)),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    # uvicorn raises the signal that it has heard once more when it has ended
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, terminated)

"""Serving the board on loopback."""

import socket

from podium.wiring.place import Place
from podium_board.app import make
from podium_board.reading import Board

GRACE_S = 1
"""How long answers may take that are under way when the board ends; streams of news would never end."""


def serve(place: Place, listener: socket.socket) -> None:
    """Shows the sweeps of a place until the process is interrupted or terminated."""
    import uvicorn

    settings = uvicorn.Config(
        make(Board(place)),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(settings).run(sockets=[listener])

"""Training: seats, what a rank has to know to meet the others."""

import socket
from dataclasses import dataclass

MEET_S = 60.0
"""How long ranks wait for each other before they have met."""


@dataclass(frozen=True)
class Seat:
    """A rank's place among those that train a trial together; by default it is alone.

    Attributes:
        rank: Its number, from 0.
        count: How many ranks there are.
        host: Where the first rank listens.
        port: At which port.
        address: The address by which the others reach this rank.
        within_s: How long a rank may keep the others waiting once they have met.
        listener: The descriptor of the socket that listens there, the rank's to close; None for all but the first.
    """

    rank: int = 0
    count: int = 1
    host: str = ""
    port: int = 0
    address: str = ""
    within_s: float = 0.0
    listener: int | None = None


def listen(address: str) -> socket.socket:
    """Listens at a free port of one address of this host, which nobody else can take until the ranks have met there."""
    return socket.create_server((address, 0))

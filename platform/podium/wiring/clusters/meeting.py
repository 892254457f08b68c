"""Two hosts that try to train together: what ranks do at the start of a trial, with nothing to train."""

import socket
import time
from dataclasses import replace

from podium.errors import MeetingFailed
from podium.training.ranks import Ranks
from podium.training.seats import Seat, listen

_listening: list[socket.socket] = []

NUMBERS = 1 << 16
"""So many of them are added up."""


def open_door(address: str) -> int:
    """Listens where the other host will come; tells the port."""
    _listening.append(listen(address))
    port: int = _listening[-1].getsockname()[1]
    return port


def add_up(seat: Seat, device: str) -> tuple[str, float]:
    """Meets the other host and adds up numbers with it; tells by which library, and the seconds of the addition.

    Args:
        seat: Where this host sits; the first has opened the door before.
        device: `cuda` if both have GPUs, else `cpu`.

    Raises:
        MeetingFailed: if the other host does not come, or the sum is wrong.
    """
    import torch

    if seat.rank == 0:
        seat = replace(seat, listener=_listening.pop().detach())
    device = device if torch.cuda.is_available() else "cpu"
    ranks = Ranks(emit=lambda event: None, halted=lambda: False, device=device)
    ranks.sit(seat)
    try:
        numbers = torch.full((NUMBERS,), 1.0 + seat.rank, device=device)
        began = time.perf_counter()
        ranks.total([numbers])
        is_right = bool((numbers == 1.0 + 2.0).all())
        took_s = time.perf_counter() - began
    except RuntimeError as error:
        raise MeetingFailed(f"the exchange with the other host failed: {error}") from error
    finally:
        ranks.leave()
    if not is_right:
        raise MeetingFailed("what the two hosts added up is wrong")
    return "NCCL" if device == "cuda" else "gloo", took_s

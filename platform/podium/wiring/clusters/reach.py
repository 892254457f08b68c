"""The way from this machine to a cluster: whether somebody listens there, and lets us in."""

import socket
from urllib.parse import urlsplit

from podium.wiring.findings import Finding

ANSWER_S = 10.0

GIVE_IT = (
    "copy the token of the head (there in ~/.ray/auth_token) into ~/.ray/auth_token here, mode 600, or name its file "
    "in RAY_AUTH_TOKEN_PATH; RAY_AUTH_TOKEN, where it is set, wins over both"
)


def listener(address: str) -> Finding:
    """Whether anybody accepts a connection at `HOST:PORT` or `http://HOST:PORT`."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=ANSWER_S).close()
    except (OSError, ValueError) as error:
        fix = "start the head there, look at the firewalls between, and check the address and the port"
        return Finding(False, "reach", f"nobody answers at {address}: {error}", fix)
    return Finding(True, "reach", f"{address} answers")


def entry(address: str) -> Finding:
    """Whether the head of the Ray at `HOST:PORT` takes the token that this process has."""
    from podium.execution.entry import knock

    refusal = knock(address)
    if refusal is None:
        return Finding(True, "token", "accepted")
    if refusal.is_token:
        return Finding(False, "token", f"refused, {refusal.said}", GIVE_IT)
    fix = "is that the head's control port (6379)? If it has TLS, set RAY_USE_TLS and its authority's certificates here"
    return Finding(False, "Ray", f"{address} does not speak as a Ray's head does, {refusal.said}", fix)

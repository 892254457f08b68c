"""Whether the head of a Ray lets us in: one question to its control service, where `ray.init` tries for 20 seconds."""

from typing import NamedTuple

from podium.execution.token import ensure_token

ensure_token()

import grpc  # noqa: E402
from ray._private.grpc_utils import init_grpc_channel  # noqa: E402

ANSWER_S = 10.0

_QUESTION = "/ray.rpc.NodeInfoGcsService/GetClusterId"


class Refusal(NamedTuple):
    """Why not.

    Attributes:
        is_token: Whether it is for the token: another one, or none.
        said: What the head said.
    """

    is_token: bool
    said: str


def knock(address: str) -> Refusal | None:
    """Asks the head at `HOST:PORT`, with the token and the certificate of the environment; None if it lets us in."""
    channel = init_grpc_channel(address)
    try:
        channel.unary_unary(_QUESTION)(b"", timeout=ANSWER_S)
    except grpc.RpcError as error:
        is_token = error.code() is grpc.StatusCode.UNAUTHENTICATED
        return Refusal(is_token, f"{error.code().name}: {' '.join((error.details() or '').split())}")
    finally:
        channel.close()
    return None

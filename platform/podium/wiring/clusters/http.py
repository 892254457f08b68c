"""Questions to a server of ours, asked once: what it answers, and who it thinks we are."""

import base64
import json
import urllib.error
import urllib.request
from email.message import Message
from http.client import HTTPException
from typing import Any, NamedTuple

ANSWER_S = 10.0

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Goes to the server itself: a proxy would read the header with the password."""


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Message
    content: bytes


def ask(url: str, authorization: str = "", body: dict[str, Any] | None = None) -> Answer:
    """Asks once; a body is sent as JSON.

    Args:
        url: Without a name and a password.
        authorization: As in the header of that name.
        body: What to send.

    Raises:
        OSError: if nobody answers.
    """
    headers = {"Content-Type": "application/json"} | ({"Authorization": authorization} if authorization else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers)  # noqa: S310
    try:
        with _OPENER.open(request, timeout=ANSWER_S) as reply:
            return Answer(reply.status, reply.headers, reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read())
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else OSError(str(error.reason)) from error
    except (HTTPException, ValueError) as error:
        raise OSError(f"it does not speak HTTP: {error!r}") from error


def status_of(url: str, authorization: str = "") -> int | None:
    """The status of an answer; None if there is none."""
    try:
        return ask(url, authorization).status
    except OSError:
        return None


def basic(user: str, password: str) -> str:
    """The header of a user with a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

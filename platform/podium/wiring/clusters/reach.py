"""The way from this machine to a cluster: whether somebody listens there, and lets us in."""

import importlib.metadata
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from podium.errors import PodiumError
from podium.wiring.clusters.diagnosis import CLOCK_FIX, MOST_SKEW_S
from podium.wiring.clusters.http import ask
from podium.wiring.clusters.named import Cluster
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


def elsewhere(cluster: Cluster, say: Callable[[str], None]) -> Iterator[Finding]:
    """The way from this machine to a cluster elsewhere, and what its own doctor finds there.

    Args:
        cluster: Which one.
        say: Told what is being done, here and there.
    """
    say(f"Looking for {cluster.address}")
    way = list(_way(cluster))
    yield from way
    if not all(finding.is_well for finding in way if finding.what in ("reach", "token")):
        return
    say(f"Having {cluster.name} look at itself")
    try:
        yield from _there(cluster, say)
    except PodiumError as error:
        yield Finding(False, "jobs", str(error), "look at the logs of the head's dashboard")


def _way(cluster: Cluster) -> Iterator[Finding]:
    finding = listener(cluster.address)
    yield finding
    if not finding.is_well:
        return
    try:
        token = cluster.token()
        began, answer = time.time(), ask(f"{cluster.address}/api/version", f"Bearer {token}" if token else "")
    except (PodiumError, OSError) as error:
        yield Finding(False, "token", str(error), GIVE_IT)
        return
    yield _token(answer.status, is_given=bool(token))
    yield from _clock(answer.headers.get("Date", ""), (began + time.time()) / 2)
    if answer.status == 200:
        yield from _ray(answer.content)


def _token(status: int, *, is_given: bool) -> Finding:
    if status == 200:
        return Finding(True, "token", "accepted" if is_given else "none is asked for")
    if status in (401, 403):
        return Finding(False, "token", "refused" if is_given else "there is none here, and one is asked for", GIVE_IT)
    fix = "the address must be that of a Ray dashboard, http://HEAD:8265"
    return Finding(False, "token", f"the answer was HTTP {status}", fix)


def _clock(date: str, now: float) -> Iterator[Finding]:
    """Compares this clock with the one of the head, whose answer has the time in whole seconds."""
    with suppress(ValueError):
        ahead_s = parsedate_to_datetime(date).timestamp() + 0.5 - now
        if abs(ahead_s) - 0.5 > MOST_SKEW_S:
            how = "ahead of" if ahead_s > 0 else "behind"
            yield Finding(False, "clock here", f"the head is {abs(ahead_s):.0f} s {how} this machine", CLOCK_FIX)
        else:
            yield Finding(True, "clock here", "within a second or two of the head's")


def _ray(content: bytes) -> Iterator[Finding]:
    with suppress(ValueError, KeyError):
        yield _same("ray", str(json.loads(content)["ray_version"]))


def _same(package: str, there: str) -> Finding:
    here = importlib.metadata.version(package)
    what = f"{package} here"
    if here == there:
        return Finding(True, what, f"{here}, as there")
    return Finding(False, what, f"{here}, and {there} there", f"pip install {package}=={there} here")


def _there(cluster: Cluster, say: Callable[[str], None]) -> Iterator[Finding]:
    from podium.wiring.clusters.elsewhere import carry_out

    told: list[str] = []

    def hear(kind: str, text: str) -> None:
        if kind == "out":
            told.append(text)
        elif text.strip():
            say(text.strip().removesuffix(" …"))

    answer = carry_out(cluster, ["doctor", "--json"], hear)
    try:
        report = json.loads("".join(told).splitlines()[-1])
        findings = [Finding(**finding) for finding in report["findings"]]
    except (ValueError, IndexError, KeyError, TypeError):
        found = f"its doctor ended with exit code {answer.code}, and told nothing"
        yield Finding(False, "doctor there", found, "install the same Podium there, for the Python of its Ray")
        return
    yield _same("podium", report["podium"])
    yield from findings

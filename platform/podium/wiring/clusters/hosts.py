"""A Ray on plain hosts over ssh: started, looked at, and ended."""

import hashlib
import importlib.resources
import json
import os
import platform
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from podium.errors import UserError
from podium.tracking.provenance import provenance
from podium.wiring.clusters.hosts_file import Host, addresses_of

PORTS = ("HEAD_PORT", "NODE_PORTS", "WORKER_PORTS")
"""Variables of the scripts that are handed on where they are set here."""

SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=30")
LONGEST_S = 600

TOLD = 3
"""Packages that are named where hosts have different ones."""

Settings = Mapping[str, str | Sequence[str]]
"""Variables of the script that a host runs: text, or the parts of a list."""


def up(hosts: Sequence[Host], say: Callable[[str], None]) -> dict[str, Any]:
    """Starts Ray on those hosts on which it does not run yet; gives its address.

    Raises:
        UserError: if a host cannot be used, naming all of these, before anything is started; or if Ray does not start.
    """
    addresses = addresses_of(hosts)
    found = _on_all(hosts, "probe")
    token = _token()
    _require_alike(hosts, found, hashlib.sha256(token.encode()).hexdigest())
    port = os.environ.get("HEAD_PORT", "6379")
    address = f"{addresses[0]}:{port}"
    common = {"token": token, **_scripts(), **{name: os.environ[name] for name in PORTS if name in os.environ}}
    starts = [["head.sh", addresses[0]], *(["worker.sh", each, address] for each in addresses[1:])]
    given = {host: {**common, "start": [*start, *host.arguments]} for start, host in zip(starts, hosts, strict=True)}
    head, *others = hosts
    idle = [host for host, lines in zip(hosts, found, strict=True) if lines[-1] != "up"]
    if head in idle:  # others that still run belong to a head that is gone
        _on_all(others, "down")
        idle = list(hosts)
        _start([head], given, say)
    _start([host for host in others if host in idle], given, say)
    _on_all([head], "joined", [{"address": address, "hosts": str(len(hosts))}])
    return {"address": address, "started": [host.name for host in idle]}


def status(hosts: Sequence[Host]) -> list[dict[str, Any]]:
    """How each host is: whether Ray lives there, its CPUs, GPUs, load and free disk, or why it does not answer."""
    return [_stand(host, *answer) for host, answer in zip(hosts, _ask(hosts, "status"), strict=True)]


def down(hosts: Sequence[Host]) -> None:
    """Ends on all hosts what `up` started, the head last.

    Raises:
        UserError: naming the hosts that do not answer, after the others were dealt with.
    """
    problems = []
    for group in (hosts[1:], hosts[:1]):
        answers = _ask(group, "down")
        problems += [f"{host.name}: {said}" for host, (code, said) in zip(group, answers, strict=True) if code]
    if problems:
        raise UserError("; ".join(problems) + ". Run down again when they answer")


def _start(hosts: Sequence[Host], given: Mapping[Host, Settings], say: Callable[[str], None]) -> None:
    if hosts:
        say(f"Starting Ray on {', '.join(host.name for host in hosts)}")
        _on_all(hosts, "up", [given[host] for host in hosts])


def _stand(host: Host, code: int, said: str) -> dict[str, Any]:
    if code:
        return {"host": host.name, "ray": "unreachable", "why": said}
    ray, cpus, gpus, load, disk = said.split()[-5:]  # a login may have said something first
    machine = {"cpus": int(cpus), "gpus": int(gpus), "load": float(load), "free_bytes": int(disk)}
    return {"host": host.name, "ray": ray, **machine}


def _require_alike(hosts: Sequence[Host], found: Sequence[Sequence[str]], token_sha256: str) -> None:
    """Checks that all hosts have what this one has: Python, packages, Podium's own code, and no other token."""
    here = provenance(Path.home())
    problems = []
    for host, lines in zip(hosts, found, strict=True):
        facts, token, _ = lines[-3:]  # a login may have said something first
        there = json.loads(facts)
        if there["python"] != platform.python_version():
            problems.append(f"{host.name} has Python {there['python']}, and this machine {platform.python_version()}")
        differing = sorted(
            name
            for name in {*there["packages"], *here["packages"]}
            if there["packages"].get(name) != here["packages"].get(name)
        )
        if differing:
            few = ", ".join(
                f"{name} {there['packages'].get(name, 'absent')} instead of {here['packages'].get(name, 'absent')}"
                for name in differing[:TOLD]
            )
            problems.append(f"{host.name} has {len(differing)} other package(s): {few}")
        elif there["source"] != here["source"]:
            problems.append(f"{host.name} has another Podium of the same version")
        if token not in ("none", token_sha256):
            problems.append(f"{host.name} has another token in ~/.ray/auth_token; move it away")
    if problems:
        raise UserError("; ".join(problems) + ". Nothing was started")


def _token() -> str:
    """The user's token for Ray, made if there is none."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="utf-8").strip()


def _scripts() -> dict[str, str]:
    inside = Path(str(importlib.resources.files("podium.wiring.clusters"))) / "host_scripts"
    folder = inside if inside.exists() else Path(__file__).parents[4] / "cluster" / "hosts"
    return {f"{name}_sh": (folder / f"{name}.sh").read_text(encoding="utf-8") for name in ("common", "head", "worker")}


def _on_all(hosts: Sequence[Host], action: str, settings: Sequence[Settings] = ()) -> list[list[str]]:
    """Has all hosts do something; gives the lines that each has printed.

    Raises:
        UserError: naming all hosts that could not.
    """
    answers = _ask(hosts, action, settings)
    problems = [f"{host.name}: {said}" for host, (code, said) in zip(hosts, answers, strict=True) if code]
    if problems:
        raise UserError("; ".join(problems))
    return [said.splitlines() for _, said in answers]


def _ask(hosts: Sequence[Host], action: str, settings: Sequence[Settings] = ()) -> list[tuple[int, str]]:
    """By host the exit code of an action, and what it printed; what it complained of if it failed."""
    with ThreadPoolExecutor(len(hosts) or 1) as pool:
        return list(pool.map(lambda host, each: _run(host, action, each), hosts, settings or [{}] * len(hosts)))


def _run(host: Host, action: str, settings: Settings) -> tuple[int, str]:
    lines = [
        f"{name}={shlex.quote(value)}" if isinstance(value, str) else f"{name}=({shlex.join(value)})"
        for name, value in {"environment": sys.prefix, **settings}.items()
    ]
    exported = f"export {' '.join(PORTS)}"
    script = (importlib.resources.files("podium.wiring.clusters") / "on_host.sh").read_text(encoding="utf-8")
    text = "\n".join([*lines, exported, script, action, ""])
    try:
        done = subprocess.run(  # noqa: S603
            [*SSH, "--", host.name, "bash", "-s"],
            input=text, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return 1, f"no answer within {LONGEST_S} s"
    if done.returncode == 0:
        return 0, done.stdout.strip()
    said = (done.stderr or done.stdout).strip().splitlines()
    return done.returncode, said[-1] if said else f"{action} ended with exit code {done.returncode}"

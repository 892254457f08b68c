"""The file that names the hosts of a cluster, one a line."""

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podium.errors import UserError


@dataclass(frozen=True)
class Host:
    """A machine.

    Attributes:
        name: What ssh calls it: `host` or `user@host`.
        options: `cpus` and `gpus`, where others are to be offered than there are; `address`, where the other hosts call
            it otherwise than ssh does.
        where: File and line that name it.
    """

    name: str
    options: Mapping[str, str] = field(hash=False)
    where: str = field(default="", compare=False)

    @property
    def address(self) -> str:
        """By which the other hosts reach it.

        Raises:
            UserError: if its name means nothing here.
        """
        if "address" in self.options:
            return self.options["address"]
        asked = subprocess.run(  # noqa: S603
            ["ssh", "-G", "--", self.name],  # noqa: S607 - the user's own
            capture_output=True,
            text=True,
            check=False,
        )
        real = re.search(r"^hostname (\S+)$", asked.stdout, re.MULTILINE)
        try:
            return socket.gethostbyname(real[1] if real else self.name)
        except OSError as error:
            raise UserError(f"{self.name}: its address is not known here: {error}; give address=…") from error

    @property
    def arguments(self) -> list[str]:
        """What it offers, for `ray start`."""
        return [f"--num-{name}={self.options[name]}" for name in ("cpus", "gpus") if name in self.options]


def read_hosts(path: Path) -> list[Host]:
    """The hosts of a file, one a line; the first is the head.

    Raises:
        UserError: for the first line that is wrong, naming it.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    hosts: dict[str, Host] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        host = _host(words, f"{path}:{number}")
        if host.name in hosts:
            raise UserError(f"{path}:{number}: {host.name} is there already; give each host once")
        hosts[host.name] = host
    if not hosts:
        raise UserError(f"{path} names no host; give one a line, the head first: [user@]host [cpus=N] [gpus=N]")
    return list(hosts.values())


def addresses_of(hosts: Sequence[Host]) -> list[str]:
    """By which the hosts reach each other.

    Raises:
        UserError: if one has no address here, or one that means another machine on each of several hosts, or that of a
            host before it.
    """
    addresses = [host.address for host in hosts]
    for number, (host, address) in enumerate(zip(hosts, addresses, strict=True)):
        if len(hosts) > 1 and address.startswith("127."):
            raise UserError(f"{host.name} is {address} here, which other hosts cannot reach; give address=…")
        if address in addresses[:number]:
            other = hosts[addresses.index(address)]
            raise UserError(f"{host.where}: {host.name} is {address}, as is {other.name}; give each host once")
    return addresses


def require_ssh() -> None:
    """Checks that there is the program by which hosts are reached.

    Raises:
        UserError: if not.
    """
    if shutil.which("ssh") is None:
        raise UserError("there is no ssh on the PATH; install OpenSSH's client")


def _host(words: Sequence[str], where: str) -> Host:
    name, *rest = words
    if not re.fullmatch(r"[\w.@:%\[\]][\w.@:%\[\]-]*", name) or "=" in name:
        raise UserError(f"{where}: {name!r} is no host; give host or user@host")
    options = {}
    for word in rest:
        match = re.fullmatch(r"(cpus|gpus)=(\d+)|(address)=([\w.:-]+)", word)
        if match is None:
            raise UserError(f"{where}: {word!r} is not known; after the host, cpus=N, gpus=N and address=… may follow")
        key, _, value = word.partition("=")
        options[key] = value
    return Host(name, options, where)

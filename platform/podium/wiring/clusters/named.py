"""The clusters of one user by name, in `~/.config/podium/clusters.toml`: addresses, and where tokens lie; no secret."""

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podium.errors import LookupFailed, UserError
from podium.masking import without_logins

HERE = ("inline", "local", "auto")
"""What `--cluster` means by itself, and no cluster can be called."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_ADDRESS = re.compile(r"https?://[^/@?#\s]+(/[^@?#\s]*)?")
_HOST = re.compile(r"[^/@\s]+:\d+")


@dataclass(frozen=True)
class Cluster:
    """A Ray elsewhere.

    Attributes:
        name: What its user calls it; its address, if it has no name.
        address: Of its dashboard, `http://HEAD:8265`.
        token_file: The file with its token; None for the user's usual one.
    """

    name: str
    address: str
    token_file: Path | None = None

    def token(self) -> str:
        """What the cluster is to be shown: its own token, or the user's for every Ray; empty if there is none.

        Raises:
            UserError: if the file with it cannot be read, or others can read it, or it is no token.
        """
        if self.token_file is None and "RAY_AUTH_TOKEN" in os.environ:
            return _one_word(os.environ["RAY_AUTH_TOKEN"], "RAY_AUTH_TOKEN")
        usual = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token"))
        file = (self.token_file or usual).expanduser()
        try:
            if file.stat().st_mode & 0o077:
                raise UserError(f"others can read the token {file}; run: chmod 600 {file}")
            return _one_word(file.read_text(), str(file))
        except UnicodeDecodeError:
            raise UserError(f"{file} holds no token: it is no text") from None
        except OSError as error:
            if self.token_file is None and isinstance(error, FileNotFoundError):
                return ""
            raise UserError(f"the token of {self.name} cannot be read: {file}: {error.strerror}") from error


def _one_word(token: str, source: str) -> str:
    """A token that can be sent; it is not shown, whatever is wrong with it."""
    token = token.strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"{source} holds no token: a token is one word of letters and digits, in one line")
    return token


def find(cluster: str) -> Cluster | None:
    """The cluster elsewhere that `--cluster` means; None for this process, this machine, or a Ray to join.

    Raises:
        LookupFailed: if it is a name that no cluster has.
        UserError: for an address that is none, or a file that cannot be read.
    """
    if cluster in HERE or _HOST.fullmatch(cluster):
        return None
    if "://" in cluster:
        _require_address(cluster)
        return Cluster(cluster.rstrip("/"), cluster.rstrip("/"))
    named = clusters()
    if cluster not in named:
        known = ", ".join(named) or "none yet"
        raise LookupFailed(
            f"there is no cluster {cluster!r}; named clusters: {known}. Name one by `podium cluster add {cluster} "
            "http://HEAD:8265`, or give inline, local, HEAD:6379 or http://HEAD:8265"
        )
    return named[cluster]


def clusters() -> dict[str, Cluster]:
    """All named clusters, in the order in which they were named.

    Raises:
        UserError: naming file and line, if the file is not as it should be.
    """
    text = _text()
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file()}: {error}") from None
    return {name: _cluster(name, entry, text) for name, entry in tables.items()}


def add(name: str, address: str, token: str | None) -> Cluster:
    """Names a cluster, or gives a named one another address and token.

    Raises:
        UserError: for a name or an address that cannot be one, or a token that cannot be used.
    """
    if not _NAME.fullmatch(name) or name in HERE:
        raise UserError(
            f"{name!r} cannot be a cluster's name; use letters, digits, - and _, and not {' or '.join(HERE)}"
        )
    _require_address(address)
    clusters()
    cluster = Cluster(name, address.rstrip("/"), None if token is None else Path(token).expanduser().absolute())
    cluster.token()
    import tomlkit

    document = tomlkit.parse(_text())
    entry = {"address": cluster.address}
    if cluster.token_file is not None:
        entry["token"] = str(cluster.token_file)
    document[name] = entry
    _write(tomlkit.dumps(document))
    return cluster


def remove(name: str) -> None:
    """Forgets a named cluster; the cluster itself is left as it is.

    Raises:
        LookupFailed: if there is none of that name.
    """
    known = clusters()
    if name not in known:
        raise LookupFailed(f"there is no cluster {name!r}; named clusters: {', '.join(known) or 'none yet'}")
    import tomlkit

    document = tomlkit.parse(_text())
    document.remove(name)
    _write(tomlkit.dumps(document))


def file() -> Path:
    """Where the names are kept: below `XDG_CONFIG_HOME`, or `~/.config`."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "podium" / "clusters.toml"


def _text() -> str:
    try:
        return file().read_text()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file()} cannot be read: {error}") from error


def _write(text: str) -> None:
    path = file()
    draft = path.with_suffix(".draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        draft.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _cluster(name: str, entry: Any, text: str) -> Cluster:
    where = f"{file()}:{_line(name, text)}: {name}"
    if not isinstance(entry, dict) or not isinstance(entry.get("address"), str):
        raise UserError(f'{where}: has no address; write [{name}] and below it address = "http://HEAD:8265"')
    if unknown := sorted(entry.keys() - {"address", "token"}):
        raise UserError(f"{where}: {', '.join(unknown)} cannot be said of a cluster; it has address and token, a file")
    if not _ADDRESS.fullmatch(entry["address"]):
        raise UserError(f"{where}: {_ADDRESS_PROBLEM.format(without_logins(entry['address']))}")
    token = entry.get("token")
    if token is not None and not (isinstance(token, str) and ("/" in token)):
        raise UserError(f"{where}: token must be the path of a file that holds it, such as ~/.ray/{name}.token")
    return Cluster(name, entry["address"].rstrip("/"), None if token is None else Path(token))


_ADDRESS_PROBLEM = "{!r} is no address of a cluster elsewhere; give that of its dashboard, http://HEAD:8265"


def _require_address(address: str) -> None:
    if not _ADDRESS.fullmatch(address):
        raise UserError(_ADDRESS_PROBLEM.format(without_logins(address)))


def _line(name: str, text: str) -> int:
    """The line on which a cluster's table begins, from 1."""
    begins = re.compile(rf"\s*(\[\s*)?[\"']?{re.escape(name)}[\"']?\s*[\].=]")
    return next((number for number, line in enumerate(text.split("\n"), 1) if begins.match(line)), 1)

"""Serving: a registered model by its name, and a switch between its versions while requests flow.

Requests are answered by MLflow's scoring server, within one process: its protocol is what clients of MLflow models
know, and the model is loaded once. Ray Serve would bring a cluster with a controller, proxies and replicas for what is
one model on loopback; whoever needs many replicas gives Ray Serve, or any other server, the same MLflow model.
"""

import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from podium.errors import LookupFailed, ModelError, UserError
from podium.registry.client import connect, registered
from podium.registry.digest import TAG, require_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.pyfunc import PyFuncModel

LOOPBACK = "127.0.0.1"

GRACE_S = 30
"""How long requests that have come may take when the server is to end."""

POLL_S = 2.0
"""How often the alias is looked up."""

AGAIN_S = 60.0
"""After so long a version that could not be loaded is tried once more."""

DESCRIPTION = "artifacts/description.json"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""What ASGI calls an application."""


@dataclass(frozen=True)
class Version:
    """A version of a registered model; `alias` is what it was asked for by, empty if by its number."""

    name: str
    number: str
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"


@dataclass(frozen=True)
class Loaded:
    """A version that was loaded and has answered its input example.

    Attributes:
        version: Which one.
        model: Takes raw samples.
        about: Its description; empty for a model that Podium did not register.
    """

    version: Version
    model: "PyFuncModel"
    about: Mapping[str, Any]


def find(tracking_uri: str, name: str, alias: str = "", number: str = "") -> Version:
    """Looks a version up by its alias, or by its number.

    Raises:
        LookupFailed: if there is no such model, alias or version.
    """
    client = connect(tracking_uri)
    model = registered(client, name)
    if alias:
        if alias not in model.aliases:
            known = ", ".join(f"{name}@{each}" for each in sorted(model.aliases)) or "none"
            raise LookupFailed(
                f"the model {name!r} has no alias {alias!r}; there are: {known}. `podium promote` sets one"
            )
        return Version(name, str(model.aliases[alias]), alias)
    versions = sorted(int(each.version) for each in client.search_model_versions(f"name = '{name}'"))
    if not number.isdecimal() or int(number) not in versions:
        known = ", ".join(f"{name}/{each}" for each in versions) or "none"
        raise LookupFailed(f"the model {name!r} has no version {number!r}; there are: {known}")
    return Version(name, number)


@contextmanager
def folder_of(tracking_uri: str, version: Version) -> Iterator[Path]:
    """The model's folder on this host: its own, or a copy for as long as the block lasts.

    Raises:
        ModelError: if it is not what was registered; of a model that Podium did not register, nobody can tell.
    """
    with _copy_of(tracking_uri, version) as folder:
        digest = connect(tracking_uri).get_model_version(version.name, version.number).tags.get(TAG)
        if digest is not None:
            require_digest(folder, digest)
        yield folder


@contextmanager
def _copy_of(tracking_uri: str, version: Version) -> Iterator[Path]:
    client = connect(tracking_uri)
    address = client.get_model_version_download_uri(version.name, version.number)
    from mlflow.artifacts import download_artifacts
    from mlflow.utils.file_utils import local_file_uri_to_path

    if urlsplit(address).scheme in ("", "file"):
        yield Path(local_file_uri_to_path(address))  # type: ignore[no-untyped-call]
        return

    with tempfile.TemporaryDirectory(prefix="podium-model-") as scratch:
        yield Path(download_artifacts(address, dst_path=scratch, tracking_uri=tracking_uri, registry_uri=tracking_uri))


def load(tracking_uri: str, version: Version) -> Loaded:
    """Loads a version, and lets it answer its input example; nothing is unpickled.

    Raises:
        ModelError: if it does not load or answer.
    """
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    try:
        import mlflow.pyfunc

        with folder_of(tracking_uri, version) as folder:
            model = mlflow.pyfunc.load_model(str(folder))
            example = model.metadata.load_input_example(str(folder))
            about = json.loads((folder / DESCRIPTION).read_text()) if (folder / DESCRIPTION).exists() else {}
        if example is not None:
            model.predict(example)
    except Exception as error:  # its code may raise anything
        raise ModelError(f"{version} cannot be loaded: {str(error) or type(error).__name__}") from error
    return Loaded(version, model, about)


@dataclass(frozen=True)
class _InForce:
    version: Version
    app: App
    since: str

    @classmethod
    def of(cls, loaded: Loaded) -> "_InForce":
        from mlflow.pyfunc import scoring_server

        return cls(loaded.version, scoring_server.init(loaded.model), datetime.now(UTC).isoformat(timespec="seconds"))


class Switch:
    """An ASGI application: MLflow's scoring server for the version in force, and `GET /health` that tells which it is.

    A request is answered to its end by the version that was in force when it came.

    Args:
        tracking_uri: A server or a SQLite file.
        loaded: The first version. One that was found by an alias is followed by those that get it.
        say: Told when another version is in force, and what went wrong.
    """

    def __init__(self, tracking_uri: str, loaded: Loaded, say: Callable[[str], None]) -> None:
        self._uri, self._say = tracking_uri, say
        self._in_force = _InForce.of(loaded)
        self._problem = ""
        self._failed, self._failure, self._again = "", "", 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] == "http" and scope["path"] == "/health":
            await _send_json(send, self.health())
        else:
            await self._in_force.app(scope, receive, send)

    def health(self) -> dict[str, str]:
        """Which version answers since when, and why not a newer one."""
        in_force, version = self._in_force, self._in_force.version
        return {
            "model": version.name,
            "version": version.number,
            "alias": version.alias,
            "since": in_force.since,
            "problem": self._problem,
        }

    def follow(self, until: threading.Event) -> None:
        """Looks the alias up again and again, and moves with it; a version that was found by its number stays."""
        client = connect(self._uri)
        while self._in_force.version.alias and not until.wait(POLL_S):
            self.look(client)

    def look(self, client: "MlflowClient") -> None:
        """Looks the alias up once; a version that has got it is loaded, checked, and put in force.

        Whatever fails leaves the version before in force.
        """
        version, problem = self._in_force.version, ""
        try:
            model = client.get_registered_model(version.name)
            number = str(model.aliases.get(version.alias, ""))
            if not number:
                problem = f"nothing has the alias {version.alias} any more"
            elif number != version.number:
                problem = self._move(Version(version.name, number, version.alias))
        except Exception as error:  # a registry that is away raises many things
            problem = f"the alias {version.alias} cannot be looked up: {str(error) or type(error).__name__}"
        if problem and problem != self._problem:
            self._say(f"{problem}; {self._in_force.version} goes on answering")
        self._problem = problem

    def _move(self, version: Version) -> str:
        """Puts another version in force; returns why it could not be."""
        if version.number == self._failed and time.monotonic() < self._again:
            return self._failure
        try:
            self._in_force = _InForce.of(load(self._uri, version))
        except ModelError as error:
            self._failed, self._failure, self._again = version.number, str(error), time.monotonic() + AGAIN_S
            return self._failure
        self._say(f"{version} answers from now on")
        return ""


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A port of this machine's loopback, for nobody outside of it; a free one for 0. Who comes early waits.

    Raises:
        UserError: if it cannot be had.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
            listener.listen()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"port {port} of {LOOPBACK} cannot be had: {reason}; give another --port") from None
        yield listener


def serve(switch: Switch, listener: socket.socket) -> None:
    """Answers requests until the process is interrupted or terminated; those that have come are answered to their end.

    The same signal once more ends it at once.
    """
    import uvicorn

    settings = uvicorn.Config(
        switch, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=GRACE_S
    )
    is_over = threading.Event()
    following = threading.Thread(target=switch.follow, args=(is_over,), daemon=True)
    following.start()
    # uvicorn raises the signal that it has heard once more when it has ended
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(settings).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, terminated)
        is_over.set()


async def _send_json(send: Send, content: dict[str, str]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})

"""What somebody who can reach a port gets from it: a program, to be run where that somebody is.

Reads `{"places": [[host, port], …], "token": TOKEN}` from its standard input; writes for each place which protocol is
spoken there and what each of three requests is answered: one without a token, one with a wrong one, one with the right.
"""

import importlib
import json
import pkgutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from typing import Any

import grpc
import ray.core.generated

TIMEOUT_S = 300
NOT_GENERATED = (
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.ObjectManagerService/Push",
    "/ray.rpc.syncer.RaySyncer/StartSync",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    "/grpc.health.v1.Health/Check",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetTopChannels",
)
"""Methods in Ray's binaries that its Python package does not describe."""

HARMLESS = (
    "/ray.rpc.NodeInfoGcsService/CheckAlive",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/NumPendingTasks",
    "/ray.rpc.ReporterService/HealthCheck",
    "/ray.rpc.RayletDriver/ClusterInfo",
)
"""By kind of server a method that changes nothing, for the right token; the others are called without it alone."""

PATHS = (
    *("/nothing-is-here", "/api/version", "/api/jobs/", "/nodes?view=summary", "/api/v0/actors", "/logs", "/metrics"),
    *("/", "/favicon.ico", "/api/authentication_mode", "/api/authenticate", "/-/healthz"),
    *("/api/healthz", "/api/gcs_healthz", "/api/local_raylet_healthz"),
)


def methods() -> Iterator[str]:
    """The full names of all methods that Ray's processes serve."""
    yield from NOT_GENERATED
    for module in pkgutil.iter_modules(ray.core.generated.__path__):
        if module.name.endswith("_pb2"):
            described = importlib.import_module(f"ray.core.generated.{module.name}").DESCRIPTOR
            for service in described.services_by_name.values():
                yield from (f"/{service.full_name}/{method.name}" for method in service.methods)


def protocol(host: str, port: int) -> str:
    """What is spoken at a port: `http` (1.1), `grpc` (HTTP/2), `unknown`, or nothing, where it is `closed`."""
    try:
        connection = socket.create_connection((host, port), timeout=TIMEOUT_S)
    except OSError:
        return "closed"
    with connection:
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = connection.recv(16)
        except OSError:
            answer = b""
    if answer.startswith(b"HTTP/1"):
        return "http"
    is_settings_frame = len(answer) >= 9 and answer[0] == 0 and answer[3] == 4
    return "grpc" if is_settings_frame else "unknown"


def over_http(host: str, port: int, token: str | None) -> dict[str, Any]:
    """The status code of every path."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    answers: dict[str, Any] = {}
    for path in PATHS:
        connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            connection.request("GET", path, headers=headers)
            answers[path] = connection.getresponse().status
        except (OSError, HTTPException) as error:
            answers[path] = type(error).__name__
        finally:
            connection.close()
    return answers


def over_grpc(host: str, port: int, token: str | None, names: tuple[str, ...]) -> dict[str, Any]:
    """The status code of every method that is served there."""
    metadata = [("node_id", "ab" * 28)]  # Ray dies of a call of StartSync that has none
    metadata += [] if token is None else [("authorization", f"Bearer {token}")]
    answers: dict[str, Any] = {}
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        for name in names:
            call = channel.unary_unary(name, request_serializer=bytes, response_deserializer=bytes)
            try:
                call(b"", timeout=TIMEOUT_S, metadata=metadata)
                answers[name] = "OK"
            except grpc.RpcError as error:
                answers[name] = error.code().name
    return {name: answer for name, answer in answers.items() if answer != "UNIMPLEMENTED"}


def told(host: str, port: int, token: str) -> dict[str, Any]:
    """All that a place answers."""
    speaks = protocol(host, port)
    wrong = "0" * len(token)
    if speaks == "http":
        answers = [over_http(host, port, each) for each in (None, wrong, token)]
    elif speaks == "grpc":
        every = tuple(methods())
        answers = [
            over_grpc(host, port, each, names) for each, names in ((None, every), (wrong, every), (token, HARMLESS))
        ]
    else:
        answers = [{}, {}, {}]
    return {"speaks": speaks, **dict(zip(("without", "wrong", "right"), answers, strict=True))}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    with ThreadPoolExecutor(8) as pool:
        json.dump(list(pool.map(lambda place: told(*place, asked["token"]), asked["places"])), sys.stdout)

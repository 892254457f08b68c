"""Jobs on a Ray elsewhere, by the HTTP interface of its dashboard: what a laptop has of a cluster.

The cluster's token goes in a header of each request, and nowhere else.
"""

import asyncio
import logging
import os
import shlex
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobSubmissionClient

from podium.errors import Interrupted, PodiumError, UserError

logging.getLogger("ray.dashboard.modules.dashboard_sdk").setLevel(logging.WARNING)

ANSWER_S = 10.0
"""How long a cluster may take to accept a connection."""

LOST_S = 60.0
"""How long a cluster that was there may be away until nobody waits for it any more."""

LOOK_S, SLOW_LOOK_S = 0.1, 1.0
"""How often is looked whether a job has ended: in its first seconds, and later."""

FIRST_S = 10.0

KILLED = 137
"""The exit code of a job that ended without one of its own: its process, or its host, was killed."""


class Jobs:
    """The jobs of one cluster.

    Args:
        address: Of its dashboard, `http://HEAD:8265`.
        token: What it is to be shown; empty if the environment has none.

    Raises:
        UserError: if nobody answers there, or nobody who knows this token and Ray Jobs.
    """

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        _require_listener(address)
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # or a RAY_ADDRESS that is set would win
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self._explained():
            self._client = JobSubmissionClient(address, headers=headers)

    def submit(
        self,
        command: Sequence[str],
        parcel: bytes | None = None,
        environment: Mapping[str, str] | None = None,
        about: Mapping[str, str] | None = None,
    ) -> str:
        """Submits a command, and does not wait for it; returns the job's id.

        Args:
            command: Words, as for a shell; they are seen by everybody on the cluster.
            parcel: A zip file with the folder to run it in; Ray keeps it once for equal contents.
            environment: Variables of the command; they are seen by everybody on the cluster.
            about: Notes that Ray shows with the job.

        Raises:
            UserError: if the cluster does not take it.
        """
        runtime: dict[str, Any] = {"env_vars": dict(environment)} if environment else {}
        with tempfile.TemporaryDirectory() as folder, self._explained():
            if parcel is not None:
                path = Path(folder, "parcel.zip")
                path.write_bytes(parcel)
                runtime["working_dir"] = str(path)
            job: str = self._client.submit_job(
                entrypoint=shlex.join(command), runtime_env=runtime, metadata=dict(about or {})
            )
        return job

    def follow(self, job: str) -> Iterator[str]:
        """The lines that a job writes, as they come, until it has ended.

        Raises:
            Interrupted: if the cluster was away for `LOST_S`; the job may go on.
        """
        lines, began, tail = _Lines(), time.monotonic(), _Tail(self._client, job)
        try:
            while not self._details(job).status.is_terminal():
                is_young = time.monotonic() - began < FIRST_S
                yield from lines.take(tail.wait(LOOK_S if is_young else SLOW_LOOK_S))
        finally:
            tail.close()
        with self._explained():
            whole = self._client.get_job_logs(job)
        yield from lines.take(whole[lines.length :])
        yield from lines.rest()

    def result(self, job: str) -> tuple[int, str]:
        """The exit code of a job that has ended, and what Ray says of its end."""
        details = self._details(job)
        code = KILLED if details.driver_exit_code is None else details.driver_exit_code
        return (0 if str(details.status) == "SUCCEEDED" else code), details.message or ""

    def stop(self, job: str) -> None:
        """Ends a job's processes, and what it started in their groups."""
        with self._explained():
            self._client.stop_job(job)

    def forget(self, job: str) -> None:
        """Has Ray forget a job that has ended."""
        with self._explained():
            self._client.delete_job(job)

    def _details(self, job: str) -> JobDetails:
        """What Ray knows of a job; waits for a cluster that is away for moments."""
        deadline = time.monotonic() + LOST_S
        while True:
            try:
                return self._client.get_job_info(job)
            except (OSError, RuntimeError) as error:
                if time.monotonic() > deadline:
                    raise Interrupted(
                        f"the cluster at {self._address} has not answered for {LOST_S:g} s: {_first_line(error)}; what "
                        "was submitted goes on if the cluster does"
                    ) from error
                time.sleep(SLOW_LOOK_S)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Makes of what goes wrong between here and the cluster one error that says what to do."""
        try:
            yield
        except PodiumError:
            raise
        except AuthenticationError:
            raise UserError(
                f"the cluster at {self._address} refuses the token, or was shown none: give the one of its head (there "
                "in ~/.ray/auth_token) in RAY_AUTH_TOKEN, in ~/.ray/auth_token, or in a file that `podium cluster add "
                "NAME ADDRESS --token FILE` names"
            ) from None
        except (requests.RequestException, RuntimeError, ValueError, ConnectionError) as error:
            raise UserError(
                f"the cluster at {self._address} does not take jobs: {_first_line(error)}; the address must be that of "
                "a Ray dashboard, http://HEAD:8265, and the head must have been started with one"
            ) from error


class _Lines:
    """Makes lines of the pieces that a log comes in.

    Attributes:
        length: The characters that have come.
    """

    def __init__(self) -> None:
        self.length = 0
        self._open = ""

    def take(self, piece: str) -> list[str]:
        """The lines that a piece completes."""
        self.length += len(piece)
        *lines, self._open = (self._open + piece).split("\n")
        return lines

    def rest(self) -> list[str]:
        """A last line without an end."""
        return [self._open] if self._open else []


class _Tail:
    """A job's log as it grows; begins again from where it was when the connection is lost."""

    def __init__(self, client: JobSubmissionClient, job: str) -> None:
        self._client, self._job = client, job
        self._loop = asyncio.new_event_loop()
        self._stream: AsyncIterator[str] = client.tail_job_logs(job)
        self._next: asyncio.Task[str] | None = None
        self._come = self._skip = 0

    def wait(self, seconds: float) -> str:
        """What came within so many seconds, perhaps nothing."""
        if self._next is None:
            self._next = self._loop.create_task(self._piece())
        self._loop.run_until_complete(asyncio.wait({self._next}, timeout=seconds))
        if not self._next.done():
            return ""
        piece, self._next = self._next.result(), None
        if not piece:
            time.sleep(seconds)
            self._stream, self._skip = self._client.tail_job_logs(self._job), self._come
            return ""
        old, self._skip = piece[: self._skip], max(0, self._skip - len(piece))
        self._come += len(piece) - len(old)
        return piece[len(old) :]

    def close(self) -> None:
        """Closes the connection."""
        if self._next is not None:
            self._next.cancel()
            self._loop.run_until_complete(asyncio.gather(self._next, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _piece(self) -> str:
        """The next piece; empty when the connection has ended, whatever ended it: `follow` asks what is the matter."""
        try:
            return await anext(self._stream, "")
        except Exception:
            return ""


def _require_listener(address: str) -> None:
    """Asks for a connection, since Ray's client waits for one for minutes."""
    parts = urlsplit(address)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), timeout=ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise UserError(
            f"nobody answers at {address}: {error}; is the cluster up, and its dashboard on an address that can be "
            "reached from here? Over ssh: ssh -N -L 8265:127.0.0.1:8265 HEAD, and then --cluster http://127.0.0.1:8265"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

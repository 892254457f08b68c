"""The pulse between driver and ranks: each learns within seconds that the other one is gone, stuck or stopped."""

import contextlib
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

BEAT_EVERY_S = 2.0
"""How often the driver beats its ranks."""

ORPHANED_S = 7.0
"""A rank that has heard no beat for so long has no driver any more."""

GONE_S = 10.0
"""After so long without a beat no process of a rank is left."""


class Silence:
    """Adds up how long nothing was heard; while this process is stopped itself, it is not the others who are silent.

    Args:
        most_s: No more than this is counted between two calls of `grow`.
    """

    def __init__(self, most_s: float) -> None:
        self._most_s = most_s
        self._last = time.monotonic()
        self._seconds = 0.0

    def grow(self) -> float:
        """Counts the time since the last call; returns the silence in seconds."""
        now = time.monotonic()
        self._seconds += min(now - self._last, self._most_s)
        self._last = now
        return self._seconds

    def end(self) -> None:
        """Something was heard."""
        self._seconds = 0.0


@dataclass(frozen=True)
class Pulse:
    """What a rank answers to a beat.

    Attributes:
        silent_s: Seconds since its running advance gave a sign of life; 0 if none runs.
        oom_kills: How many processes the kernel of its host has killed because memory ran out.
    """

    silent_s: float
    oom_kills: int


class Heart:
    """What the driver hears of one rank.

    Args:
        rank: The actor.

    Attributes:
        pulse: Its last answer; None before the first.
        is_up: Whether the rank is there, so that its silence counts.
        hang: How it hangs, in words; empty while it does not.
    """

    def __init__(self, rank: Any) -> None:
        self.pulse: Pulse | None = None
        self.is_up = False
        self.hang = ""
        self._rank = rank
        self._beat: Any = None
        self._silence = Silence(2 * BEAT_EVERY_S)

    def tick(self, limit_s: float) -> None:
        """Takes the answer to the last beat, and beats again; a rank that hangs is killed."""
        silent_s = self._silence.grow()
        if self._beat is not None and ray.wait([self._beat], timeout=0)[0]:
            self._take(self._beat)
            silent_s = 0.0
        if self._beat is None:
            self._beat = self._rank.beat.remote()
        if not self.is_up:
            self._silence.end()
        elif silent_s > limit_s:
            self.hang = f"did not answer for {silent_s:.0f} s"
        elif self.pulse is not None and self.pulse.silent_s > limit_s:
            self.hang = f"made no step for {self.pulse.silent_s:.0f} s"
        if self.hang:
            ray.kill(self._rank)

    def _take(self, beat: Any) -> None:
        self._beat = None
        self._silence.end()
        # of an error, whoever waits for news of this rank learns
        with contextlib.suppress(RayError):
            self.pulse = ray.get(beat)


class Beats:
    """Beats ranks from a thread of its own, whatever the driver is busy with.

    Args:
        heartbeat_s: Seconds of silence after which a rank is killed.
    """

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._hearts: dict[Any, Heart] = {}
        self._ended = threading.Event()
        self._error: Exception | None = None
        self._last, self._woke = time.monotonic(), -math.inf
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begins to beat."""
        self._thread.start()

    def add(self, rank: Any) -> Heart:
        """Beats one more rank."""
        self._hearts[rank] = Heart(rank)
        return self._hearts[rank]

    def remove(self, rank: Any) -> None:
        """Beats it no more: a rank that lives and is out of reach leaves within `GONE_S`."""
        self._hearts.pop(rank, None)

    def note_tick(self) -> None:
        """This process runs."""
        now = time.monotonic()
        if now - self._last > ORPHANED_S:
            self._woke = now
        self._last = now

    def was_stopped(self) -> bool:
        """Whether this process itself was stopped until moments ago, so that its ranks have left it."""
        now = time.monotonic()
        return now - self._last > ORPHANED_S or now - self._woke < GONE_S

    def check(self) -> None:
        """Raises what has ended the thread, if it has ended."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Ends the thread."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ended.wait(BEAT_EVERY_S):
                self.note_tick()
                for heart in list(self._hearts.values()):
                    if not heart.hang:
                        heart.tick(self._heartbeat_s)
        except Exception as error:
            self._error = error

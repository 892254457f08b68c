"""The rank: the Ray actor that trains in one thread and answers the driver in others."""

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass, replace
from typing import cast

import psutil
import ray

from podium.execution.autopsy import count_oom_kills
from podium.execution.connection import host_of
from podium.execution.mailbox import Mailbox
from podium.execution.pulse import GONE_S, ORPHANED_S, Pulse, Silence
from podium.execution.worker import Assignment, Worker
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Advanced, Event, GangLost, Halt, Host
from podium.training.seats import Seat, listen

POLL_S = 30.0
"""How long a rank holds a question for news before it answers with none."""

LOOK_EVERY_S = 0.2
"""How often a rank looks whether it has to leave."""

LAST_WORDS_S = 1.0
"""What a rank that leaves keeps of its time for the driver to fetch its last events."""


@dataclass(frozen=True)
class Whereabouts:
    """Where a rank is.

    Attributes:
        node: Ray's identifier of its host.
        address: The host's address.
        process: The process's identifier.
        gpus: The identifiers of its GPUs.
        oom_kills: How many processes the kernel of its host had killed because memory ran out, when it began.
        host: What its host is.
        up_s: Seconds since the process began, when it said so.
    """

    node: str
    address: str
    process: int
    gpus: tuple[str, ...]
    oom_kills: int
    host: Host
    up_s: float = 0.0

    @property
    def subject(self) -> str:
        """How messages call it."""
        return f"process {self.process} on {self.address}"

    def __str__(self) -> str:
        gpus = f", GPU {','.join(self.gpus)}" if self.gpus else ""
        return f"node {self.node[:8]}, process {self.process}{gpus}"


class Rank:
    """A worker that can be asked and told to leave, by SIGTERM too; it leaves by itself when it has no driver any more.

    Args:
        assignment: What to work on.
    """

    def __init__(self, assignment: Assignment) -> None:
        context = ray.get_runtime_context()
        gpus = tuple(map(str, ray.get_gpu_ids()))
        host = host_of(cast(dict[str, str], context.get_node_labels()))
        self._where = Whereabouts(context.get_node_id(), _address(), os.getpid(), gpus, count_oom_kills(), host)
        self._limits = SweepSpec.model_validate(assignment.spec).limits
        self._mailbox = Mailbox()
        self._terminated, self._leaving = threading.Event(), threading.Event()
        self._why = "was told to end by SIGTERM"
        self._unheard = Silence(most_s=1.0)
        self._worker = Worker(assignment, self._put, is_interrupted=self._leaving.is_set)
        self._begun: set[str] = set()
        self._listener: socket.socket | None = None
        self._is_warm = False
        self._training = threading.Thread()
        # the log of the running trial stands behind descriptor 2
        faulthandler.enable(2, all_threads=False)
        signal.signal(signal.SIGTERM, lambda number, frame: self._terminated.set())
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def where(self) -> Whereabouts:
        """Tells where it is."""
        return replace(self._where, up_s=max(0.0, time.time() - psutil.Process().create_time()))

    def listen(self, address: str) -> int:
        """Opens the port at which this rank and others will meet; tells its number."""
        self._listener = listen(address)
        port: int = self._listener.getsockname()[1]
        return port

    def warm_up(self, seat: Seat | None = None) -> Whereabouts:
        """Imports and maps what trials need, and meets the other ranks of its gang; tells where it is.

        Args:
            seat: Where it sits; None if it stays where it is.

        Raises:
            TaskError: if the user's code cannot be imported.
            DataError: if the shards cannot be read.
            PodiumError: if the other ranks do not come.
        """
        _wait_for(self._training)
        if not self._is_warm:
            self._worker.warm_up()
            self._is_warm = True
        if seat is not None:
            self._worker.sit(self._prepared(seat))
        return self._where

    def advance(self, command: Advance, seat: Seat | None = None) -> None:
        """Begins an advance, once the one before has ended; a rank that leaves begins none.

        Args:
            command: What to train; ignored if it was begun before.
            seat: Where this rank sits from now on; None if it stays where it is.
        """
        if command.key not in self._begun and not self._leaving.is_set():
            self._begun.add(command.key)
            seat = None if seat is None else self._prepared(seat)
            self._training = threading.Thread(target=self._train, args=(self._training, command, seat), daemon=True)
            self._training.start()

    def _train(self, before: threading.Thread, command: Advance, seat: Seat | None) -> None:
        _wait_for(before)
        self._worker.advance(command, seat)

    def _prepared(self, seat: Seat) -> Seat:
        """With the port at which this rank listens, if it is there that the others will meet."""
        listener, self._listener = self._listener, None
        return replace(seat, listener=listener.detach()) if listener is not None and seat.rank == 0 else seat

    def halt(self, command: Halt) -> None:
        """Ends the running advance at its next step."""
        self._worker.halt(command)

    def leave(self, why: str) -> None:
        """Checkpoints at the next step, and ends this process."""
        self._why = why
        self._terminated.set()

    def events(self) -> list[Event]:
        """What has happened since the last call; waits for something."""
        return self._mailbox.take(POLL_S)

    def beat(self) -> Pulse:
        """The driver lives; how is this rank?"""
        self._unheard.end()
        return Pulse(silent_s=self._worker.silent_s, oom_kills=count_oom_kills())

    def _put(self, event: Event) -> None:
        """A rank that leaves does not tell of the advance it halted for that: its last word follows."""
        halted = isinstance(event, Advanced) and all(report.ending == "halted" for report in event.reports)
        if not (halted and self._leaving.is_set()):
            self._mailbox.put(event)

    def _watch(self) -> None:
        has_shown = False
        while not self._terminated.wait(LOOK_EVERY_S) and self._unheard.grow() < ORPHANED_S:
            is_stuck = self._worker.silent_s > self._limits.heartbeat_s
            if is_stuck and not has_shown:
                self._show_stacks()
            has_shown = is_stuck
        if self._terminated.is_set():
            self._leave(self._why, self._limits.grace_s)
        else:
            self._leave(f"left, since it had heard nothing from the driver for {ORPHANED_S:g} s", GONE_S)

    def _leave(self, reason: str, within_s: float) -> None:
        """Halts the running advance at its next step; ends this process if the driver does not do it in time."""
        end = time.monotonic() + within_s
        self._leaving.set()
        while self._training.is_alive() and self._may_stay(end, LAST_WORDS_S):
            time.sleep(0.02)
        detail = f"{self._where.subject} {reason}"
        self._mailbox.put(GangLost(gang="", cause="preempted", detail=detail))  # the driver knows whose rank this is
        if not self._terminated.is_set():
            end = time.monotonic() + LAST_WORDS_S
        while self._may_stay(end, 0.0):
            time.sleep(0.02)
        os._exit(0)

    def _may_stay(self, end: float, reserve_s: float) -> bool:
        return time.monotonic() < end - reserve_s and self._unheard.grow() < GONE_S - reserve_s

    def _show_stacks(self) -> None:
        """Writes into the trial's log where its threads are: the one that trains, and those that began after it."""
        threads = threading.enumerate()
        if self._training not in threads:
            return
        frames = sys._current_frames()
        for thread in threads[threads.index(self._training) :]:
            if thread.ident in frames:
                sys.stderr.write(f"no step for {self._limits.heartbeat_s:g} s; {thread.name} is here:\n")
                traceback.print_stack(frames[thread.ident], file=sys.stderr)
        sys.stderr.flush()


def _wait_for(training: threading.Thread) -> None:
    """Waits for the end of an advance that has begun, which other ranks that died cannot keep waiting for long."""
    if training.ident is not None:
        training.join()


def _address() -> str:
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address

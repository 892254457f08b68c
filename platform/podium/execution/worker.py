"""The worker: one rank's work, the same inside this process and inside a Ray actor."""

import contextlib
import ctypes
import errno
import gc
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.errors import StorageFault
from podium.execution.logs import captured, log_path, publish, tail
from podium.execution.meter import Meter
from podium.folders import fetch
from podium.masking import mask
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Cause, Event, Halt
from podium.training.conditions import conditions
from podium.training.sources import require_digest

if TYPE_CHECKING:
    from podium.training.seats import Seat
    from podium.training.trainer import Trainer

DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What the system says of a disk that is full, read-only or broken."""


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names that glibc's `malloc.h` gives to settings."""

KEPT_BYTES, LARGEST_IN_HEAP_BYTES = 512 << 20, 32 << 20
"""What is kept at the end of the heap, and the largest block that comes from there (glibc takes no larger)."""


@dataclass(frozen=True)
class Assignment:
    """All a worker has to know, as plain data that travels to any host.

    Attributes:
        spec: The sweep's settings as JSON types.
        code: The folder with the user's code, relative to the store; None for a built-in task.
        digest: Of that code; nothing is imported that has another one.
        data: The folder with the prepared shards, likewise; None for a task that has no data.
        store: Path or address; checkpoints, artifacts and logs go there, too.
        holder: The driver's holder epoch, part of checkpoint names.
        cache: A folder in which each host keeps what it fetched from a store at an address, and makes if need be.
    """

    spec: dict[str, Any]
    code: str | None
    digest: str
    data: str | None
    store: str
    holder: int
    cache: str


class Worker:
    """Carries out advances, one at a time.

    Args:
        assignment: What to work on.
        emit: Takes events as they happen.
        capture: How a trial's output reaches its log file.
        is_interrupted: Asked at every step beside the halts; for a caller that is blocked meanwhile.
    """

    def __init__(
        self,
        assignment: Assignment,
        emit: Callable[[Event], None],
        capture: Callable[[Path], AbstractContextManager[None]] = captured,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._spec = SweepSpec.model_validate(assignment.spec)
        self._assignment, self._emit = assignment, emit
        self._capture, self._is_interrupted = capture, is_interrupted
        self._halted: set[str] = set()
        self._running = ""
        self._publishes = True
        self._sign_of_life = 0.0
        self._trainer: Trainer | None = None

    def warm_up(self) -> None:
        """Imports the task and maps the data, so that the first trial finds them ready.

        Raises:
            TaskError: if the user's code is not what was launched, or cannot be imported.
            DataError: if the shards cannot be read.
            UserError: if the store does not have code or shards whole.
            StorageFault: if the store cannot be read.
        """
        from podium.training.checkpoint import Storage
        from podium.training.trainer import make_trainer

        use_threads(self._spec.resources.cpus)
        keep_freed_memory()
        assignment = self._assignment
        code = self._fetched(assignment.code)
        if code is not None:
            require_digest(code, assignment.digest)
        self._trainer = make_trainer(
            self._spec,
            code=code,
            data=self._fetched(assignment.data),
            storage=Storage(assignment.store, assignment.holder, assignment.cache),
            emit=self._send,
            halted=self._is_halted,
        )

    def sit(self, seat: "Seat") -> None:
        """Trains with other ranks from now on, after `warm_up`.

        Raises:
            PodiumError: if not all of them come in time.
        """
        assert self._trainer is not None
        self._publishes = seat.rank == 0
        self._trainer.sit(seat)

    @property
    def silent_s(self) -> float:
        """Seconds since the running advance began, made a step or told something; 0 if none runs."""
        return time.monotonic() - self._sign_of_life if self._running else 0.0

    def advance(self, command: Advance, seat: "Seat | None" = None) -> None:
        """Carries out one advance; its last event is `Advanced`, or `AdvanceFailed`, and then it leaves other ranks.

        Args:
            command: What to train.
            seat: Where this rank sits from now on; None if it stays where it is.
        """
        self._sign_of_life = time.monotonic()
        self._running = command.key
        store, cache, trial = self._assignment.store, Path(self._assignment.cache), command.lanes[0].trial
        log = log_path(store, self._spec.sweep, trial, cache)
        last: Advanced | AdvanceFailed | None = None
        meter = Meter()
        try:
            with self._capture(log):
                last = self._carry_out(command, seat, log)
        except OSError as error:
            last = last or self._failed(command, "storage", f"the log {log} cannot be written: {error}", log)
        used = meter.read()
        if isinstance(last, Advanced):
            last = last.model_copy(update={"usage": (used,)})
        elif last.cause == "out_of_memory":
            self._free_memory()
        if self._publishes:
            with contextlib.suppress(StorageFault):  # the next advance of the trial on this host brings it, too
                publish(store, self._spec.sweep, trial, cache)
        self._running = ""
        self._emit(last)

    def halt(self, command: Halt) -> None:
        """Marks the running advance to be ended at its next step; called from another thread."""
        self._halted.add(command.advance)

    def close(self) -> None:
        """Ends what still waits inside this worker."""
        if self._trainer is not None:
            self._trainer.close()

    def _fetched(self, name: str | None) -> Path | None:
        return None if name is None else fetch(self._assignment.store, name, Path(self._assignment.cache))

    def _carry_out(self, command: Advance, seat: "Seat | None", log: Path) -> Advanced | AdvanceFailed:
        try:
            if self._trainer is None:
                self.warm_up()
            if seat is not None:
                self.sit(seat)
            assert self._trainer is not None
            reports = self._trainer.advance(command)
        except (Exception, SystemExit) as error:
            if self._trainer is not None:
                self._trainer.leave()
            is_fault = isinstance(error, StorageFault)
            with contextlib.suppress(OSError):
                sys.stderr.write(f"{error}\n" if is_fault else traceback.format_exc())
            name = "" if is_fault else type(error).__name__
            detail = ": ".join(part for part in (name, str(error)) if part)
            return self._failed(command, cause_of(error), detail, log)
        pauses = self._trainer.pauses
        return Advanced(
            key=command.key,
            gang=command.gang,
            reports=reports,
            conditions=conditions(self._spec),
            data_s=pauses.data_s,
            checkpoint_s=pauses.checkpoint_s,
        )

    def _failed(self, command: Advance, cause: Cause, detail: str, log: Path) -> AdvanceFailed:
        log_tail = ""
        with contextlib.suppress(OSError):
            log_tail = tail(log)
        return AdvanceFailed(key=command.key, gang=command.gang, cause=cause, detail=mask(detail), log_tail=log_tail)

    def _free_memory(self) -> None:
        """Gives back what trials that do not run still hold, here and on the device."""
        self.close()
        gc.collect()
        if "torch" in sys.modules:
            import torch

            torch.cuda.empty_cache()

    def _send(self, event: Event) -> None:
        self._sign_of_life = time.monotonic()
        self._emit(event)

    def _is_halted(self) -> bool:
        self._sign_of_life = time.monotonic()
        return self._running in self._halted or self._is_interrupted()


def use_threads(count: int) -> None:
    """Has torch use so many threads, whether it is imported already or will be."""
    if "torch" in sys.modules:
        import torch  # waits, if another thread is about to have imported it

        torch.set_num_threads(count)
    else:
        os.environ["OMP_NUM_THREADS"] = str(count)


def keep_freed_memory() -> None:
    """Has the C library keep what a step frees for the next one; it would pay for every page anew, up to half the time.

    Where it is another library than glibc, nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, LARGEST_IN_HEAP_BYTES)


def cause_of(error: BaseException) -> Cause:
    """Why an advance broke off, from what its trial raised."""
    from podium.training.faults import is_out_of_memory, is_parted

    if is_parted(error):
        return "worker_lost"
    if isinstance(error, StorageFault) or (isinstance(error, OSError) and error.errno in DISK_FAULTS):
        return "storage"
    return "out_of_memory" if is_out_of_memory(error) else "exception"

"""The worker: one rank's work, the same inside this process and inside a Ray actor."""

import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podium.execution.logs import captured, log_path, tail
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Event, Halt, Progress

if TYPE_CHECKING:
    from podium.training.trainer import Trainer


@dataclass(frozen=True)
class Assignment:
    """All a worker has to know, as plain data that travels to any host.

    Attributes:
        spec: The sweep's settings as JSON types.
        code: The folder with the user's code; None for a built-in task.
        data: The folder with the prepared shards; None for a task that has no data.
        store: Where checkpoints, artifacts and logs go.
        holder: The driver's holder epoch, part of checkpoint names.
        cache: A folder in which each host keeps what it fetched from a store at an address, and makes if need be.
    """

    spec: dict[str, Any]
    code: str | None
    data: str | None
    store: str
    holder: int
    cache: str


class Worker:
    """Carries out advances, one at a time.

    Args:
        assignment: What to work on.
        gang: The name of the gang this rank is in.
        emit: Takes events as they happen.
        capture: How a trial's output reaches its log file.
        is_interrupted: Asked at every step beside the halts; for a caller that is blocked meanwhile.
    """

    def __init__(
        self,
        assignment: Assignment,
        gang: str,
        emit: Callable[[Event], None],
        capture: Callable[[Path], AbstractContextManager[None]] = captured,
        is_interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._spec = SweepSpec.model_validate(assignment.spec)
        self._assignment, self._gang, self._emit = assignment, gang, emit
        self._capture, self._is_interrupted = capture, is_interrupted
        self._halted: set[str] = set()
        self._running = ""
        self._trainer: Trainer | None = None

    def warm_up(self) -> None:
        """Imports the task and maps the data, so that the first trial finds them ready.

        Raises:
            TaskError: if the user's code cannot be imported.
            DataError: if the shards cannot be read.
        """
        import torch

        from podium.training.trainer import make_trainer

        torch.set_num_threads(self._spec.resources.cpus)
        assignment = self._assignment
        self._trainer = make_trainer(
            self._spec,
            code=None if assignment.code is None else Path(assignment.code),
            data=None if assignment.data is None else Path(assignment.data),
            store=assignment.store,
            holder=assignment.holder,
            emit=self._send,
            halted=self._is_halted,
        )

    def advance(self, command: Advance) -> None:
        """Carries out one advance; its last event is `Advanced` or `AdvanceFailed`."""
        self._running = command.key
        log = log_path(self._assignment.store, self._spec.sweep, command.lanes[0].trial)
        with self._capture(log):
            last = self._carry_out(command, log)
        self._emit(last)

    def halt(self, command: Halt) -> None:
        """Marks the running advance to be ended at its next step; called from another thread."""
        self._halted.add(command.advance)

    def close(self) -> None:
        """Ends what still waits inside this worker."""
        if self._trainer is not None:
            self._trainer.close()

    def _carry_out(self, command: Advance, log: Path) -> Advanced | AdvanceFailed:
        try:
            if self._trainer is None:
                self.warm_up()
            assert self._trainer is not None
            reports = self._trainer.advance(command)
        except Exception as error:
            traceback.print_exc()
            return AdvanceFailed(
                key=command.key,
                gang=self._gang,
                cause="exception",
                detail=f"{type(error).__name__}: {error}",
                log_tail=tail(log),
            )
        return Advanced(key=command.key, gang=self._gang, reports=reports)

    def _send(self, event: Event) -> None:
        self._emit(event.model_copy(update={"gang": self._gang}) if isinstance(event, Progress) else event)

    def _is_halted(self) -> bool:
        return self._running in self._halted or self._is_interrupted()

"""Training: the user's own training function, in a thread that waits wherever the machine has to answer."""

import ast
import inspect
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from podium.errors import CheckpointError, TaskError
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Event, Lane, LaneProgress, Progress, Report, Saved
from podium.training.artifacts import Log, artifact_folder
from podium.training.checkpoint import Checkpoints, reading
from podium.training.record import Record, load_record

Ending = Literal["until", "patience", "returned", "diverged", "halted"]

FILES = "files"
"""The folder of a checkpoint that is the function's own."""

JOIN_S = 60.0
"""How long a function may take to end after it was paused."""


class TrialPaused(BaseException):
    """Raised by `report`: the trial may go on later, from its last checkpoint. Let it pass."""


class TrialDone(BaseException):
    """Raised by `report`: the trial is over. Let it pass."""


class FunctionTrial(Log):
    """What a training function is called with.

    Attributes:
        params: The trial's parameters, fixed and searched, by dotted key.
        seed: The trial's seed.
        number: The trial's number.
        saved: The folder of the checkpoint to go on from, for reading; None to begin at the beginning.
    """

    params: Mapping[str, Value]
    seed: int
    number: int
    saved: Path | None

    def __init__(self, run: "_Run", lane: Lane, spec: SweepSpec, store: str, saved: Path | None) -> None:
        super().__init__(store, artifact_folder(spec.sweep, lane.trial))
        self.params = {**spec.fixed(), **lane.parameters}
        self.seed, self.number, self.saved = lane.seed, lane.trial, saved
        self._run = run

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports the metrics of a step; steps strictly increase, and `epochs.max` is the last.

        Save a checkpoint before reporting: then the trial can be paused here, and go on from here.

        Raises:
            TrialPaused: if the trial has to make room for another.
            TrialDone: if it is over.
            TaskError: for a step or metrics that cannot be taken.
        """
        self._run.report(step, {**metrics, **self.take_metrics()})

    @contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """Gives an empty folder to write into; it is kept, as a whole, when the block ends without an error."""
        with self._run.checkpoint() as folder:
            yield folder


class FunctionTrainer:
    """Calls a training function for trials, one advance after the other.

    Args:
        spec: The sweep.
        function: The training function.
        store: Where checkpoints and artifacts go.
        holder: The driver's holder epoch.
        emit: Takes `Progress` at every report, and `Saved`; called in the function's thread while `advance` waits.
        halted: Asked at every report.
    """

    def __init__(
        self,
        spec: SweepSpec,
        function: Callable[[Any], None],
        store: str,
        holder: int,
        emit: Callable[[Event], None],
        halted: Callable[[], bool],
    ) -> None:
        self._spec, self._function = spec, function
        self._store, self._holder = store, holder
        self._emit, self._halted = emit, halted
        self._run: _Run | None = None

    def advance(self, command: Advance) -> tuple[Report, ...]:
        """Lets the function run until it reports `command.until`, or ends.

        Raises:
            TaskError: if the function does not keep its contract.
            Exception: what the function raises, with its traceback.
        """
        (lane,) = command.lanes
        began = time.monotonic()
        run = self._run
        if run is None or not run.waits_at(lane):
            self.close()
            checkpoints = Checkpoints(self._store, self._spec.sweep, lane.trial, self._holder)
            run = self._run = _Run(self._spec, self._function, checkpoints, lane, self._emit, self._halted)
        ending = run.go_on(command)
        if not run.is_waiting:
            self._run = None
        return (
            Report(
                trial=lane.trial,
                epoch=run.step,
                values=run.record.values or (None,) * len(self._spec.search.objectives),
                best_epoch=run.record.epoch,
                metrics=run.metrics,
                ending=ending,
                reason=run.reason,
                device_s=time.monotonic() - began,
            ),
        )

    def close(self) -> None:
        """Ends a function that waits."""
        if self._run is not None:
            run, self._run = self._run, None
            run.unwind()


class _Run:
    """One call of the function. Only one of the two threads runs at a time; the queues hand over."""

    def __init__(
        self,
        spec: SweepSpec,
        function: Callable[[Any], None],
        checkpoints: Checkpoints,
        lane: Lane,
        emit: Callable[[Event], None],
        halted: Callable[[], bool],
    ) -> None:
        self._spec, self._function, self._checkpoints = spec, function, checkpoints
        self._lane, self._emit, self._halted = lane, emit, halted
        self.step, self.record, self.metrics, self.reason = 0, Record(), dict[str, float](), ""
        self._until, self._gang = 0, ""
        self._unfinished_saves = 0
        self._fresh = ""
        self._ending: Ending | None = None
        self._permits: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.is_waiting = False

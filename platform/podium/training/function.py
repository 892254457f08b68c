"""Training: advances of a user's own training function."""

import ast
import inspect
import time
from collections.abc import Callable
from typing import Any

from podium.errors import TaskError
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Advance, Lane, Report
from podium.training.call import Call
from podium.training.checkpoint import Checkpoints
from podium.training.pauses import Pauses
from podium.training.ranks import Ranks
from podium.training.seats import Seat

TrainingFunction = Callable[[Any], object]


class FunctionTrainer:
    """Calls a training function for trials, one advance after the other.

    Args:
        spec: The sweep.
        function: The training function.
        store: Where checkpoints and artifacts go.
        holder: The driver's holder epoch.
        ranks: Those that train the trials together; asked at every report whether to halt. The driver is told
            `Progress` at every report, and `Saved`, in the function's thread while `advance` waits.

    Attributes:
        pauses: What the last advance waited for: checkpoints; of data the function alone knows.
    """

    def __init__(
        self,
        spec: SweepSpec,
        function: TrainingFunction,
        store: str,
        holder: int,
        ranks: Ranks,
    ) -> None:
        self._spec, self._function = spec, function
        self._store, self._holder, self._ranks = store, holder, ranks
        self.pauses = Pauses()
        self._lane: Lane | None = None
        self._call: Call | None = None

    def advance(self, command: Advance) -> tuple[Report, ...]:
        """Lets the function run until it has reported `command.until`, or ends.

        Raises:
            TaskError: if the function does not keep its contract.
            Exception: what the function raised, with its traceback.
        """
        (lane,) = command.lanes
        began, self.pauses = time.monotonic(), Pauses(checkpoint_s=0.0)
        call = self._waiting(lane) or self._begin(lane)
        ending = call.advance(command.gang, command.until, self.pauses)
        self._ranks.require_connection()
        return (
            Report(
                trial=lane.trial,
                epoch=call.step,
                values=call.record.values or (None,) * len(self._spec.search.objectives),
                best_epoch=call.record.epoch,
                metrics=call.metrics,
                ending=ending,
                reason=call.reason,
                device_s=(time.monotonic() - began) * self._ranks.count,
                ranks=self._ranks.count,
            ),
        )

    def sit(self, seat: Seat) -> None:
        """Has the function called by other ranks together from now on; one that waits is ended.

        Raises:
            PodiumError: if not all of them come in time.
        """
        self.close()
        self._ranks.sit(seat)

    def leave(self) -> None:
        """Is alone from now on."""
        self._ranks.leave()

    def close(self) -> None:
        """Ends a function that waits."""
        call, self._call = self._call, None
        if call is not None:
            call.unwind()

    def _waiting(self, lane: Lane) -> Call | None:
        """The call that waits exactly where the lane goes on; not if another gang has saved the trial further since."""
        call, last = self._call, self._lane
        if call is None or last is None or not call.is_waiting:
            return None
        same = (last.trial, last.seed, last.parameters) == (lane.trial, lane.seed, lane.parameters)
        return call if same and call.step == lane.reached >= lane.epoch else None

    def _begin(self, lane: Lane) -> Call:
        self.close()
        checkpoints = Checkpoints(self._store, self._spec.sweep, lane.trial, self._holder)
        self._lane = lane
        self._call = Call(self._spec, self._function, lane, checkpoints, self._ranks)
        return self._call


def check_function(loaded: object, reference: str) -> TrainingFunction:
    """`loaded` as a training function.

    Raises:
        TaskError: if it is none, or cannot be called with one argument.
    """
    if inspect.isclass(loaded) or not callable(loaded):
        raise TaskError(
            f"{reference} is {loaded!r}; a task is a subclass of podium.Task, or a training function `def train(trial)`"
        )
    try:
        inspect.signature(loaded).bind(object())
    except TypeError as error:
        raise TaskError(f"{reference} cannot be called as train(trial): {error}") from None
    return loaded


def saves_checkpoints(function: TrainingFunction) -> bool:
    """Whether the file that defines the function calls a method named `checkpoint`; without, it cannot be paused."""
    module = inspect.getmodule(function)
    tree = ast.parse(inspect.getsource(module if module is not None else function))
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and call.attr == "checkpoint" for call in calls)

"""Training: one call of a user's training function, in a thread that waits wherever the machine has to answer.

Only one of the two threads runs at a time: the trainer's waits for an outcome, the function's for a permit.
"""

import json
import math
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from podium.errors import TaskError
from podium.spec.space import Value
from podium.spec.sweep import SweepSpec
from podium.sweep.messages import Lane, LaneProgress, Progress
from podium.training.artifacts import Log, artifact_folder
from podium.training.checkpoint import Checkpoints, Draft
from podium.training.pauses import Pauses
from podium.training.ranks import Ranks
from podium.training.record import Record, from_plain, load_record, to_plain

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
        rank: Which of the processes that train the trial together this is, from 0; all of them call the function.
        ranks: How many there are; torch.distributed is initialized if they are several.
        saved: The folder of the checkpoint to go on from, for reading; None to begin at the beginning.
    """

    def __init__(self, call: "Call", spec: SweepSpec, lane: Lane, saved: Path | None) -> None:
        super().__init__(call.checkpoints.store, artifact_folder(spec.sweep, lane.trial))
        self.params: Mapping[str, Value] = {**spec.fixed(), **lane.parameters}
        self.seed, self.number, self.saved = lane.seed, lane.trial, saved
        self.rank, self.ranks = call.ranks.part
        self._call = call

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports the metrics of a step; steps strictly increase, and `epochs.max` is the last.

        Save a checkpoint before reporting: then the trial can be paused here, and go on from here. Ranks report
        together; the metrics of the first one count.

        Raises:
            TrialPaused: if the trial has to make room for another.
            TrialDone: if it is over.
            TaskError: for a step or metrics that cannot be taken.
        """
        self._call.report(step, {**metrics, **self.take_metrics()})

    @contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """Gives an empty folder to write into; as a whole it is the trial's checkpoint from the next report on.

        What other ranks than the first write there is thrown away.
        """
        with self._call.checkpoint() as folder:
            yield folder


class Call:
    """One call of the function, from its checkpoint on.

    Args:
        spec: The sweep.
        function: The training function.
        lane: The trial, and where it starts.
        checkpoints: The trial's checkpoints.
        ranks: Those that call it together, asked at every report whether to halt. The driver is told `Progress` and
            `Saved`, in the function's thread.

    Attributes:
        checkpoints: As above.
        ranks: As above.
        step: The last step reported.
        metrics: Those of that step.
        record: Which step counts so far.
        reason: Why the call ended, where its ending does not say it.
        is_waiting: Whether the function waits in a report for the next advance.
    """

    def __init__(
        self,
        spec: SweepSpec,
        function: Callable[[FunctionTrial], object],
        lane: Lane,
        checkpoints: Checkpoints,
        ranks: Ranks,
    ) -> None:
        self.checkpoints, self.ranks = checkpoints, ranks
        self.step, self.record, self.reason = 0, Record(), ""
        self.metrics: dict[str, float] = {}
        self.is_waiting = False
        self._spec, self._function, self._lane = spec, function, lane
        self._gang, self._until, self._pauses = "", 0, Pauses()
        self._called = 0
        self._draft: Draft | None = None
        self._ending: Ending = "returned"
        self._unwinding: TrialPaused | TrialDone | None = None
        self._kept = ExitStack()
        self._thread: threading.Thread | None = None
        self._outcomes: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._permits: queue.SimpleQueue[bool] = queue.SimpleQueue()

    # in the trainer's thread

    def advance(self, gang: str, until: int, pauses: Pauses) -> Ending:
        """Lets the function run until it has reported `until`, or ends; notes its checkpoints' time in `pauses`.

        Raises:
            TaskError: if the function does not keep its contract.
            Exception: what the function raised.
        """
        self._gang, self._until, self._pauses = gang, until, pauses
        if self._thread is None:
            saved = self._restore()
            if self.step >= min(until, self._spec.budget.epochs.max):
                self._kept.close()
                return "until"
            self._thread = threading.Thread(
                target=self._run, args=(saved,), name=f"trial-{self._lane.trial}", daemon=True
            )
            self._thread.start()
        else:
            self._permits.put(True)
        error = self._outcomes.get()
        if error is not None:
            raise error
        return self._ending

    def unwind(self) -> None:
        """Ends a function that waits.

        Raises:
            TaskError: if it does not end.
        """
        if self._thread is None or not self.is_waiting:
            return
        self._permits.put(False)
        self._thread.join(JOIN_S)
        if self._thread.is_alive():
            raise TaskError(
                f"the training function went on for {JOIN_S:g} s after it was paused; it must not catch TrialPaused, "
                "which bare `except:` and `except BaseException:` do"
            )

    def _restore(self) -> Path | None:
        with self._pauses.checkpoint():
            found = self._kept.enter_context(self.checkpoints.opening(self._lane.folder))
        if found is None:
            return None
        self.step, self.record = found.state["step"], load_record(found.state["record"])
        self.metrics = from_plain(found.state["metrics"])
        (found.path / FILES).mkdir(exist_ok=True)
        return found.path / FILES

    # in the function's thread

    def _run(self, saved: Path | None) -> None:
        outcome: Exception | None = None
        try:
            with self._kept:
                self._function(FunctionTrial(self, self._spec, self._lane, saved))
            if self.step == 0:
                outcome = TaskError("the training function returned without a report; call trial.report(step, metrics)")
            elif self._unwinding is None:
                self._settle_checkpoint()
        except (TrialPaused, TrialDone):
            pass
        except Exception as error:
            outcome = error
        except BaseException as error:
            outcome = TaskError(f"the training function ended by {type(error).__name__}: {error}")
        self._replace_draft(None)
        self._outcomes.put(outcome)

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """What `FunctionTrial.report` does."""
        if self._unwinding is not None:
            raise self._unwinding
        self._check_step(step)
        self._called = step
        metrics = self._first_ranks(step, metrics)
        if step <= self.step:
            return
        last = self._spec.budget.epochs.max
        if step > last and self.step == 0:
            raise TaskError(f"trial.report began at step {step}, and budget.epochs.max is {last}; raise it")
        if step > last:
            self._end("until", TrialDone())
        values = self._values(step, metrics)
        self.step, self.metrics = step, _numbers(metrics)
        progress = LaneProgress(trial=self._lane.trial, epoch=step, metrics=to_plain(self.metrics))
        self.ranks.emit(Progress(gang=self._gang, lanes=(progress,)))
        if not all(math.isfinite(value) for value in values):
            self._end("diverged", TrialDone(), f"the objective is not finite in step {step}")
        stopping = self._spec.components(self._lane.parameters).stopping
        self.record.note(step, values, self._spec.search.objectives[0], stopping.min_delta)
        self._settle_checkpoint()
        if self.record.is_out_of(stopping.patience):
            self._end("patience", TrialDone(), f"no improvement in {self.record.stale} steps")
        if step == last:
            self._ending = "until"
        elif self.ranks.hear(is_due=False)[0]:
            self._end("halted", TrialPaused())
        elif step >= self._until:
            self._wait()

    @contextmanager
    def checkpoint(self) -> Iterator[Path]:
        """What `FunctionTrial.checkpoint` does."""
        draft = self.checkpoints.draft()
        with self._pauses.checkpoint(), draft.writing() as path:
            (path / FILES).mkdir()
            yield path / FILES
        self._replace_draft(draft)

    def _settle_checkpoint(self) -> None:
        """The last checkpoint counts from the next report, or the function's return, on: no report can be lost then."""
        if self._draft is not None and self.ranks.is_first:
            with self._pauses.checkpoint():
                saved = self._draft.place(self.step, 0, self._state())
            self.ranks.emit(saved)
            self._draft = None
        self._replace_draft(None)

    def _replace_draft(self, draft: Draft | None) -> None:
        if self._draft is not None:
            self._draft.discard()
        self._draft = draft

    def _state(self) -> dict[str, Any]:
        return {"step": self.step, "record": asdict(self.record), "metrics": to_plain(self.metrics)}

    def _wait(self) -> None:
        self._ending, self.is_waiting = "until", True
        self._outcomes.put(None)
        goes_on = self._permits.get()
        self._ending, self.is_waiting = "returned", False
        if not goes_on:
            self._end("halted", TrialPaused())

    def _end(self, ending: Ending, unwinding: TrialPaused | TrialDone, reason: str = "") -> None:
        self._ending, self._unwinding, self.reason = ending, unwinding, reason
        raise unwinding

    def _first_ranks(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        if self.ranks.count == 1:
            return metrics
        (told,) = self.ranks.told([json.dumps([step, _numbers(metrics)])])
        first: tuple[int, dict[str, float]] = json.loads(told)
        if first[0] != step:
            raise TaskError(f"rank {self.ranks.rank} reported step {step} when the first rank reported step {first[0]}")
        return first[1]

    def _check_step(self, step: int) -> None:
        if isinstance(step, bool) or not isinstance(step, int) or step <= self._called:
            raise TaskError(
                f"trial.report got step {step!r} after step {self._called}; steps are integers that strictly increase"
            )

    def _values(self, step: int, metrics: Mapping[str, float]) -> tuple[float, ...]:
        names = [objective.metric for objective in self._spec.search.objectives]
        missing = [name for name in names if name not in metrics]
        if missing:
            raise TaskError(
                f"trial.report got {', '.join(metrics) or 'no metrics'} in step {step}, and the objective is "
                f"{missing[0]!r}; report it, or change search.objective.metric"
            )
        numbers = _numbers(metrics)
        return tuple(numbers[name] for name in names)


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    numbers = {}
    for name, value in metrics.items():
        try:
            numbers[str(name)] = float(value)
        except (TypeError, ValueError):
            raise TaskError(f"the metric {name!r} is {value!r}; a metric is one number") from None
    return numbers

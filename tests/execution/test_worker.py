"""The worker: every way an advance can break off is told, with its cause."""

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from podium.errors import StorageFault, TaskError
from podium.execution.worker import Assignment, Worker, cause_of
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Lane, Report
from podium.testing.executors import suite_spec
from podium.training.seats import Seat


def raised(do: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        do()
    return caught.value


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (raised(lambda: bytearray(1 << 62)), "out_of_memory"),
        (raised(lambda: torch.empty(1 << 60)), "out_of_memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (raised(lambda: torch.empty(2) @ torch.empty(3)), "exception"),
        (StorageFault("the disk is full"), "storage"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "exception"),
        (TaskError("no such metric"), "exception"),
    ],
)
def test_the_cause_is_what_the_trial_raised(error: BaseException, cause: str) -> None:
    assert cause_of(error) == cause


TWO_THREADS = """
import sys, threading, time
from podium.execution.worker import use_threads

threading.Thread(target=lambda: __import__("torch")).start()
while "torch" not in sys.modules:
    time.sleep(0.0005)
use_threads(3)
import torch
assert torch.get_num_threads() == 3
"""


def test_threads_are_set_while_another_thread_imports_torch() -> None:
    subprocess.run([sys.executable, "-c", TWO_THREADS], check=True, timeout=60)


class Trainer:
    """A trainer that does one thing, and counts how often it was emptied."""

    def __init__(self, do: Callable[[], object]) -> None:
        self.do, self.closed = do, 0

    def advance(self, command: Advance) -> tuple[Report, ...]:
        self.do()
        return (Report(trial=0, epoch=1, values=(1.0,)),)

    def sit(self, seat: Seat) -> None:
        raise AssertionError

    def leave(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


COMMAND = Advance(key="advance/1", gang="g", until=1, lanes=(Lane(trial=0, parameters={}, seed=0),))


def advance(store: Path, trainer: Trainer) -> Advanced | AdvanceFailed:
    told = []
    assignment = Assignment(suite_spec().written(), None, None, str(store), holder=1, cache=str(store / "cache"))
    worker = Worker(assignment, told.append)
    worker._trainer = trainer
    worker.advance(COMMAND)
    assert worker.silent_s == 0.0, "nothing runs any more"
    (last,) = told
    assert isinstance(last, Advanced | AdvanceFailed)
    return last


def test_an_advance_ends_with_its_reports(tmp_path: Path) -> None:
    assert isinstance(advance(tmp_path, Trainer(lambda: None)), Advanced)


def test_a_task_that_exits_has_failed(tmp_path: Path) -> None:
    failed = advance(tmp_path, Trainer(lambda: sys.exit(3)))
    assert isinstance(failed, AdvanceFailed)
    assert (failed.cause, failed.detail) == ("exception", "SystemExit: 3")


def test_out_of_memory_empties_what_is_kept(tmp_path: Path) -> None:
    trainer = Trainer(lambda: bytearray(1 << 62))
    failed = advance(tmp_path, trainer)
    assert isinstance(failed, AdvanceFailed)
    assert (failed.cause, failed.detail, trainer.closed) == ("out_of_memory", "MemoryError", 1)


def test_a_log_that_cannot_be_written_is_a_fault_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be")
    failed = advance(tmp_path, Trainer(lambda: None))
    assert isinstance(failed, AdvanceFailed)
    assert (failed.cause, "cannot be written" in failed.detail) == ("storage", True)

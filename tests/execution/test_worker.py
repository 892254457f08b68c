"""The worker: every way an advance can break off is told, with its cause."""

import errno
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from podium.errors import StorageFault, TaskError
from podium.execution import meter
from podium.execution.worker import Assignment, Worker, cause_of
from podium.sweep.messages import Advance, Advanced, AdvanceFailed, Lane, Report
from podium.testing.executors import suite_spec
from podium.training.pauses import Pauses
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
        self.pauses = Pauses(data_s=2.0, checkpoint_s=1.0)

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
    assignment = Assignment(suite_spec().written(), None, "", None, str(store), holder=1, cache=str(store / "cache"))
    worker = Worker(assignment, told.append)
    worker._trainer = trainer
    worker.advance(COMMAND)
    assert worker.silent_s == 0.0, "nothing runs any more"
    (last,) = told
    assert isinstance(last, Advanced | AdvanceFailed)
    return last


def test_an_advance_ends_with_its_reports(tmp_path: Path) -> None:
    ended = advance(tmp_path, Trainer(lambda: None))
    assert isinstance(ended, Advanced)
    (used,) = ended.usage
    assert set(used) == {"cpu_utilization_percentage", "memory_usage_megabytes"}
    assert (ended.data_s, ended.checkpoint_s) == (2.0, 1.0)


def burn() -> None:
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(("do", "least_s", "most_s"), [(lambda: time.sleep(0.5), 0.0, 0.2), (burn, 0.25, 0.6)])
def test_what_a_rank_uses_is_measured(do: Callable[[], None], least_s: float, most_s: float, tmp_path: Path) -> None:
    began = time.monotonic()
    ended = advance(tmp_path, Trainer(do))
    assert isinstance(ended, Advanced)
    (used,) = ended.usage
    busy_s = (used["cpu_utilization_percentage"] or 0.0) / 100 * (time.monotonic() - began)
    assert least_s <= busy_s <= most_s
    assert 20 < (used["memory_usage_megabytes"] or 0.0) < 20_000


class Gpu:
    """What torch says of a GPU, whose load its driver tells only if there is a way to ask."""

    def __init__(self, *loads: float) -> None:
        self.loads, self.resets = list(loads), 0

    def reset_peak_memory_stats(self) -> None:
        self.resets += 1

    def max_memory_reserved(self) -> int:
        return 3_000_000

    def utilization(self) -> float:
        if not self.loads:
            raise ModuleNotFoundError("pynvml does not seem to be installed")
        return self.loads.pop(0)


@pytest.mark.parametrize("loads", [(), (40.0, 60.0)])
def test_what_a_rank_uses_of_its_gpu(loads: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = Gpu(*loads)
    monkeypatch.setattr(meter, "_gpu", lambda: gpu)
    monkeypatch.setattr(meter, "LOOK_EVERY_S", 0.01)
    measuring = meter.Meter()
    assert gpu.resets == 1
    while gpu.loads:
        time.sleep(0.01)
    time.sleep(0.1)
    used = measuring.read()
    assert used["gpu_memory_usage_megabytes"] == 3.0
    assert used.get("gpu_utilization_percentage") == (50.0 if loads else None)


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

"""What is measured of a logged model before it may be promoted: in a clean process, on this machine."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from podium.errors import ModelError
from podium.store import files_of

EXAMINER = Path(__file__).with_name("examiner.py")

ENVIRONMENT = {
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
}
"""What the clean process is told: above all to unpickle nothing."""

HUNG_S = 600.0
"""After so long the clean process is taken to hang."""

REPEATS, MOST_S = 200, 5.0
"""How often the time of a batch is taken; no more, but ten times at least, once all took so many seconds together."""

Answers = Mapping[str, NDArray[Any]]
"""By head, or under `answers` where there is one."""


@dataclass(frozen=True)
class Latency:
    """How long answers take, warm.

    Attributes:
        batch: Samples that are answered at once.
        repeats: How often time was taken; of fewer than 100 the 99th percentile says little more than the longest.
        p50_s: The median.
        p99_s: What 99 of 100 answers take at most.
    """

    batch: int
    repeats: int
    p50_s: float
    p99_s: float


@dataclass(frozen=True)
class Examination:
    """What was found of a model that loads and answers in a process without Podium.

    Attributes:
        model_bytes: All files of its folder.
        imports_bytes: Peak resident memory of the process with MLflow, torch, numpy and scipy imported.
        peak_bytes: The same after it has loaded the model and answered the samples, all of them at once.
        threads: Those that torch took, on this machine.
        latencies: How long answers take, one for each size of a batch.
        refusals: By kind of bad input (`wrong size`, `no batch axis`, `NaN`, `infinity`, `text`, `no samples`) the
            error it is answered with; empty where the model gave an answer instead.
        answers: To the samples.
    """

    model_bytes: int
    imports_bytes: int
    peak_bytes: int
    threads: int
    latencies: tuple[Latency, ...]
    refusals: Mapping[str, str]
    answers: Answers

    @property
    def memory_bytes(self) -> int:
        """What the model adds to a process that has everything imported."""
        return self.peak_bytes - self.imports_bytes

    @property
    def answered(self) -> list[str]:
        """The kinds of bad input that got an answer; none, for a model that can be trusted."""
        return [what for what, error in self.refusals.items() if not error]


def examine(
    folder: Path,
    samples: NDArray[Any],
    lengths: NDArray[np.int64] | None = None,
    *,
    batches: Sequence[int] = (1, 64),
    repeats: int = REPEATS,
    most_s: float = MOST_S,
) -> Examination:
    """Loads a model in a clean process, lets it answer, and measures it there; takes some ten seconds.

    The process cannot import Podium and unpickles nothing.

    Args:
        folder: The model's, as MLflow has logged it.
        samples: `[N, ...]` as the model takes them: raw, of the data's own dtype.
        lengths: `[N]`, for a model that takes the lengths of series.
        batches: How many samples are answered at once when time is taken; some stand in more than once where there are
            fewer.
        repeats: How often time is taken of each.
        most_s: Seconds after which it is taken no more, but ten times at least.

    Raises:
        ModelError: if it does not load or answer there.
    """
    with tempfile.TemporaryDirectory(prefix="podium-examined-") as scratch:
        given, found = Path(scratch) / "samples.npz", Path(scratch) / "answers.npz"
        np.savez(given, allow_pickle=False, inputs=samples, **({} if lengths is None else {"lengths": lengths}))
        told = [folder.resolve(), given, found, ",".join(map(str, batches)), repeats, most_s]
        examined = _run([sys.executable, "-P", str(EXAMINER), *map(str, told)], scratch)
        with np.load(found, allow_pickle=False) as answers:
            latencies = tuple(Latency(**each) for each in examined.pop("latencies"))
            size = sum(file.stat().st_size for file in files_of(folder))
            return Examination(model_bytes=size, latencies=latencies, answers=dict(answers), **examined)


def agreement(answers: Answers, trained: Answers) -> float:
    """The largest absolute difference between an exported network's answers and those of the one that was trained.

    Args:
        answers: Of the exported network.
        trained: Of the trained one, to the same samples, of the same shapes.

    Returns:
        The difference, in the unit of the answers; infinite where an answer is no finite number. Of classes it is 1 or
        more as soon as one differs.

    Raises:
        ModelError: if they do not have the same heads and shapes.
    """
    shapes = [{name: np.shape(each) for name, each in both.items()} for both in (answers, trained)]
    if shapes[0] != shapes[1]:
        raise ModelError(f"the exported network's answers have the shapes {shapes[0]}, the trained one's {shapes[1]}")
    gaps = [np.abs(np.asarray(answers[name], np.float64) - np.asarray(trained[name], np.float64)) for name in answers]
    largest = float(np.max([gap.max() for gap in gaps]))
    return largest if np.isfinite(largest) else float("inf")


def _run(command: list[str], scratch: str) -> dict[str, Any]:
    """What the clean process prints."""
    environment = os.environ | ENVIRONMENT
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            command, env=environment, cwd=scratch, capture_output=True, text=True, timeout=HUNG_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ModelError(
            f"the model was not loaded and examined within {HUNG_S:.0f} s in a process of its own"
        ) from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"the model does not load and answer in a process without Podium: {last}")
    examined: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return examined

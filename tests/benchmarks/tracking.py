"""What a tracking server that is down, slow or broken costs the driver and the training: nothing, beyond the spread.

Launches the same small sweep again and again on a Ray of its own, with a healthy server, one that does not listen, one
that takes two seconds for every call, and one that answers 500, in turn. Prints for each the median and the range over
its rounds, and whether the median is no worse than the worst healthy round, of

- `loop_p99_ms` and `loop_median_ms`: the driver's time from one answer of the executor to its next question;
- `samples_per_s`: samples trained from the first epoch's end to the last one's, by the times in the ledger.
"""

import argparse
import json
import operator
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from tracking_server import Mode, Proxy, Server

from podium.console import Silent
from podium.spec.files import read_sweep
from podium.sweep.messages import Event, Progress
from podium.wiring import launch as launches
from podium.wiring.place import Place

MODES: dict[str, Mode] = {"healthy": "pass", "down": "refuse", "slow": "slow", "500": "error"}
ROWS, EPOCHS = 6000, 12
SWEEP = f"""
sweep: steady
task: classification
data:
  source: {{kind: arrays, path: points.npz}}
  split: {{train: 0.8, validation: 0.2, test: 0}}
  batch_size: 64
network: {{kind: mlp, depth: 2, width: 128}}
search:
  objective: {{metric: validation/accuracy, direction: maximize}}
  space: {{optimizer.learning_rate: {{log: [1e-4, 1e-1]}}}}
  sampler: random
budget: {{trials: TRIALS, epochs: {{max: {EPOCHS}}}, policy: none}}
fuse: off
tracking: {{plots: false, model: false}}
"""
WORST: list[tuple[str, Callable[[Iterable[float]], float], Callable[[float, float], bool]]] = [
    ("loop_p99_ms", max, operator.gt),
    ("loop_median_ms", max, operator.gt),
    ("samples_per_s", min, operator.lt),
]
ENDED = "the sweep has ended"


class Timed:
    """An executor, and how long its driver was busy elsewhere between two waits."""

    def __init__(self, executor: Any) -> None:
        self._executor = executor
        self._left: float | None = None
        self.busy_s: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def wait(self, timeout: float) -> Sequence[Event]:
        if self._left is not None:
            self.busy_s.append(time.perf_counter() - self._left)
        events: Sequence[Event] = self._executor.wait(timeout)
        self._left = time.perf_counter()
        return events


class Herald(Silent):
    """Says on standard output when only MLflow is waited for."""

    def stage(self, text: str) -> None:
        if text == "Writing the last runs to MLflow":
            print(ENDED, flush=True)


def drive(folder: Path, tracking_uri: str) -> dict[str, Any]:
    """One launch in this process."""
    timed: list[Timed] = []
    make = launches.make_executor

    def make_timed(*arguments: Any) -> Any:
        timed.append(Timed(make(*arguments)))
        return timed[0]

    launches.make_executor = make_timed
    place = Place.of(folder / "home", tracking_uri=tracking_uri, cluster="local")
    launches.launch(read_sweep(str(folder / "sweep.yaml"), ()), place, Herald())
    at = [row.at for row in place.book().rows("steady") if isinstance(row.event, Progress) for _ in row.event.lanes]
    busy_ms = [1000 * seconds for seconds in timed[0].busy_s]
    return {
        "loops": len(busy_ms),
        "loop_median_ms": statistics.median(busy_ms),
        "loop_p99_ms": float(np.percentile(busy_ms, 99)),
        "samples_per_s": (len(at) - 1) * 0.8 * ROWS / (at[-1] - at[0]),
    }


def measure(proxy: Proxy, mode: Mode, trials: int) -> dict[str, Any]:
    """One launch in a process of its own, before a server that behaves so until the sweep has ended."""
    proxy.mode = mode
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = np.random.default_rng(0)
        labels = source.integers(0, 4, ROWS)
        points = source.normal(0, 1, (ROWS, 64)) + np.eye(64)[labels]
        np.savez(folder / "points.npz", x=points.astype(np.float32), y=labels)
        (folder / "sweep.yaml").write_text(SWEEP.replace("TRIALS", str(trials)))
        command = [sys.executable, __file__, "--drive", name, "--tracking-uri", proxy.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            output = []
            for line in process.stdout:
                output.append(line)
                if line.strip() == ENDED:
                    proxy.mode = "pass"
        assert process.returncode == 0, output
    figures: dict[str, Any] = json.loads(output[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--drive", type=Path, help="Launch once in this folder, and print the figures.")
    parser.add_argument("--tracking-uri")
    arguments = parser.parse_args()
    if arguments.drive:
        print(json.dumps(drive(arguments.drive, arguments.tracking_uri)))
        return
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in MODES}
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name))
        server.start()
        proxy = Proxy(server.address)
        try:
            for _ in range(arguments.rounds):
                for each, mode in MODES.items():
                    rounds[each].append(measure(proxy, mode, arguments.trials))
                    print(each, rounds[each][-1], file=sys.stderr)
        finally:
            proxy.close()
            server.kill()
    for figure, worst, is_worse in WORST:
        bound = worst(one[figure] for one in rounds["healthy"])
        for each, figures in rounds.items():
            values = [one[figure] for one in figures]
            median = statistics.median(values)
            verdict = "worse than healthy" if is_worse(median, bound) else "within the healthy spread, or better"
            print(f"{figure} {each}: {median:.4g} ({min(values):.4g} to {max(values):.4g}), {verdict}")


if __name__ == "__main__":
    main()

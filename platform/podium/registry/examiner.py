"""A logged model looked at from outside: run as a program, in a process that cannot import Podium.

It imports what a champion is served with, loads the model, lets it answer, and prints one JSON object as its last line.
One process does it all, since importing MLflow takes seconds.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

WARM_UP = 3
"""Answers before time is taken."""

LEAST_REPEATS = 10
"""Answers that are timed, however slow they are."""

LONGEST = 300
"""Characters of an error that are told, its last ones."""


class Blocker:
    """The first finder of modules, to which Podium is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Leaves all other modules to the finders after it."""
        if name.partition(".")[0] == "podium":
            raise ModuleNotFoundError(f"the model imports {name}, and has to do without Podium", name=name)
        return None


def main(model: str, given: str, answers: str, batches: str, repeats: str, most_s: str) -> None:
    """Examines a model.

    Args:
        model: Its folder.
        given: An .npz file with samples as the model takes them, `inputs` and where it takes them `lengths`.
        answers: Where an .npz file with its answers to them is put, by head, or as `answers`.
        batches: How many samples are answered at once when time is taken, with commas.
        repeats: How often time is taken.
        most_s: Seconds after which it is taken no more.
    """
    sys.meta_path.insert(0, Blocker())
    import mlflow.pyfunc
    import numpy as np
    import scipy.ndimage  # noqa: F401  champions import it
    import torch

    loaded = dict(np.load(given, allow_pickle=False))
    imports_bytes = _peak_bytes()
    champion = mlflow.pyfunc.load_model(model)
    found = champion.predict(_as_taken(loaded))
    peak_bytes = _peak_bytes()
    np.savez(answers, **(found if isinstance(found, dict) else {"answers": found}))
    latencies = []
    for batch in map(int, batches.split(",")):
        part = _as_taken({name: _of_size(values, batch) for name, values in loaded.items()})
        times = _times(champion.predict, part, int(repeats), float(most_s))
        p50_s, p99_s = np.percentile(times, [50, 99])
        latencies.append({"batch": batch, "repeats": len(times), "p50_s": p50_s, "p99_s": p99_s})
    schema = champion.metadata.get_input_schema()
    shape = loaded["inputs"].shape if schema is None else schema.inputs[0].shape
    examined = {
        "imports_bytes": imports_bytes,
        "peak_bytes": peak_bytes,
        "threads": torch.get_num_threads(),
        "latencies": latencies,
        "refusals": {what: _refusal(champion, bad) for what, bad in _bad(loaded, shape)},
    }
    sys.stdout.write(f"\n{json.dumps(examined)}\n")


def _as_taken(given: dict[str, Any]) -> Any:
    return given if "lengths" in given else given["inputs"]


def _of_size(values: Any, count: int) -> Any:
    """So many samples, some more than once where there are fewer."""
    import numpy as np

    return values[np.arange(count) % len(values)]


def _times(predict: Callable[[Any], Any], samples: Any, repeats: int, most_s: float) -> list[float]:
    for _ in range(WARM_UP):
        predict(samples)
    times: list[float] = []
    while len(times) < repeats and (len(times) < LEAST_REPEATS or sum(times) < most_s):
        began = time.perf_counter()
        predict(samples)
        times.append(time.perf_counter() - began)
    return times


def _peak_bytes() -> int:
    """The most memory that was resident in this process so far."""
    status = Path("/proc/self/status")
    if not status.exists():  # macOS, which counts bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # not getrusage, which on Linux begins with the parent's
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def _bad(given: dict[str, Any], shape: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """What no model should answer; `shape` is the one it takes, -1 where any size will do."""
    import numpy as np

    samples = given["inputs"]
    fixed = next((axis for axis, side in enumerate(shape) if axis and side != -1), 1)
    for what, inputs in (
        ("wrong size", np.concatenate([samples, samples.take([0], axis=fixed)], axis=fixed)),
        ("no batch axis", samples[0]),
        ("NaN", _with(samples, np.nan)),
        ("infinity", _with(samples, np.inf)),
        ("text", samples.astype(str)),
    ):
        yield what, _as_taken({**given, "inputs": inputs})
    yield "no samples", _as_taken({name: values[:0] for name, values in given.items()})


def _with(samples: Any, value: float) -> Any:
    """Samples one number of which is another value."""
    import numpy as np

    changed = samples.astype(samples.dtype if samples.dtype.kind == "f" else np.float32)
    changed.flat[0] = value
    return changed


def _refusal(champion: Any, bad: Any) -> str:
    """The error it answers with; empty if it gives an answer."""
    try:
        champion.predict(bad)
    except Exception as error:
        return (str(error) or type(error).__name__)[-LONGEST:]  # MLflow writes the samples first
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])

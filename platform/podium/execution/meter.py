"""The meter: what a process uses of its host and its GPU while it trains."""

import sys
import threading
import time
from typing import Any

import psutil

LOOK_EVERY_S = 0.5
"""How often the load of a GPU is looked at."""

MEGABYTE = 1e6


class Meter:
    """Measures from its beginning on; names and units are those of MLflow's system metrics."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._began, self._busy_s = time.monotonic(), time.process_time()
        self._gpu = _gpu()
        self._ended = threading.Event()
        self._loads: list[float] = []
        if self._gpu is not None:
            self._gpu.reset_peak_memory_stats()
            threading.Thread(target=self._look, args=(self._gpu,), name="meter", daemon=True).start()

    def read(self) -> dict[str, float | None]:
        """Ends the measurement.

        Returns:
            The mean load of this process's cores (100 is one core), its memory now, and where torch uses a GPU the
            most memory that it had there, and the GPU's mean load where its driver tells.
        """
        self._ended.set()
        seconds = max(time.monotonic() - self._began, 1e-9)
        used: dict[str, float | None] = {
            "cpu_utilization_percentage": 100 * (time.process_time() - self._busy_s) / seconds,
            "memory_usage_megabytes": self._process.memory_info().rss / MEGABYTE,
        }
        gpu = self._gpu or _gpu()  # user's code may have begun to use it meanwhile
        if gpu is not None:
            used["gpu_memory_usage_megabytes"] = gpu.max_memory_reserved() / MEGABYTE
        if self._loads:
            used["gpu_utilization_percentage"] = sum(self._loads) / len(self._loads)
        return used

    def _look(self, gpu: Any) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._loads.append(float(gpu.utilization()))
            except Exception:  # nvidia-ml-py is not there, or raises one of its own, since the driver does not tell
                return


def _gpu() -> Any:
    """What torch says of the GPU that this process uses; None if it uses none."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None

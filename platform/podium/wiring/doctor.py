"""What is well on this machine, and what is not."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from podium.errors import PodiumError
from podium.wiring.place import Place
from podium.wiring.tracker import require_answer

PACKAGES = ("torch", "ray", "optuna", "mlflow", "dask", "pyarrow", "numpy", "pandas")
LEAST_DISK_GB = 2


class Finding(NamedTuple):
    """One thing looked at."""

    is_well: bool
    what: str
    found: str


def examine(place: Place) -> list[Finding]:
    """Looks at everything a launch needs; takes some seconds, since it starts what a launch starts."""
    return list(_findings(place))


def _findings(place: Place) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 11), "Python", f"{version} at {sys.executable}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield Finding(True, "packages", versions)
    yield _tried("home", lambda: _writable(place))
    yield _tried("ledger", lambda: f"{len(place.book().sweeps())} sweeps")
    yield _tried("devices", _devices)
    yield _tried("MLflow", lambda: _tracking(place))
    yield _tried("Ray", lambda: _ray(place))


def _tried(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(True, what, look())
    except (PodiumError, OSError, ImportError, RuntimeError, ValueError) as error:
        return Finding(False, what, f"{type(error).__name__}: {error}".partition("\n")[0])


def _writable(place: Place) -> str:
    place.home.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=place.home):
        free_gb = shutil.disk_usage(place.home).free / 1e9
    if free_gb < LEAST_DISK_GB:
        raise OSError(f"{place.home} has {free_gb:.1f} GB left; {LEAST_DISK_GB} GB are the least")
    return f"{place.home}, {free_gb:.0f} GB free"


def _devices() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{os.cpu_count()} CPUs, {', '.join(gpus) or 'no GPU'}"


def _tracking(place: Place) -> str:
    from podium.tracking.client import connect

    require_answer(place.tracking_uri)
    count = len(connect(place.tracking_uri).search_experiments())
    return f"{place.tracking_uri}, {count} experiments"


def _ray(place: Place) -> str:
    if place.cluster == "inline":
        return "not used by --cluster inline"
    from podium.execution.connection import connected

    with connected(None if place.cluster == "local" else place.cluster) as nodes:
        return "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes)

"""What is well on this machine and on a cluster, and what is not."""

import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator

from podium.errors import UserError
from podium.masking import without_logins
from podium.wiring.clusters import named, reach
from podium.wiring.clusters.facts import ask_tracking
from podium.wiring.findings import Finding, tried
from podium.wiring.place import Place

PACKAGES = ("torch", "ray", "optuna", "mlflow", "dask", "pyarrow", "numpy", "pandas")
LEAST_DISK_GB = 2


def examine(place: Place, say: Callable[[str], None]) -> list[Finding]:
    """Looks at everything a launch needs; takes some seconds, since it starts what a launch starts.

    Args:
        place: Where sweeps are to live, and on which Ray.
        say: Told what is being done.
    """
    cluster = named.find(place.cluster)
    if cluster is not None:
        return list(reach.elsewhere(cluster, say))
    return list(_of_this_machine(place, say) if place.cluster in ("inline", "local") else _of_cluster(place, say))


def _of_this_machine(place: Place, say: Callable[[str], None]) -> Iterator[Finding]:
    say("Looking at this machine")
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding(sys.version_info >= (3, 11), "Python", f"{version} at {sys.executable}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    yield Finding(True, "packages", versions)
    yield tried("home", lambda: writable(place))
    yield tried("ledger", lambda: f"{len(place.book().sweeps())} sweeps")
    yield tried("devices", _devices)
    yield tried(
        "MLflow", lambda: f"{without_logins(place.tracking_uri)}, {ask_tracking(place.tracking_uri)} experiments"
    )
    yield tried("Ray", lambda: _ray(place))


def _of_cluster(place: Place, say: Callable[[str], None]) -> Iterator[Finding]:
    from podium.execution.connection import connected
    from podium.wiring.clusters import checkup

    yield tried("home", lambda: writable(place))
    say(f"Looking for the Ray at {place.cluster}")
    for look in (reach.listener, reach.entry):
        finding = look(place.cluster)
        yield finding
        if not finding.is_well:
            return
    say("Joining it")
    try:
        with connected(place.cluster) as nodes:
            offers = "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes)
            yield Finding(True, "Ray", offers)
            yield from checkup.examine(place, say)
    except UserError as error:
        yield Finding(False, "Ray", str(error), "are Ray and Python here the same as there?")


def writable(place: Place) -> str:
    """The home, which is written to, and its room.

    Raises:
        OSError: if it cannot be written, or its disk is full.
    """
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


def _ray(place: Place) -> str:
    if place.cluster == "inline":
        return "not used by --cluster inline"
    from podium.execution.connection import connected

    with connected(None) as nodes:
        return "; ".join(f"{node.name}: {node.cpus:g} CPUs, {node.gpus:g} GPUs" for node in nodes)

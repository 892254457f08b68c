"""What a host of a cluster tells of itself when the doctor asks: plain data, found out on the host."""

import importlib.metadata
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from podium.errors import PodiumError
from podium.wiring.place import Place

PACKAGES = ("podium", "torch", "ray", "optuna", "mlflow", "dask", "pyarrow", "numpy", "pandas", "pydantic")
"""Whose versions have to be the same on every host."""

SHARED_MEMORY = "/dev/shm"  # noqa: S108

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Disk:
    """A disk; sizes in bytes."""

    path: str
    free: int
    total: int


@dataclass(frozen=True)
class Link:
    """What a host has of a service.

    Attributes:
        address: Where it is, without a password.
        is_own: Whether that is a file of this host.
        problem: Why it cannot be used from there; empty if it can.
    """

    address: str
    is_own: bool = True
    problem: str = ""


@dataclass(frozen=True)
class HostFacts:
    """What a host tells of itself.

    Attributes:
        python: Its version.
        versions: Of the packages; empty for one that is missing.
        gpus: Names of the GPUs that torch finds.
        driver: The version of NVIDIA's driver; empty if there is none.
        disks: Where Ray and Podium write.
        ledger: From there.
        tracking: From there.
    """

    python: str
    versions: Mapping[str, str]
    gpus: tuple[str, ...]
    driver: str
    disks: tuple[Disk, ...]
    ledger: Link
    tracking: Link


def look(session: str, cache: str) -> HostFacts:
    """Looks around on this host.

    Args:
        session: Where Ray keeps its files.
        cache: Where a worker keeps what it fetched from the store.
    """
    place = Place.of()
    return HostFacts(
        python=platform.python_version(),
        versions={name: _version(name) for name in PACKAGES},
        gpus=_gpus(),
        driver=_driver(),
        disks=tuple(_disk(path) for path in dict.fromkeys((session, cache, tempfile.gettempdir(), SHARED_MEMORY))),
        ledger=ledger_link(place, is_asked=False),
        tracking=tracking_link(place, is_asked=False),
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _gpus() -> tuple[str, ...]:
    import torch

    return tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _driver() -> str:
    try:
        found = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", _DRIVER.read_text())
    except OSError:
        return ""
    return found[1] if found else ""


def _disk(path: str) -> Disk:
    """The disk of a folder that may still have to be made."""
    there = next(each for each in (Path(path), *Path(path).parents) if each.exists())
    usage = shutil.disk_usage(there)
    return Disk(path, usage.free, usage.total)


def ledger_link(place: Place, *, is_asked: bool = True) -> Link:
    """The ledger from here; a file is looked into only if it `is_asked` for, since a look makes it."""
    from podium.ledger.database import shown

    is_own = place.ledger.startswith("sqlite")
    return Link(shown(place.ledger), is_own, _problem(lambda: place.book().require_writable(), is_asked or not is_own))


def tracking_link(place: Place, *, is_asked: bool = True) -> Link:
    """MLflow from here, likewise."""
    from podium.masking import without_logins

    is_own, uri = place.tracking_uri.startswith("sqlite"), place.tracking_uri
    return Link(without_logins(uri), is_own, _problem(lambda: ask_tracking(uri), is_asked or not is_own))


def ask_tracking(tracking_uri: str) -> int:
    """The number of experiments that MLflow shows to this process's user, at most a thousand.

    Raises:
        UserError: if nobody answers there, or the server does not let the user in.
        PodiumError: if it fails.
    """
    from podium.tracking.client import connect, explain, is_fault
    from podium.wiring.tracker import require_answer

    require_answer(tracking_uri)
    try:
        return len(connect(tracking_uri).search_experiments())
    except Exception as error:
        if not is_fault(error):
            raise
        raise PodiumError(explain(error)) from error


def _problem(look: Callable[[], object], is_asked: bool) -> str:
    try:
        if is_asked:
            look()
    except (PodiumError, OSError, ValueError) as error:
        return " ".join(str(error).split())
    return ""

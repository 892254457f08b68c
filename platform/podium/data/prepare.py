"""Preparing data: once for equal source, steps and split. What is already there costs a glance.

Dask is imported only when there is something to do.
"""

import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from podium.data.functions import code_digest, load
from podium.data.manifest import FORMAT, MANIFEST, Manifest
from podium.data.sources import make_source
from podium.errors import DataError, StorageFault, UserError
from podium.folders import make
from podium.spec.data import BUILT_IN_SOURCES, Apply, DataSettings
from podium.spec.settings import is_name
from podium.store import accessing

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of it that is done."""

Scheduler = Callable[[], AbstractContextManager[Callable[..., Any] | None]]

_DECISIVE = ("source", "steps", "split", "unreadable", "series", "normalize")

PREPARED_BY = ("numpy", "dask", "pyarrow", "pillow")
"""Packages whose versions the manifest tells."""


def prepare(
    settings: DataSettings,
    *,
    base: Path,
    store: str,
    cache: Path,
    scheduler: Scheduler = nullcontext,
    progress: Progress = lambda stage, share: None,
) -> Path:
    """Makes the shards of a data set, unless the store has them.

    One that was interrupted goes on where it was.

    Args:
        settings: Source, steps, split and normalization; batch size and data seed do not matter here.
        base: The sweep file's folder, which the source's path is relative to.
        store: Path or address; data sets are kept there by the name that `shards` gives them.
        cache: Where this host keeps what it has of a store at an address, and what it knows of files.
        scheduler: Joins what carries out Dask's graphs, once there is something to do, on hosts that see the paths of
            the store and of the source; threads of this process if it gives None.
        progress: Told how it goes.

    Returns:
        The data set's folder on this host.

    Raises:
        DataError: if the source cannot be read, or its samples cannot be trained on.
        TaskError: if a function of the user's fails.
        StorageFault: if the store, or this host's disk, cannot be written.
    """
    source = make_source(settings, base, cache)
    fingerprint = source.fingerprint()
    digest = settings_digest(settings, fingerprint, base)
    name = shards(digest[:16])

    def fill(made: Path) -> None:
        work = made.with_name(f".{digest[:16]}.work")
        work.mkdir(exist_ok=True)
        try:
            with accessing(str(made.parent.parent), f"{name} could not be written"):
                _build(made, work)
        except (UserError, StorageFault) as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno in (errno.ENOSPC, errno.EDQUOT):
                shutil.rmtree(work)
            raise
        shutil.rmtree(work)

    def _build(made: Path, work: Path) -> None:
        from podium.data.build import build
        from podium.data.steps import Steps

        scratch = work / "scratch"
        scratch.mkdir(exist_ok=True)
        steps = Steps(settings.steps, {reference: load(reference, base) for reference in _references(settings)})
        blocks = source.blocks(str(scratch))
        with scheduler() as get:
            found = build(blocks, steps, settings, made, work, get=get, progress=progress)
        if source.fingerprint() != fingerprint:
            raise DataError("the source has changed while it was read; launch again when nobody writes to it")
        written = settings.model_dump(mode="json")
        is_named = is_name(settings.source) == "<name>"
        manifest = Manifest(
            digest=digest,
            fingerprint=fingerprint,
            source={"kind": settings.source} if is_named else written["source"],
            steps=tuple(written["steps"]),
            split=written["split"],
            versions={package: importlib.metadata.version(package) for package in PREPARED_BY},
            licence=settings.licence,
            units=settings.units,
            **found,
        )
        _write_durably(made / MANIFEST, manifest.to_json())

    return make(store, name, cache, fill)


def name_of(settings: DataSettings, base: Path, cache: Path) -> str:
    """The name of the data set that `prepare` would make, which is not made.

    Raises:
        DataError: if the source cannot be found.
        TaskError: if the code of a function of the user's cannot be read.
    """
    return settings_digest(settings, make_source(settings, base, cache).fingerprint(), base)[:16]


def shards(name: str) -> str:
    """Where the data set of that name lies, relative to the store."""
    return f"shards/{name}"


def settings_digest(settings: DataSettings, fingerprint: str, base: Path) -> str:
    """The SHA-256 of everything the shards depend on; where the source lies is not part of it.

    Raises:
        TaskError: if the code of a function of the user's cannot be read.
    """
    subject = settings.model_dump(mode="json", include=set(_DECISIVE))
    if isinstance(subject["source"], dict):
        for name in ("path", "masks"):
            subject["source"].pop(name, None)
    code = {reference: code_digest(reference, base) for reference in _references(settings)}
    subject |= {"fingerprint": fingerprint, "code": code, "format": FORMAT}
    if settings.split.by == "group":
        subject["groups"] = "kept"  # once they were not, and shards of any other split are as they were
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def _references(settings: DataSettings) -> list[str]:
    """The functions of the user's that the settings name."""
    source = [settings.source] if isinstance(settings.source, str) and settings.source not in BUILT_IN_SOURCES else []
    return source + [step.function for step in settings.steps if isinstance(step, Apply)]


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

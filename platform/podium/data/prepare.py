"""Preparing data: once for equal source, steps and split. What is already there costs one checksum.

Dask is imported only when there is something to do.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from podium.data.manifest import FORMAT, MANIFEST
from podium.data.sources import make_source
from podium.folders import make
from podium.spec.sweep import DataSettings

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of it that is done."""


def prepare(
    settings: DataSettings,
    *,
    base: Path,
    store: str,
    cache: Path,
    progress: Progress = lambda stage, share: None,
) -> Path:
    """Makes the shards of a data set, unless the store has them.

    Args:
        settings: Source, split and normalization; batch size and data seed do not matter here.
        base: The sweep file's folder, which the source's path is relative to.
        store: Path or address; data sets are kept there by the name that `shards` gives them.
        cache: Where this host keeps what it has of a store at an address.
        progress: Told how it goes.

    Returns:
        The data set's folder on this host.

    Raises:
        DataError: if the source cannot be read, or its samples cannot be trained on.
        StorageFault: if the store, or this host's disk, cannot be written.
    """
    source = make_source(settings, base)
    fingerprint = source.fingerprint()
    digest = settings_digest(settings, fingerprint)

    def fill(made: Path) -> None:
        from podium.data.build import build

        scratch = made / "scratch"
        scratch.mkdir()
        manifest = build(
            source.records(scratch),
            settings,
            made,
            digest=digest,
            fingerprint=fingerprint,
            progress=progress,
        )
        shutil.rmtree(scratch)
        _write_durably(made / MANIFEST, manifest.to_json())

    return make(store, shards(digest[:16]), cache, fill)


def shards(name: str) -> str:
    """Where the data set of that name lies, relative to the store."""
    return f"shards/{name}"


def settings_digest(settings: DataSettings, fingerprint: str) -> str:
    """The SHA-256 of everything the shards depend on; where the source lies is not part of it."""
    subject = settings.model_dump(mode="json", include={"source", "split", "normalize"})
    if isinstance(subject["source"], dict):
        subject["source"].pop("path")
    subject |= {"fingerprint": fingerprint, "format": FORMAT}
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

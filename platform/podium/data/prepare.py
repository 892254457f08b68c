"""Preparing data: once for equal source, steps and split. What is already there costs one checksum.

Dask is imported only when there is something to do.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from podium.data import manifest as manifests
from podium.data.manifest import FORMAT, MANIFEST
from podium.data.sources import make_source
from podium.errors import DataError
from podium.spec.sweep import DataSettings

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of it that is done."""


def prepare(
    settings: DataSettings, *, base: Path, shards: Path, progress: Progress = lambda stage, share: None
) -> Path:
    """Makes the shards of a data set, unless they are there.

    They are written into a folder of their own and renamed, so that a reader sees all or nothing, and of two
    launches at once one wins and the other takes its result.

    Args:
        settings: Source, split and normalization; batch size and data seed do not matter here.
        base: The sweep file's folder, which the source's path is relative to.
        shards: The folder under which data sets are kept, each named by its digest.
        progress: Told how it goes.

    Returns:
        The data set's folder.

    Raises:
        DataError: if the source cannot be read, or its samples cannot be trained on.
    """
    source = make_source(settings, base)
    fingerprint = source.fingerprint()
    digest = settings_digest(settings, fingerprint)
    folder = shards / digest[:16]
    if _is_prepared(folder):
        return folder

    from podium.data.build import build

    shards.mkdir(parents=True, exist_ok=True)
    made = shards / f".{digest[:16]}-{uuid.uuid4().hex}"
    made.mkdir()
    try:
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
        _put_in_place(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def settings_digest(settings: DataSettings, fingerprint: str) -> str:
    """The SHA-256 of everything the shards depend on; where the source lies is not part of it."""
    subject = settings.model_dump(mode="json", include={"source", "split", "normalize"})
    if isinstance(subject["source"], dict):
        subject["source"].pop("path")
    subject |= {"fingerprint": fingerprint, "format": FORMAT}
    return hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()


def _is_prepared(folder: Path) -> bool:
    try:
        manifest = manifests.load_manifest(folder)
    except DataError:
        return False
    return manifests.missing(folder, manifest) is None


def _write_durably(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(made: Path, folder: Path) -> None:
    """Renames `made` to `folder`; what another launch finished meanwhile stays, what is damaged goes."""
    try:
        made.rename(folder)
    except OSError:
        if _is_prepared(folder):
            return
        damaged = folder.with_name(f"{made.name}-damaged")
        folder.rename(damaged)
        made.rename(folder)
        shutil.rmtree(damaged, ignore_errors=True)

"""The manifest: what a folder of shards holds. Plain data, written as JSON beside the shards."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from podium.data.order import Shuffle
from podium.errors import DataError

FORMAT = 3
"""The version of the layout of shards and manifest; another one means another folder."""

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Schema:
    """What one sample looks like.

    Attributes:
        inputs: Shape of a sample, channels first.
        input_dtype: As stored: `uint8` or `float32`.
        targets: Shape of a target; `()` for one number.
        target_dtype: `int64` for classes, `uint8` for masks of them, `float32` for numbers to predict.
        classes: Number of classes; 0 for numbers.
        mean: Mean of each channel (of each feature of a vector) over the train split.
        std: Standard deviation likewise; 1 where there is no variation.
        normalize: Whether the reader subtracts `mean` and divides by `std`.
        class_names: What the source calls the classes, in their order; empty if it numbers them.
    """

    inputs: tuple[int, ...]
    input_dtype: str
    targets: tuple[int, ...]
    target_dtype: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    normalize: bool
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shard:
    """One Arrow IPC file of samples; `sha256` is of its `bytes` bytes."""

    name: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A prepared data set.

    Attributes:
        digest: Of everything the shards depend on; its first 16 digits name the folder.
        source: The settings of the source.
        fingerprint: What identifies the source's content.
        steps: What was done to the records.
        split: How they were split.
        schema: What one sample looks like.
        rows: Samples of each split.
        classes: By split the samples of each class (the pixels, for masks); empty for numbers.
        shards: The files, in the order of their samples.
        shuffle: How the train split's samples are shuffled.
        records: How many the source has, after the steps; pieces are cut from them.
        left_out: How many of them stand in no split, since another split has equal ones.
        skipped: Name and reason of each record that could not be read.
        versions: Of what has prepared the data.
        format: The version of the layout.
    """

    digest: str
    source: dict[str, Any]
    fingerprint: str
    steps: tuple[dict[str, Any], ...]
    split: dict[str, Any]
    schema: Schema
    rows: dict[str, int]
    classes: dict[str, tuple[int, ...]]
    shards: tuple[Shard, ...]
    shuffle: Shuffle
    records: int
    left_out: int
    skipped: tuple[tuple[str, str], ...]
    versions: dict[str, str]
    format: int = FORMAT

    def to_json(self) -> str:
        """The manifest as JSON, ended by a line break."""
        return _MANIFEST.dump_json(self, indent=2).decode() + "\n"


_MANIFEST = TypeAdapter(Manifest)


def load_manifest(folder: Path) -> Manifest:
    """The manifest of a folder of shards.

    Raises:
        DataError: if there is none, or it cannot be read.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); {remedy(folder)}") from None
    return parse_manifest(content, folder)


def parse_manifest(content: bytes, folder: Path | str) -> Manifest:
    """The manifest in the content of its file.

    Raises:
        DataError: if there is none, naming the folder that it came from.
    """
    if not content:
        raise DataError(f"{folder} holds no {MANIFEST}; launch the sweep to prepare its data")
    try:
        return _MANIFEST.validate_json(content)
    except ValidationError as error:
        reason = str(error).replace("\n", " ")
        raise DataError(f"{folder}/{MANIFEST} cannot be read ({reason}); {remedy(folder)}") from None


def missing(folder: Path, manifest: Manifest) -> Path | None:
    """The first shard that is not there in its full size; a glance, where `verify` reads every byte."""
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file() or path.stat().st_size != shard.bytes:
            return path
    return None


def verify(folder: Path) -> Manifest:
    """Compares every shard with its checksum.

    Raises:
        DataError: naming the first shard that is missing or altered.
    """
    manifest = load_manifest(folder)
    for shard in manifest.shards:
        path = folder / shard.name
        if not path.is_file():
            raise DataError(f"the shard {path} is missing; {remedy(folder)}")
        if file_sha256(path) != shard.sha256:
            raise DataError(f"the shard {path} is not what its checksum says; {remedy(folder)}")
    return manifest


def describe(folder: Path) -> dict[str, Any]:
    """What `podium data` shows of a folder of shards: counts, class balance, shapes, bytes, source."""
    manifest = load_manifest(folder)
    shown: dict[str, Any] = json.loads(manifest.to_json())
    shards = shown.pop("shards")
    return shown | {
        "folder": str(folder),
        "samples": sum(manifest.rows.values()),
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in manifest.shards),
    }


def remedy(folder: Path | str) -> str:
    """What to do about shards that cannot be trusted."""
    return f"check with `podium data SWEEP.yaml --verify`, or delete {folder} and launch again, and it is prepared anew"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
